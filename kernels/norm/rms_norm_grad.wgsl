// rms_norm_grad: gradient of rms_norm with respect to its input; with RESIDUAL that of residual_norm.
//   dx[r,d] = rstd * (dy[r,d] w[d] - x[r,d] rstd^2 * mean_j(dy[r,j] w[j] x[r,j]))      RESIDUAL: dsum[r,d] + that
//   UNIT_OFFSET: 1 + w for w
// Shapes    x, dy, dsum f32 [R,D]; w f32 [D]; rstd f32 [R]; out dx f32 [R,D]; with VEC4 D a multiple of 4
// Dispatch  LANES lanes per row: (ceil(R * LANES / WG),1,1), folded to 2-D past 65535
// Numerics  f32; the mean: chains joined as lib/rows.wgsl says
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
import package::lib::grid::{Place, WG};
import package::lib::norm_weight::factor;
import package::lib::rows::{CHAINS, LANES, keep_chain, row_of, row_sum};
import package::lib::values::{Value, sum_of};

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> w: array<Value>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<Value>;
@if(RESIDUAL) @group(0) @binding(4) var<storage, read> dsum: array<Value>;
@group(0) @binding(5) var<storage, read_write> dx: array<Value>;

struct Params { rows: u32, width: u32 }
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let row = row_of(place, params.rows, params.width);
  for (var chain = row.lane; chain < CHAINS; chain += LANES) {
    var products = Value();
    for (var d = chain; d < row.width; d += CHAINS) {
      products = fma(dy[row.begin + d] * factor(w[d]), x[row.begin + d], products);
    }
    keep_chain(row, chain, sum_of(products));
  }
  let dot = row_sum(row);
  let scale = rstd[min(row.number, params.rows - 1u)];
  let pull = scale * scale * dot / f32(params.width);
  for (var d = row.lane; d < row.width; d += LANES) {
    let at = row.begin + d;
    let gradient = scale * (dy[at] * factor(w[d]) - x[at] * pull);
    @if(RESIDUAL) dx[at] = dsum[at] + gradient;
    @else dx[at] = gradient;
  }
}
