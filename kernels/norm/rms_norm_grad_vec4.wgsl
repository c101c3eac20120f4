// rms_norm_grad_vec4: as rms_norm_grad.wgsl, where the width is a multiple of 4; also the gradient of residual_norm.
//   dx[r,d] = rstd * (dy[r,d] w[d] - x[r,d] rstd^2 * mean_j(dy[r,j] w[j] x[r,j]))      RESIDUAL: dsum[r,d] + that
// Shapes    x, dy, dsum f32 [R,D]; w f32 [D]; rstd f32 [R]; out dx f32 [R,D]; D a multiple of 4; dsum is
//           read for RESIDUAL alone
// Dispatch  LANES lanes per row, 64 a workgroup: (ceil(R * LANES / 64),1,1), folded to 2-D past 65535
// Numerics  f32; the mean: 32 chains of vec4s, joined in fixed order, so LANES does not show in the bits
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
override LANES: u32 = 32u;  // 8 or 32
override RESIDUAL: bool = false;

const WG = 64u;
const CHAINS = 32u;

struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read> dsum: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(6) var<uniform> params: Params;

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
    var products = vec4f(0.0);
    for (var d = chain; d < width4; d += CHAINS) { products = fma(dy[base + d] * w[d], x[base + d], products); }
    chains[slot * CHAINS + chain] = (products.x + products.y) + (products.z + products.w);
  }
  let dot = row_sum(slot, lane);
  let scale = rstd[min(row, params.rows - 1u)];
  let pull = scale * scale * dot / f32(params.width);
  for (var d = lane; d < width4; d += LANES) {
    let gradient = scale * (dy[base + d] * w[d] - x[base + d] * pull);
    if (RESIDUAL) { dx[base + d] = dsum[base + d] + gradient; } else { dx[base + d] = gradient; }
  }
}
