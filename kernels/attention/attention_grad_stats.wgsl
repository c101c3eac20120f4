// attention_grad_stats: what both gradient kernels of attention need of every (row, head).
//   stats[i,h] = (M log 2 + log sum, sum_c do[i,h,c] o[i,h,c]),   softmax[i,h] = (M, sum)
// Shapes    o, d_o f32 [N,H*D]; softmax f32 [N,H,2]; out stats f32 [N,H,2]; D = 4*vectors
// Dispatch  one lane per (row, head): ceil(N*H/WG) workgroups, folded to 2-D past 65535
// Numerics  f32, columns in order, four partial sums
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::grid::{Place, WG, lane_number};

const LOG2 = 0.693147180559945309;

struct Params { count: u32, vectors: u32 }
@group(0) @binding(0) var<storage, read> o: array<vec4f>;
@group(0) @binding(1) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(2) var<storage, read> softmax: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2f>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.count) { return; }
  var dots = vec4f();
  for (var c = 0u; c < params.vectors; c++) {
    dots = fma(d_o[index * params.vectors + c], o[index * params.vectors + c], dots);
  }
  // M is any whole number near the maximum: its bits are not to show.
  let sum = frexp(softmax[index].y);
  let lse = fma(softmax[index].x + f32(sum.exp), LOG2, log(sum.fract));
  stats[index] = vec2f(lse, (dots.x + dots.y) + (dots.z + dots.w));
}
