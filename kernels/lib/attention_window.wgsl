// attention_window: which queries see the keys of a prefix through a sliding window. Those of one sequence do up to
//   some row, and the next sequence begins anew: no range, but a walk from sequence to sequence.
import package::lib::attention::{params, sharing};

@group(0) @binding(12) var<storage, read> walk: array<vec2i>;  // attention_window.wgsl

// The pair (query, head) to go on with: where its query sees no key up to the last, nor does the rest of its sequence.
// @param per_query  pairs of a query
fn walked(pair: u32, per_query: u32, last_key: u32) -> u32 {
  let own = vec2u(walk[pair / per_query]);
  return select(pair, own.y * per_query, own.x > last_key);
}

// The first key that a query sees.
fn first_key(query: u32) -> u32 { return u32(walk[query].x); }
