// few_layers: operands of up to three linear layers of one input that one dispatch makes (linear_few_matrix.wgsl):
// SECOND and THIRD where there are so many. GATED: the two are gate and up of an MLP, and y is silu(gate) up.
import package::lib::matrix_units::Raw;
import package::lib::weight::{FORMAT, value_of};

// M, K, values from one row of a to the next, N of each layer; of adapters the ranks of all together, and of each layer
// its rank, 0 where it has none, where its ranks begin, its scale, and how many partial sums there are to add.
struct Params {
  rows: u32,
  width: u32,
  pitch: u32,
  columns: u32,
  @if(SECOND) columns2: u32,
  @if(THIRD) columns3: u32,
  @if(ADAPTER) ranks: u32,
  @if(ADAPTER) count: u32,
  @if(ADAPTER) rank: u32,
  @if(ADAPTER) scale: f32,
  @if(ADAPTER && SECOND) rank2: u32,
  @if(ADAPTER && SECOND) scale2: f32,
  @if(ADAPTER && THIRD) rank3: u32,
  @if(ADAPTER && THIRD) scale3: f32,
}
@group(0) @binding(0) var<storage, read> a: array<vec4u>;         // f16 [M, pitch]: halves.wgsl of x
@group(0) @binding(1) var<storage, read> a_shift: array<i32>;     // [M]
@group(0) @binding(2) var<storage, read> w: array<vec4u>;         // [N,K] in FORMAT
@group(0) @binding(3) var<storage, read> w_shift: array<i32>;     // [1]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;     // [M,N]
@group(0) @binding(5) var<uniform> params: Params;
@if(SECOND) @group(0) @binding(6) var<storage, read> w2: array<vec4u>;
@if(SECOND) @group(0) @binding(7) var<storage, read> w_shift2: array<i32>;
@if(SECOND && !GATED) @group(0) @binding(8) var<storage, read_write> y2: array<f32>;
@if(THIRD) @group(0) @binding(9) var<storage, read> w3: array<vec4u>;
@if(THIRD) @group(0) @binding(10) var<storage, read> w_shift3: array<i32>;
@if(THIRD) @group(0) @binding(11) var<storage, read_write> y3: array<f32>;
@if(RESIDUAL) @group(0) @binding(12) var<storage, read> residual: array<f32>;       // as y
@if(BIAS) @group(0) @binding(13) var<storage, read> bias: array<u32>;               // [N] in BIAS_FORMAT
@if(BIAS2) @group(0) @binding(14) var<storage, read> bias2: array<u32>;
@if(BIAS3) @group(0) @binding(15) var<storage, read> bias3: array<u32>;
@if(ADAPTER) @group(0) @binding(16) var<storage, read> parts: array<f32>;           // [count, M, ranks]
@if(ADAPTER) @group(0) @binding(17) var<storage, read> lora_b: array<u32>;          // [N, rank] in B_FORMAT
@if(ADAPTER && SECOND) @group(0) @binding(18) var<storage, read> lora_b2: array<u32>;
@if(ADAPTER && THIRD) @group(0) @binding(19) var<storage, read> lora_b3: array<u32>;

@if(BIAS || BIAS2 || BIAS3) override BIAS_FORMAT: u32 = 0u;
@if(ADAPTER) override B_FORMAT: u32 = 0u;

// The value with number i of 16-bit or f32 ones, of the word at word_of(i, format).
fn word_of(i: u32, format: u32) -> u32 { return select(i / 2u, i, format == 0u); }

fn columns_of(layer: u32) -> u32 {
  @if(THIRD) { if (layer == 2u) { return params.columns3; } }
  @if(SECOND) { if (layer == 1u) { return params.columns2; } }
  return params.columns;
}

fn shift_of_weight(layer: u32) -> i32 {
  @if(THIRD) { if (layer == 2u) { return w_shift3[0]; } }
  @if(SECOND) { if (layer == 1u) { return w_shift2[0]; } }
  return w_shift[0];
}

