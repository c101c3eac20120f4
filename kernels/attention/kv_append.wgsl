// kv_append: stores keys and values of tokens in the blocks of their rows, in place.
//   pool[slot, w] = fresh[n, w] in FORMAT, slot = that of token positions[n] of row owners[n] (lib/blocks.wgsl);
//   nothing when row, table[row, 0] or positions[n] is negative, or the table ends before the place
// Shapes    k, v f32 [N,W]; owners, positions i32 [N]; table i32 [R,C]; in and out k_pool, v_pool [blocks,B,W] in
//           FORMAT; W a multiple of 4, B = 2^block_shift
// Dispatch  one lane per four columns: ceil(N*W/4 / WG) workgroups, folded to 2-D past 65535
// Numerics  a copy, or rounded: bf16 to nearest even, f16 as pack2x16float rounds; beyond its range: its largest
// Twin      src/ops/attention/kv_append.ts#kvAppendF64
import package::lib::blocks::slot_of;
import package::lib::grid::{Place, WG, lane_number};
import package::lib::kv_pool::keep;

struct Params { count: u32, width4: u32, columns: u32, block_shift: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> k: array<vec4f>;
@group(0) @binding(5) var<storage, read> v: array<vec4f>;
@group(0) @binding(6) var<storage, read> owners: array<i32>;
@group(0) @binding(7) var<storage, read> positions: array<i32>;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.count) { return; }
  let n = index / params.width4;
  let slot = slot_of(owners[n], positions[n], params.columns, params.block_shift);
  if (slot < 0) { return; }
  let key = k[index];
  let value = v[index];
  let pair = 2u * (u32(slot) * params.width4 + index % params.width4);
  keep(pair, key.xy, value.xy);
  keep(pair + 1u, key.zw, value.zw);
}
