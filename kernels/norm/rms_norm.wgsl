// rms_norm: scales each row to root mean square 1, times a weight per column.
//   y[r,d] = x[r,d] * rstd[r] * w[d],   rstd[r] = 1 / sqrt(mean_d x[r,d]^2 + eps)      UNIT_OFFSET: (1 + w[d])
// Shapes    x f32 [R,D]; w f32 [D]; out y f32 [R,D], rstd f32 [R]; with VEC4 D a multiple of 4
// Dispatch  LANES lanes per row: (ceil(R * LANES / WG),1,1), folded to 2-D past 65535
// Numerics  f32; sum of squares: chains joined as lib/rows.wgsl says
// Why       STAGED, for wide rows on GPUs: all lanes of a workgroup bring its one row to workgroup memory at once, from
//           which the chains, as many as always, take it
// Twin      src/ops/norm/rms_norm.ts#rmsNormF64     Gradient: rms_norm_grad.wgsl
import package::lib::grid::{Place, WG};
import package::lib::norm_weight::factor;
import package::lib::rows::{CHAINS, LANES, Row, keep_chain, row_of, row_sum};
import package::lib::values::{Value, sum_of};

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> w: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;

struct Params { rows: u32, width: u32, eps: f32 }
@group(0) @binding(4) var<uniform> params: Params;

@if(STAGED) override QUADS: u32;  // vec4s of a row
@if(STAGED) var<workgroup> staged: array<Value, QUADS>;

@if(STAGED) fn value_at(row: Row, d: u32) -> Value { return staged[d]; }
@else fn value_at(row: Row, d: u32) -> Value { return x[row.begin + d]; }

@compute @workgroup_size(WG)
fn main(place: Place) {
  let row = row_of(place, params.rows, params.width);
  @if(STAGED) {
    for (var d = row.lane; d < row.width; d += LANES) { staged[d] = x[row.begin + d]; }
    workgroupBarrier();
  }
  for (var chain = row.lane; chain < CHAINS; chain += LANES) {
    var squares = Value();
    for (var d = chain; d < row.width; d += CHAINS) {
      let value = value_at(row, d);
      squares = fma(value, value, squares);
    }
    keep_chain(row, chain, sum_of(squares));
  }
  let scale = inverseSqrt(row_sum(row) / f32(params.width) + params.eps);
  for (var d = row.lane; d < row.width; d += LANES) { y[row.begin + d] = value_at(row, d) * scale * factor(w[d]); }
  if (row.lane == 0u && row.exists) { rstd[row.number] = scale; }
}
