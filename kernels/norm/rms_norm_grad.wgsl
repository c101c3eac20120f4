// rms_norm_grad: gradient of rms_norm with respect to its input.
//   dx[r,d] = rstd * (dy[r,d] w[d] - x[r,d] rstd^2 * mean_j(dy[r,j] w[j] x[r,j]))
// Shapes    x, dy f32 [R,D]; w f32 [D]; rstd f32 [R]; out dx f32 [R,D]
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32; the mean: WG strided partial sums, then a tree in fixed order
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
override WG: u32 = 64u;  // power of two

struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var dot = 0.0;
  for (var d = lane; d < params.width; d += WG) {
    dot = fma(dy[base + d] * w[d], x[base + d], dot);
  }
  partial[lane] = dot;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let scale = rstd[row];
  let pull = scale * scale * partial[0] / f32(params.width);
  for (var d = lane; d < params.width; d += WG) {
    dx[base + d] = scale * (dy[base + d] * w[d] - x[base + d] * pull);
  }
}
