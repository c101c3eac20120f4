// rms_norm: scales each row to root mean square 1, times a weight per column.
//   y[r,d] = x[r,d] * rstd[r] * w[d],   rstd[r] = 1 / sqrt(mean_d x[r,d]^2 + eps)
// Shapes    x f32 [R,D]; w f32 [D]; out y f32 [R,D], rstd f32 [R]
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32; sum of squares: WG strided partial sums, then a tree in fixed order
// Twin      src/ops/norm/rms_norm.ts#rmsNormF64     Gradient: rms_norm_grad.wgsl
override WG: u32 = 64u;  // power of two

struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var squares = 0.0;
  for (var d = lane; d < params.width; d += WG) {
    squares = fma(x[base + d], x[base + d], squares);
  }
  partial[lane] = squares;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let scale = inverseSqrt(partial[0] / f32(params.width) + params.eps);
  for (var d = lane; d < params.width; d += WG) {
    y[base + d] = x[base + d] * scale * w[d];
  }
  if (lane == 0u) { rstd[row] = scale; }
}
