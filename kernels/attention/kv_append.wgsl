// kv_append: stores keys and values of tokens in the blocks of their rows, in place.
//   pool[block, at, w] = fresh[n, w] in FORMAT, with place = table[row, 0] + positions[n], row = owners[n],
//   block = table[row, 1 + place / B], at = place % B;      nothing when row, table[row, 0] or positions[n] is negative,
//   or the table ends before the place
// Shapes    k, v f32 [N,W]; owners, positions i32 [N]; table i32 [R,C]; in and out k_pool, v_pool [blocks,B,W] in FORMAT;
//           W a multiple of 4, B = 2^block_shift
// Dispatch  one lane per four columns: ceil(N*W/4 / WG) workgroups, folded to 2-D past 65535
// Numerics  a copy, or rounded: bf16 to nearest even, f16 as pack2x16float rounds, what is beyond its range to the largest
// Twin      src/ops/attention/kv_append.ts#kvAppendF64
override WG: u32 = 64u;
override FORMAT: u32 = 0u;  // of the pools: 0 f32, 1 bf16 pairs, 2 f16 pairs

struct Params { count: u32, width4: u32, columns: u32, block_shift: u32 }
@group(0) @binding(0) var<storage, read> k: array<vec4f>;
@group(0) @binding(1) var<storage, read> v: array<vec4f>;
@group(0) @binding(2) var<storage, read> owners: array<i32>;
@group(0) @binding(3) var<storage, read> positions: array<i32>;
@group(0) @binding(4) var<storage, read> table: array<i32>;
@group(0) @binding(5) var<storage, read_write> k_pool: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> v_pool: array<vec2u>;
@group(0) @binding(7) var<uniform> params: Params;

fn packed4(x: vec4f) -> vec2u {
  if (FORMAT == 2u) {
    let y = clamp(x, vec4f(-65504.0), vec4f(65504.0));
    return vec2u(pack2x16float(y.xy), pack2x16float(y.zw));
  }
  let bits = bitcast<vec4u>(x);
  let rounded = bits + vec4u(0x7fffu) + ((bits >> vec4u(16u)) & vec4u(1u));
  return (rounded.xz >> vec2u(16u)) | (rounded.yw & vec2u(0xffff0000u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = (group.x + group.y * groups.x) * WG + lane;
  if (index >= params.count) { return; }
  let n = index / params.width4;
  let row = owners[n];
  if (row < 0 || positions[n] < 0) { return; }
  let entry = u32(row) * params.columns;
  if (table[entry] < 0) { return; }
  let place = u32(table[entry] + positions[n]);
  let column = 1u + (place >> params.block_shift);
  if (column >= params.columns) { return; }
  let at = place & ((1u << params.block_shift) - 1u);
  let slot = (u32(table[entry + column]) << params.block_shift) + at;
  let cell = slot * params.width4 + index % params.width4;
  if (FORMAT == 0u) {
    let key = bitcast<vec4u>(k[index]);
    let value = bitcast<vec4u>(v[index]);
    k_pool[2u * cell] = key.xy;
    k_pool[2u * cell + 1u] = key.zw;
    v_pool[2u * cell] = value.xy;
    v_pool[2u * cell + 1u] = value.zw;
  } else {
    k_pool[cell] = packed4(k[index]);
    v_pool[cell] = packed4(v[index]);
  }
}
