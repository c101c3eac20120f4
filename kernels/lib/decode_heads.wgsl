// decode_heads: what kernels of attention to a cache by workgroups share: the rows and heads of a workgroup, where the
// tokens of a split lie, and their weights.
// GROUPED   HEADS = 4 query heads of a key head at once, which meet every key and value that is loaded
import package::lib::attention_decode::{VECTORS, params};
import package::lib::blocks::{slot_at, table};
import package::lib::softcap::{capped, capped_four};
import package::lib::softmax_powers::{SPLIT, part_of, part_of_four, power, power_of_four, whole_of, whole_of_four};

override LANES: u32;

// A value for each query head.
@if(GROUPED) alias Heads = vec4f;
@else alias Heads = f32;
@if(GROUPED) const HEADS = 4u;
@else const HEADS = 1u;

var<workgroup> queries: array<vec4f, HEADS * VECTORS>;  // times the scale
var<workgroup> bases: array<u32, SPLIT>;       // where each token's key head begins, in vectors
var<workgroup> weights: array<Heads, SPLIT>;   // first the scores
var<workgroup> highest: array<Heads, LANES>;

@if(GROUPED) fn powers(x: Heads) -> Heads { return power_of_four(x); }
@else fn powers(x: Heads) -> Heads { return power(x); }

@if(GROUPED) fn wholes(x: Heads) -> Heads { return whole_of_four(x); }
@else fn wholes(x: Heads) -> Heads { return whole_of(x); }

@if(GROUPED) fn parts_of(x: Heads, whole: Heads) -> Heads { return part_of_four(x, whole); }
@else fn parts_of(x: Heads, whole: Heads) -> Heads { return part_of(x, whole); }

@if(GROUPED && SOFTCAP) fn bounded(x: Heads) -> Heads { return capped_four(x, params.softcap); }
@if(!GROUPED && SOFTCAP) fn bounded(x: Heads) -> Heads { return capped(x, params.softcap); }
@if(!SOFTCAP) fn bounded(x: Heads) -> Heads { return x; }

@if(GROUPED) fn head_of(x: Heads, h: u32) -> f32 { return x[h]; }
@else fn head_of(x: Heads, h: u32) -> f32 { return x; }

// Of the four partial sums of a dot product.
fn total(x: vec4f) -> f32 { return (x.x + x.y) + (x.z + x.w); }

// What a workgroup takes.
struct Share {
  row: u32,
  kv_head: u32,
  first_head: u32,
  heads: u32,  // HEADS, or what is left of the key head's
  split: u32,
}

// Splits change slowest, so that those not reached yet stand together.
fn share_of(index: u32) -> Share {
  let sharing = params.heads / params.kv_heads;
  let groups = (sharing + HEADS - 1u) / HEADS;  // of a key head
  let all = params.rows * params.kv_heads * groups;
  let rest = index % all;
  let kv_head = rest / groups % params.kv_heads;
  let first = rest % groups * HEADS;
  let row = rest / groups / params.kv_heads;
  return Share(row, kv_head, kv_head * sharing + first, min(HEADS, sharing - first), index / all);
}

// Where the vectors of a held query begin: past the last head, that again.
fn query_base(share: Share, h: u32) -> u32 {
  return (share.row * params.heads + share.first_head + min(h, share.heads - 1u)) * VECTORS;
}

fn load_bases(share: Share, tokens: vec2u, lane: u32) {
  let entry = share.row * params.columns;
  let start = u32(table[entry]);
  for (var t = lane; t < tokens.y - tokens.x; t += LANES) {
    let slot = slot_at(entry, start + tokens.x + t, params.block_shift);
    bases[t] = (slot * params.kv_heads + share.kv_head) * VECTORS;
  }
}

// The weights in the place of the scores. @return M
fn make_weights(count: u32, lane: u32, own_most: Heads) -> Heads {
  highest[lane] = own_most;
  workgroupBarrier();
  var most = highest[0];
  for (var n = 1u; n < LANES; n++) { most = max(most, highest[n]); }
  for (var t = lane; t < count; t += LANES) {
    let whole = wholes(weights[t]);
    weights[t] = parts_of(weights[t], whole) * powers(whole - most);
  }
  workgroupBarrier();
  return most;
}
