// attention: what kernels of attention over packed sequences are given, and who sees whom.
//   Vector c of head h of row i of q lies at (i*H + h)*vectors + c; of k and v alike, with the G key heads.
//   prefix: keys that stand before a sequence's own, any rows of k and v: bounds say which, or which rows of q see one.
//   A sliding window is in the bounds (attention_window.wgsl); SOFTCAP bounds the scores (lib/softcap.wgsl)
struct Params {
  rows: u32,  // of the tensors that are written
  heads: u32,
  kv_heads: u32,
  scale: f32,
  vectors: u32,       // of four columns, of a head
  prefix: u32,        // 1: this run is over shared keys
  after_prefix: u32,  // 1: it continues what such a run left
  @if(SOFTCAP) softcap: f32,  // scores s become softcap tanh(s / softcap), before the softmax
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> k: array<vec4f>;
@group(0) @binding(4) var<storage, read> v: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> softmax: array<vec2f>;

// Query heads of a key head.
fn sharing() -> u32 {
  return params.heads / params.kv_heads;
}

// The first key that a row sees, and the one after the last.
fn keys_of(row: u32) -> vec2u {
  let own = vec2u(bounds[row]);
  return vec2u(own.x, select(row + 1u, own.y, params.prefix == 1u));
}

// The first query that sees a row, and the one after the last.
fn queries_of(row: u32) -> vec2u {
  let own = vec2u(bounds[row]);
  return vec2u(select(row, own.x, params.prefix == 1u), own.y);
}

// From the first to the last bound of these rows: rows whose bounds are empty have no say.
fn joint_bounds(first_row: u32, last_row: u32) -> vec2u {
  var all = vec2u(0xffffffffu, 0u);
  for (var row = first_row; row <= last_row; row++) {
    let own = vec2u(bounds[row]);
    if (own.x < own.y) { all = vec2u(min(all.x, own.x), max(all.y, own.y)); }
  }
  return all;
}

// The first key that any of these rows sees, and the one after the last.
fn all_keys(first_row: u32, last_row: u32) -> vec2u {
  if (params.prefix == 0u) { return vec2u(u32(bounds[first_row].x), last_row + 1u); }
  return joint_bounds(first_row, last_row);
}

// The first query that sees any of these rows, and the one after the last.
fn all_queries(first_row: u32, last_row: u32) -> vec2u {
  if (params.prefix == 0u) { return vec2u(first_row, u32(bounds[last_row].y)); }
  return joint_bounds(first_row, last_row);
}
