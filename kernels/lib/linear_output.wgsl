// linear_output: writes outputs of a linear layer: the product, and bias and residual where BIAS and RESIDUAL say so.
import package::lib::linear_layer::{params, y};
import package::lib::weight::value_of;

@if(BIAS) override BIAS_FORMAT: u32 = 0u;  // as FORMAT
@if(BIAS) @group(0) @binding(6) var<storage, read> bias: array<u32>;          // [N] in BIAS_FORMAT
@if(RESIDUAL) @group(0) @binding(7) var<storage, read> residual: array<f32>;  // as y

// The output of column n, which lies at `at`, of which `sum` is the product.
@if(BIAS || RESIDUAL)
fn with_addends(sum: f32, n: u32, at: u32) -> f32 {
  var value = sum;
  @if(BIAS) { value += value_of(bias[select(n / 2u, n, BIAS_FORMAT == 0u)], n, BIAS_FORMAT); }
  @if(RESIDUAL) { value += residual[at]; }
  return value;
}
@else
fn with_addends(sum: f32, n: u32, at: u32) -> f32 {
  return sum;
}

fn store(m: u32, n: u32, sum: f32) {
  if (m >= params.rows || n >= params.columns) { return; }
  let at = m * params.stride + n;
  y[at] = with_addends(sum, n, at);
}

// Columns n .. n+3 of a row.
fn store_quad(m: u32, n: u32, sums: vec4f) {
  store(m, n, sums.x);
  store(m, n + 1u, sums.y);
  store(m, n + 2u, sums.z);
  store(m, n + 3u, sums.w);
}

// Rows m .. m+3.
fn store_tile(m: u32, n: u32, tile: mat4x4f) {
  store_quad(m, n, tile[0]);
  store_quad(m + 1u, n, tile[1]);
  store_quad(m + 2u, n, tile[2]);
  store_quad(m + 3u, n, tile[3]);
}