// Eight values of row n of a layer's weight from 8 `block` on; beyond the last row and value the last again.
fn load_weight(layer: u32, n: u32, block: u32) -> Raw {
  let row = min(n, columns_of(layer) - 1u);
  if (FORMAT == 0u) {
    let last = params.width / 4u - 1u;
    let at = row * (params.width / 4u);
    let i = at + min(2u * block, last);
    let j = at + min(2u * block + 1u, last);
    @if(THIRD) { if (layer == 2u) { return Raw(w3[i], w3[j]); } }
    @if(SECOND) { if (layer == 1u) { return Raw(w2[i], w2[j]); } }
    return Raw(w[i], w[j]);
  }
  let i = row * (params.width / 8u) + min(block, params.width / 8u - 1u);
  @if(THIRD) { if (layer == 2u) { return Raw(w3[i], vec4u()); } }
  @if(SECOND) { if (layer == 1u) { return Raw(w2[i], vec4u()); } }
  return Raw(w[i], vec4u());
}

fn with_bias(layer: u32, n: u32, sum: f32) -> f32 {
  @if(BIAS) { if (layer == 0u) { return sum + value_of(bias[word_of(n, BIAS_FORMAT)], n, BIAS_FORMAT); } }
  @if(BIAS2) { if (layer == 1u) { return sum + value_of(bias2[word_of(n, BIAS_FORMAT)], n, BIAS_FORMAT); } }
  @if(BIAS3) { if (layer == 2u) { return sum + value_of(bias3[word_of(n, BIAS_FORMAT)], n, BIAS_FORMAT); } }
  return sum;
}

@if(ADAPTER)
fn rank_of(layer: u32) -> u32 {
  @if(THIRD) { if (layer == 2u) { return params.rank3; } }
  @if(SECOND) { if (layer == 1u) { return params.rank2; } }
  return params.rank;
}

// Where a layer's ranks begin among all: they lie in the order of the layers.
@if(ADAPTER)
fn first_rank_of(layer: u32) -> u32 {
  @if(THIRD) { if (layer == 2u) { return params.rank + params.rank2; } }
  @if(SECOND) { if (layer == 1u) { return params.rank; } }
  return 0u;
}

@if(ADAPTER)
fn scale_of_adapter(layer: u32) -> f32 {
  @if(THIRD) { if (layer == 2u) { return params.scale3; } }
  @if(SECOND) { if (layer == 1u) { return params.scale2; } }
  return params.scale;
}

@if(ADAPTER)
fn b_value(layer: u32, n: u32, r: u32) -> f32 {
  let i = n * rank_of(layer) + r;
  let at = word_of(i, B_FORMAT);
  @if(THIRD) { if (layer == 2u) { return value_of(lora_b3[at], i, B_FORMAT); } }
  @if(SECOND) { if (layer == 1u) { return value_of(lora_b2[at], i, B_FORMAT); } }
  return value_of(lora_b[at], i, B_FORMAT);
}

// What an adapter's A makes of row m: the parts added in order, eight loads at a time.
@if(ADAPTER)
fn low_value(m: u32, r: u32) -> f32 {
  let pitch = params.rows * params.ranks;
  var at = m * params.ranks + r;
  var sum = parts[at];
  at += pitch;
  var p = 1u;
  for (; p + 8u <= params.count; p += 8u) {
    let p0 = parts[at];
    let p1 = parts[at + pitch];
    let p2 = parts[at + 2u * pitch];
    let p3 = parts[at + 3u * pitch];
    let p4 = parts[at + 4u * pitch];
    let p5 = parts[at + 5u * pitch];
    let p6 = parts[at + 6u * pitch];
    let p7 = parts[at + 7u * pitch];
    sum = (((((((sum + p0) + p1) + p2) + p3) + p4) + p5) + p6) + p7;
    at += 8u * pitch;
  }
  for (; p < params.count; p++) {
    sum += parts[at];
    at += pitch;
  }
  return sum;
}

fn store(layer: u32, m: u32, n: u32, value: f32) {
  let at = m * columns_of(layer) + n;
  @if(THIRD) { if (layer == 2u) { y3[at] = value; return; } }
  @if(SECOND && !GATED) { if (layer == 1u) { y2[at] = value; return; } }
  var sum = value;
  @if(RESIDUAL) { sum += residual[at]; }
  y[at] = sum;
}
