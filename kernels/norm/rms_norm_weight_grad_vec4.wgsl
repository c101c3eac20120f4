// rms_norm_weight_grad_vec4: as rms_norm_weight_grad.wgsl, with the same bits, where the width is a multiple of 4.
//   dw[d] += sum_r dy[r,d] * x[r,d] * rstd[r]
// Shapes    x, dy f32 [R,D]; rstd f32 [R]; in and out dw f32 [D]; D a multiple of 4
// Dispatch  one lane per four columns: (ceil(D/4 / WG),1,1)
// Numerics  f32, rows strictly in order, so splitting the rows over several calls gives the same bits
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
override WG: u32 = 8u;

struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  let width4 = params.width / 4u;
  if (d >= width4) { return; }
  var sum = dw[d];
  for (var r = 0u; r < params.rows; r++) {
    let at = r * width4 + d;
    sum = fma(dy[at], x[at] * rstd[r], sum);
  }
  dw[d] = sum;
}
