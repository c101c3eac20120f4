// matmul_nt_simd8: matmul_nt for subgroups of 8 lanes. The same product, the same bits.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    as matmul_nt.wgsl: x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N;
//           K a multiple of 4 (of 8 when w is packed), S of 4
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns: (ceil(N/32), ceil(M/16), 1)
// Numerics  f32, k strictly in order by fma
// Why       A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each,
//           and broadcast: a quarter of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear.ts#linearF64
enable subgroups;

override FORMAT: u32 = 0u;  // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;    // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;  // 1: add it

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

// Values 4i .. 4i+3 of the weight.
fn weight4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(w[i]); }
  let quad = w[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
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

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  // No lane leaves early: all of them take part in the broadcasts.
  let m = group.y * 16u;
  let n = group.x * 32u + lane * 4u;
  let quads = params.width / 4u;
  let last_row = params.rows - 1u;
  let last_column = params.columns - 1u;
  let row_a = min(m + lane, last_row) * quads;
  let row_b = min(m + 8u + lane, last_row) * quads;
  let b0 = min(n, last_column) * quads;
  let b1 = min(n + 1u, last_column) * quads;
  let b2 = min(n + 2u, last_column) * quads;
  let b3 = min(n + 3u, last_column) * quads;
  var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
  var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
  var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f();
  var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
  for (var q = 0u; q < quads; q++) {
    let xa = x[row_a + q];
    let xb = x[row_b + q];
    // Columns of wT: four weights that meet the same k.
    let wT = transpose(mat4x4f(weight4(b0 + q), weight4(b1 + q), weight4(b2 + q), weight4(b3 + q)));
    let r0 = subgroupBroadcast(xa, 0u);
    s0 = fma(vec4f(r0.w), wT[3], fma(vec4f(r0.z), wT[2], fma(vec4f(r0.y), wT[1], fma(vec4f(r0.x), wT[0], s0))));
    let r1 = subgroupBroadcast(xa, 1u);
    s1 = fma(vec4f(r1.w), wT[3], fma(vec4f(r1.z), wT[2], fma(vec4f(r1.y), wT[1], fma(vec4f(r1.x), wT[0], s1))));
    let r2 = subgroupBroadcast(xa, 2u);
    s2 = fma(vec4f(r2.w), wT[3], fma(vec4f(r2.z), wT[2], fma(vec4f(r2.y), wT[1], fma(vec4f(r2.x), wT[0], s2))));
    let r3 = subgroupBroadcast(xa, 3u);
    s3 = fma(vec4f(r3.w), wT[3], fma(vec4f(r3.z), wT[2], fma(vec4f(r3.y), wT[1], fma(vec4f(r3.x), wT[0], s3))));
    let r4 = subgroupBroadcast(xa, 4u);
    s4 = fma(vec4f(r4.w), wT[3], fma(vec4f(r4.z), wT[2], fma(vec4f(r4.y), wT[1], fma(vec4f(r4.x), wT[0], s4))));
    let r5 = subgroupBroadcast(xa, 5u);
    s5 = fma(vec4f(r5.w), wT[3], fma(vec4f(r5.z), wT[2], fma(vec4f(r5.y), wT[1], fma(vec4f(r5.x), wT[0], s5))));
    let r6 = subgroupBroadcast(xa, 6u);
    s6 = fma(vec4f(r6.w), wT[3], fma(vec4f(r6.z), wT[2], fma(vec4f(r6.y), wT[1], fma(vec4f(r6.x), wT[0], s6))));
    let r7 = subgroupBroadcast(xa, 7u);
    s7 = fma(vec4f(r7.w), wT[3], fma(vec4f(r7.z), wT[2], fma(vec4f(r7.y), wT[1], fma(vec4f(r7.x), wT[0], s7))));
    let r8 = subgroupBroadcast(xb, 0u);
    s8 = fma(vec4f(r8.w), wT[3], fma(vec4f(r8.z), wT[2], fma(vec4f(r8.y), wT[1], fma(vec4f(r8.x), wT[0], s8))));
    let r9 = subgroupBroadcast(xb, 1u);
    s9 = fma(vec4f(r9.w), wT[3], fma(vec4f(r9.z), wT[2], fma(vec4f(r9.y), wT[1], fma(vec4f(r9.x), wT[0], s9))));
    let r10 = subgroupBroadcast(xb, 2u);
    s10 = fma(vec4f(r10.w), wT[3], fma(vec4f(r10.z), wT[2], fma(vec4f(r10.y), wT[1], fma(vec4f(r10.x), wT[0], s10))));
    let r11 = subgroupBroadcast(xb, 3u);
    s11 = fma(vec4f(r11.w), wT[3], fma(vec4f(r11.z), wT[2], fma(vec4f(r11.y), wT[1], fma(vec4f(r11.x), wT[0], s11))));
    let r12 = subgroupBroadcast(xb, 4u);
    s12 = fma(vec4f(r12.w), wT[3], fma(vec4f(r12.z), wT[2], fma(vec4f(r12.y), wT[1], fma(vec4f(r12.x), wT[0], s12))));
    let r13 = subgroupBroadcast(xb, 5u);
    s13 = fma(vec4f(r13.w), wT[3], fma(vec4f(r13.z), wT[2], fma(vec4f(r13.y), wT[1], fma(vec4f(r13.x), wT[0], s13))));
    let r14 = subgroupBroadcast(xb, 6u);
    s14 = fma(vec4f(r14.w), wT[3], fma(vec4f(r14.z), wT[2], fma(vec4f(r14.y), wT[1], fma(vec4f(r14.x), wT[0], s14))));
    let r15 = subgroupBroadcast(xb, 7u);
    s15 = fma(vec4f(r15.w), wT[3], fma(vec4f(r15.z), wT[2], fma(vec4f(r15.y), wT[1], fma(vec4f(r15.x), wT[0], s15))));
  }
  store_row(m, n, s0);
  store_row(m + 1u, n, s1);
  store_row(m + 2u, n, s2);
  store_row(m + 3u, n, s3);
  store_row(m + 4u, n, s4);
  store_row(m + 5u, n, s5);
  store_row(m + 6u, n, s6);
  store_row(m + 7u, n, s7);
  store_row(m + 8u, n, s8);
  store_row(m + 9u, n, s9);
  store_row(m + 10u, n, s10);
  store_row(m + 11u, n, s11);
  store_row(m + 12u, n, s12);
  store_row(m + 13u, n, s13);
  store_row(m + 14u, n, s14);
  store_row(m + 15u, n, s15);
}
