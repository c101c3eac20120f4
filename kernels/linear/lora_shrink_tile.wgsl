// lora_shrink_tile: lora_shrink for GPUs with fast workgroup memory. The same parts, the same bits.
//   parts[p,m,r] = sum of x[m,k] a[r,k] over the k of part p, 256 p .. 256 p + 255
// Shapes    as lora_shrink.wgsl with VEC4
// Dispatch  a workgroup makes 16 RUN rows x 16 ranks of a part: (ceil(R / 16), ceil(M / (16 RUN)), ceil(K / 256))
// Numerics  f32, the k of a part strictly in order by fma
// Twin      src/ops/linear/lora_shrink.ts#loraShrinkF64
import package::lib::lora_shrink_tile::{RUN, shrink_tile, TILE};

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  shrink_tile(lane, group.y * TILE * RUN, group.x * TILE, group.z);
}
