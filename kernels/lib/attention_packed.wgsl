// attention_packed: what tiled kernels of attention are given: packed sequences and, under PREFIX, keys that several of
//   them see before their own; and which keys a row sees.
//   Vector c of head h of row i of q lies at (i*H + h)*VECTORS + c; of keys and values alike, with the G key heads
struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  window: u32,  // tokens that a token sees, itself the last of them
  scale: f32,
  slab: u32,    // SLAB (lib/attention_slabs.wgsl)
  @if(PREFIX) prefix_rows: u32,
  @if(SOFTCAP) softcap: f32,  // scores s become softcap tanh(s / softcap), before the softmax
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bounds: array<vec2i>;  // of a row's sequence
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> k: array<vec4f>;
@group(0) @binding(4) var<storage, read> v: array<vec4f>;
@if(PREFIX) @group(0) @binding(5) var<storage, read> ranges: array<vec2i>;  // of prefix rows that a row's sequence sees
@if(PREFIX) @group(0) @binding(6) var<storage, read> prefix_k: array<vec4f>;
@if(PREFIX) @group(0) @binding(7) var<storage, read> prefix_v: array<vec4f>;

// Query heads of a key head.
fn sharing() -> u32 {
  return params.heads / params.kv_heads;
}

fn bounds_of(row: u32) -> vec2u {
  return vec2u(bounds[row]);
}

// The first own key that a row sees, and the one after the last.
fn own_keys(row: u32) -> vec2u {
  let end = row + 1u;
  return vec2u(max(bounds_of(row).x, max(end, params.window) - params.window), end);
}

// The first prefix row that a row sees, and the one after the last.
@if(PREFIX) fn prefix_keys(row: u32) -> vec2u {
  let range = vec2u(ranges[row]);
  let place = row - bounds_of(row).x;
  let left = max(params.window, place + 1u) - (place + 1u);  // of the window, before the own sequence
  return vec2u(range.y - min(range.y - range.x, left), range.y);
}
