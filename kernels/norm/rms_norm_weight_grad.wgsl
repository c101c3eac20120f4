// rms_norm_weight_grad: gradient of rms_norm with respect to its weight, added to what is there.
//   dw[d] += sum_r dy[r,d] * x[r,d] * rstd[r]
// Shapes    x, dy f32 [R,D]; rstd f32 [R]; in and out dw f32 [D]
// Dispatch  one lane per column: (ceil(D/WG),1,1)
// Numerics  f32, rows strictly in order, so splitting the rows over several calls gives the same bits
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
override WG: u32 = 8u;

struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  if (d >= params.width) { return; }
  var sum = dw[d];
  for (var r = 0u; r < params.rows; r++) {
    sum = fma(dy[r * params.width + d], x[r * params.width + d] * rstd[r], sum);
  }
  dw[d] = sum;
}
