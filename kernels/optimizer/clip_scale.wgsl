// clip_scale: what gradients are multiplied by so that their global norm is at most max_norm (torch clip_grad_norm_).
//   norm = sqrt(sum sums);  scale = min(1, max_norm / (norm + 1e-6)), or 0 when the norm is not finite: no update
// Shapes    sums f32 [S]; out clip f32 [2]: norm, scale.  max_norm 0 turns clipping off
// Dispatch  one workgroup
// Numerics  f32; WG strided partial sums, then a tree in fixed order
// Twin      src/ops/optimizer/grad_norm.ts#gradNormF64
import package::lib::grid::WG;
import package::lib::reduce::workgroup_sum;

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> clip: array<f32>;

struct Params { count: u32, max_norm: f32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.count; i += WG) { sum += sums[i]; }
  let total = workgroup_sum(lane, sum);
  if (lane == 0u) {
    let norm = sqrt(total);
    var scale = 1.0;
    if (params.max_norm > 0.0) { scale = min(1.0, params.max_norm / (norm + 1e-6)); }
    // By bits: a compiler may assume that f32 arithmetic makes no NaN and no infinity.
    if ((bitcast<u32>(total) & 0x7f800000u) == 0x7f800000u) { scale = 0.0; }
    clip[0] = norm;
    clip[1] = scale;
  }
}
