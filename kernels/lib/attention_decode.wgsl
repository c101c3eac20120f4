// attention_decode: what kernels of attention to a cache are given, and which tokens a row sees.
//   Vector c of key head g of a slot of the pools (lib/blocks.wgsl) lies at (slot*G + g)*VECTORS + c
import package::lib::blocks::table;
import package::lib::softmax_powers::SPLIT;

override VECTORS: u32;  // of four columns, of a head

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  columns: u32,  // of the table
  scale: f32,
  block_shift: u32,
  window: u32,  // tokens that are seen, the last ones
  splits: u32,  // that a row has at most, from the first that is seen
  @if(SOFTCAP) softcap: f32,
  @if(NEWEST) part: u32,  // vec2f of half of what is rotated of a head: lib/rope.wgsl
  @if(NEWEST) last_position: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> k_pool: array<vec4u>;
@group(0) @binding(4) var<storage, read> v_pool: array<u32>;
@group(0) @binding(5) var<storage, read> positions: array<i32>;

// Tokens begin .. end - 1 of a row; none where it holds nothing.
fn seen_tokens(row: u32) -> vec2u {
  let entry = row * params.columns;
  if (table[entry] < 0) { return vec2u(); }
  let room = ((params.columns - 1u) << params.block_shift) - u32(table[entry]);
  let held = min(u32(positions[row] + 1), room);
  return vec2u(held - min(held, params.window), held);
}

// Those of them in one split, counted from the row's first.
fn tokens_of_split(seen: vec2u, split: u32) -> vec2u {
  let first = (seen.x / SPLIT + split) * SPLIT;
  return vec2u(max(seen.x, first), min(seen.y, first + SPLIT));
}

// Splits that a row sees tokens of.
fn splits_of(seen: vec2u) -> u32 {
  if (seen.x >= seen.y) { return 0u; }
  return (seen.y - 1u) / SPLIT - seen.x / SPLIT + 1u;
}

// Where a chain of products begins: 0, which a compiler does not know. It would make a product of fma(a, b, 0.0), and
// add that to others in an order of its own.
fn unknown_zero() -> f32 { return f32(params.rows == 0u); }
