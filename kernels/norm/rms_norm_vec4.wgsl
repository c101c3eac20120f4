// rms_norm_vec4: as rms_norm.wgsl, where the width is a multiple of 4; several rows to a workgroup.
//   y[r,d] = x[r,d] * rstd[r] * w[d],   rstd[r] = 1 / sqrt(mean_d x[r,d]^2 + eps)
// Shapes    x f32 [R,D]; w f32 [D]; out y f32 [R,D], rstd f32 [R]; D a multiple of 4
// Dispatch  LANES lanes per row, 64 a workgroup: (ceil(R * LANES / 64),1,1), folded to 2-D past 65535
// Numerics  f32; sum of squares: 32 chains of vec4s, joined in fixed order, so LANES does not show in the bits
// Twin      src/ops/norm/rms_norm.ts#rmsNormF64     Gradient: rms_norm_grad_vec4.wgsl
override LANES: u32 = 32u;  // 8 or 32

const WG = 64u;
const CHAINS = 32u;

struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> chains: array<f32, WG / 8u * CHAINS>;
var<workgroup> eighths: array<f32, WG>;

// Sum over the row of what its lanes put into `chains`, in every lane.
fn row_sum(slot: u32, lane: u32) -> f32 {
  if (LANES > 8u) { workgroupBarrier(); }  // 8 lanes read only chains of their own
  if (lane < 8u) {
    let at = slot * CHAINS + lane;
    eighths[slot * 8u + lane] = (chains[at] + chains[at + 8u]) + (chains[at + 16u] + chains[at + 24u]);
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 8u; i++) { sum += eighths[slot * 8u + i]; }
  return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  let slot = index / LANES;
  let lane = index % LANES;
  let row = (group.x + group.y * groups.x) * (WG / LANES) + slot;
  let width4 = select(0u, params.width / 4u, row < params.rows);
  let base = row * width4;
  for (var chain = lane; chain < CHAINS; chain += LANES) {
    var squares = vec4f(0.0);
    for (var d = chain; d < width4; d += CHAINS) {
      let value = x[base + d];
      squares = fma(value, value, squares);
    }
    chains[slot * CHAINS + chain] = (squares.x + squares.y) + (squares.z + squares.w);
  }
  let scale = inverseSqrt(row_sum(slot, lane) / f32(params.width) + params.eps);
  for (var d = lane; d < width4; d += LANES) { y[base + d] = x[base + d] * scale * w[d]; }
  if (lane == 0u && row < params.rows) { rstd[row] = scale; }
}
