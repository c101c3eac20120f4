// linear_simd8: linear for subgroups of 8 lanes. The same product, the same bits.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    as linear.wgsl: x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N;
//           K a multiple of 4 (of 8 when w is packed), S of 4
// Dispatch  a workgroup is one subgroup and makes TILE_ROWS rows x 32 columns: (ceil(N/32), ceil(M/TILE_ROWS), 1)
// Numerics  f32, k strictly in order by fma
// Why       A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each,
//           and broadcast: a quarter of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearF64
enable subgroups;

override TILE_ROWS: u32 = 16u;  // 8 or 16
override FORMAT: u32 = 0u;      // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;        // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;    // 1: add it

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn bias_at(n: u32) -> f32 {
  if (BIAS == 1u) { return bitcast<f32>(bias[n]); }
  let word = bias[n / 2u];
  let high = (n & 1u) == 1u;
  if (BIAS == 2u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, high);
}

fn store_row(m: u32, n: u32, sums: vec4f) {
  if (m >= params.rows) { return; }
  for (var j = 0u; j < 4u; j++) {
    if (n + j >= params.columns) { return; }
    var value = sums[j];
    if (BIAS != 0u) { value += bias_at(n + j); }
    let at = m * params.stride + n + j;
    if (RESIDUAL != 0u) { value += residual[at]; }
    y[at] = value;
  }
}

// Four terms of four columns; the columns of wT are what meets the same k.
fn add4(sums: vec4f, v: vec4f, wT: mat4x4f) -> vec4f {
  return fma(vec4f(v.w), wT[3], fma(vec4f(v.z), wT[2], fma(vec4f(v.y), wT[1], fma(vec4f(v.x), wT[0], sums))));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  // No lane leaves early: all of them take part in the broadcasts.
  let m = group.y * TILE_ROWS;
  let n = group.x * 32u + lane * 4u;
  let quads = params.width / 4u;
  let per_load = select(2u, 1u, FORMAT == 0u);  // quads in 16 bytes of w
  let last_row = params.rows - 1u;
  let last_column = params.columns - 1u;
  let row_a = min(m + lane, last_row) * quads;
  let row_b = min(m + 8u + lane, last_row) * quads;
  let b0 = min(n, last_column) * quads / per_load;
  let b1 = min(n + 1u, last_column) * quads / per_load;
  let b2 = min(n + 2u, last_column) * quads / per_load;
  let b3 = min(n + 3u, last_column) * quads / per_load;
  var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
  var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
  var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f();
  var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
  for (var i = 0u; i < quads / per_load; i++) {
    let w0 = w[b0 + i];
    let w1 = w[b1 + i];
    let w2 = w[b2 + i];
    let w3 = w[b3 + i];
    for (var h = 0u; h < per_load; h++) {
      let q = i * per_load + h;
      var wT = transpose(mat4x4f(bitcast<vec4f>(w0), bitcast<vec4f>(w1), bitcast<vec4f>(w2), bitcast<vec4f>(w3)));
      if (FORMAT != 0u) {
        let odd = h == 1u;
        wT = transpose(mat4x4f(
          unpack4(select(w0.xy, w0.zw, odd)),
          unpack4(select(w1.xy, w1.zw, odd)),
          unpack4(select(w2.xy, w2.zw, odd)),
          unpack4(select(w3.xy, w3.zw, odd)),
        ));
      }
      let xa = x[row_a + q];
      s0 = add4(s0, subgroupBroadcast(xa, 0u), wT);
      s1 = add4(s1, subgroupBroadcast(xa, 1u), wT);
      s2 = add4(s2, subgroupBroadcast(xa, 2u), wT);
      s3 = add4(s3, subgroupBroadcast(xa, 3u), wT);
      s4 = add4(s4, subgroupBroadcast(xa, 4u), wT);
      s5 = add4(s5, subgroupBroadcast(xa, 5u), wT);
      s6 = add4(s6, subgroupBroadcast(xa, 6u), wT);
      s7 = add4(s7, subgroupBroadcast(xa, 7u), wT);
      if (TILE_ROWS > 8u) {
        let xb = x[row_b + q];
        s8 = add4(s8, subgroupBroadcast(xb, 0u), wT);
        s9 = add4(s9, subgroupBroadcast(xb, 1u), wT);
        s10 = add4(s10, subgroupBroadcast(xb, 2u), wT);
        s11 = add4(s11, subgroupBroadcast(xb, 3u), wT);
        s12 = add4(s12, subgroupBroadcast(xb, 4u), wT);
        s13 = add4(s13, subgroupBroadcast(xb, 5u), wT);
        s14 = add4(s14, subgroupBroadcast(xb, 6u), wT);
        s15 = add4(s15, subgroupBroadcast(xb, 7u), wT);
      }
    }
  }
  store_row(m, n, s0);
  store_row(m + 1u, n, s1);
  store_row(m + 2u, n, s2);
  store_row(m + 3u, n, s3);
  store_row(m + 4u, n, s4);
  store_row(m + 5u, n, s5);
  store_row(m + 6u, n, s6);
  store_row(m + 7u, n, s7);
  if (TILE_ROWS > 8u) {
    store_row(m + 8u, n, s8);
    store_row(m + 9u, n, s9);
    store_row(m + 10u, n, s10);
    store_row(m + 11u, n, s11);
    store_row(m + 12u, n, s12);
    store_row(m + 13u, n, s13);
    store_row(m + 14u, n, s14);
    store_row(m + 15u, n, s15);
  }
}
