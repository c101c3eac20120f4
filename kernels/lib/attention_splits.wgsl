// attention_splits: where the splits of 256 keys begin (lib/softmax_powers.wgsl), and what is kept of those that ended.
//   A row's sums are of the split that is open. When the next begins, they are added to `ended`, which nobody touches
//   while a sequence has one split. A run over a prefix leaves both, and the run over the own keys goes on from there
import package::lib::attention::params;
import package::lib::softmax_powers::{SPLIT, power};

// As bounds and ranges were before a window cut them. Without a prefix the second is not read.
@group(0) @binding(7) var<storage, read> sequences: array<vec2i>;
@group(0) @binding(8) var<storage, read> prefixes: array<vec2i>;
// Of (row, head): the sums in `vectors` vec4f, then (M, sum of weights, nothing, nothing); a sum of 0: no split ended.
@group(0) @binding(9) var<storage, read_write> ended: array<vec4f>;

// No further split begins.
const NEVER = 0xffffffffu;

// Row j of the keys is at place j - origin of a row's sequence.
fn origin_of(row: u32) -> i32 {
  if (params.prefix == 1u) { return prefixes[row].x; }
  let first = sequences[row].x;
  if (params.after_prefix == 0u) { return first; }
  let shared_range = prefixes[row];
  return first - (shared_range.y - shared_range.x);
}

// The first key of a later split that a row sees in this run.
fn first_split(row: u32, keys: vec2u) -> u32 {
  let place = u32(i32(keys.x) - origin_of(row)) % SPLIT;
  // After a prefix its split may have ended with it.
  let next = keys.x + select(SPLIT - place, 0u, place == 0u && params.after_prefix == 1u);
  return select(NEVER, next, next < keys.y);
}

// The one after a split that begins at j.
fn next_split(j: u32, end: u32) -> u32 {
  return select(NEVER, j + SPLIT, j + SPLIT < end);
}

// M and the sum of weights of what is in `ended`.
struct Closed {
  most: f32,
  weight: f32,
}

fn total_base(slot: u32) -> u32 { return slot * (params.vectors + 1u); }

// What a run over a prefix left.
fn closed_before(slot: u32) -> Closed {
  if (params.after_prefix == 0u) { return Closed(0.0, 0.0); }
  let kept = ended[total_base(slot) + params.vectors];
  return Closed(kept.x, kept.y);
}

fn keep_closed(slot: u32, closed: Closed) {
  ended[total_base(slot) + params.vectors] = vec4f(closed.most, closed.weight, 0.0, 0.0);
}

// A vector of the open split, added to what ended before; `keep` is total_keep().
fn with_total(open: vec4f, slot: u32, c: u32, closed: Closed, keep: f32) -> vec4f {
  if (closed.weight == 0.0) { return open; }
  return fma(ended[total_base(slot) + c], vec4f(keep), open);
}

fn total_keep(closed: Closed, most: f32) -> f32 { return power(closed.most - most); }

// The sums with the open split's weights added.
fn closed_with(closed: Closed, most: f32, weights: f32) -> Closed {
  return Closed(most, fma(closed.weight, total_keep(closed, most), weights));
}
