// linear_output: writes outputs of a linear layer: the product, and bias, an adapter's part and residual where BIAS,
// ADAPTER and RESIDUAL say so. The adapter's part of row m and column n is scale sum_r low[m,r] B[n,r],
// r in order by fma: the bits of linear.wgsl and add.wgsl.
import package::lib::linear_layer::{params, y};
import package::lib::weight::value_of;

@if(BIAS) override BIAS_FORMAT: u32 = 0u;  // as FORMAT
@if(BIAS) @group(0) @binding(6) var<storage, read> bias: array<u32>;          // [N] in BIAS_FORMAT
@if(RESIDUAL) @group(0) @binding(7) var<storage, read> residual: array<f32>;  // as y

@if(ADAPTER) override B_FORMAT: u32 = 0u;  // as FORMAT
@if(ADAPTER) @group(0) @binding(10) var<storage, read> low: array<f32>;     // [M, rank]
@if(ADAPTER) @group(0) @binding(11) var<storage, read> lora_b: array<u32>;  // [N, rank] in B_FORMAT

@if(ADAPTER)
fn with_adapter(made: f32, m: u32, n: u32, rank: u32, scale: f32) -> f32 {
  var sum = 0.0;
  for (var r = 0u; r < rank; r++) {
    let i = n * rank + r;
    sum = fma(low[m * rank + r], value_of(lora_b[select(i / 2u, i, B_FORMAT == 0u)], i, B_FORMAT), sum);
  }
  return fma(scale, sum, made);
}

// The output of row m and column n, which lies at `at`, of the product `sum`; rank and scale are the adapter's.
@if(BIAS || RESIDUAL || ADAPTER)
fn with_addends(sum: f32, m: u32, n: u32, at: u32, rank: u32, scale: f32) -> f32 {
  var value = sum;
  @if(BIAS) { value += value_of(bias[select(n / 2u, n, BIAS_FORMAT == 0u)], n, BIAS_FORMAT); }
  @if(ADAPTER) { value = with_adapter(value, m, n, rank, scale); }
  @if(RESIDUAL) { value += residual[at]; }
  return value;
}
@else
fn with_addends(sum: f32, m: u32, n: u32, at: u32, rank: u32, scale: f32) -> f32 {
  return sum;
}

fn store(m: u32, n: u32, sum: f32) {
  if (m >= params.rows || n >= params.columns) { return; }
  let at = m * params.stride + n;
  @if(ADAPTER) { y[at] = with_addends(sum, m, n, at, params.rank, params.scale); }
  @else { y[at] = with_addends(sum, m, n, at, 0u, 0.0); }
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
