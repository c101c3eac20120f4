// linear_grad_x_simd8: linear_grad_x for subgroups of 8 lanes. The same product, the same bits.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    as linear_grad_x.wgsl: dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; out dx f32 [M,K]; N and S
//           multiples of 4, K of 4 (of 8 when w is packed)
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns: (ceil(K/32), ceil(M/16), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx)
// Why       A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each,
//           and broadcast: a quarter of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearGradF64
enable subgroups;

override FORMAT: u32 = 0u;  // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override ADD: u32 = 0u;     // 1: go on from dx, for w in windows of rows

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

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

fn start(m: u32, k: u32) -> vec4f {
  if (ADD == 0u) { return vec4f(); }
  return dx[min(m, params.rows - 1u) * (params.width / 4u) + k];
}

fn store_row(m: u32, k: u32, sums: vec4f) {
  if (m < params.rows && k < params.width / 4u) { dx[m * (params.width / 4u) + k] = sums; }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  // No lane leaves early: all of them take part in the broadcasts.
  let m = group.y * 16u;
  let k = group.x * 8u + lane;
  let quads = params.width / 4u;
  let step = params.stride / 4u;
  let last_row = params.rows - 1u;
  let row_a = min(m + lane, last_row) * step;
  let row_b = min(m + 8u + lane, last_row) * step;
  let column = min(k, quads - 1u);
  var s0 = start(m, column);
  var s1 = start(m + 1u, column);
  var s2 = start(m + 2u, column);
  var s3 = start(m + 3u, column);
  var s4 = start(m + 4u, column);
  var s5 = start(m + 5u, column);
  var s6 = start(m + 6u, column);
  var s7 = start(m + 7u, column);
  var s8 = start(m + 8u, column);
  var s9 = start(m + 9u, column);
  var s10 = start(m + 10u, column);
  var s11 = start(m + 11u, column);
  var s12 = start(m + 12u, column);
  var s13 = start(m + 13u, column);
  var s14 = start(m + 14u, column);
  var s15 = start(m + 15u, column);
  for (var q = 0u; q < params.columns / 4u; q++) {
    let da = dy[row_a + q];
    let db = dy[row_b + q];
    let b = q * 4u * quads + column;
    let w0 = weight4(b);
    let w1 = weight4(b + quads);
    let w2 = weight4(b + 2u * quads);
    let w3 = weight4(b + 3u * quads);
    let r0 = subgroupBroadcast(da, 0u);
    s0 = fma(vec4f(r0.w), w3, fma(vec4f(r0.z), w2, fma(vec4f(r0.y), w1, fma(vec4f(r0.x), w0, s0))));
    let r1 = subgroupBroadcast(da, 1u);
    s1 = fma(vec4f(r1.w), w3, fma(vec4f(r1.z), w2, fma(vec4f(r1.y), w1, fma(vec4f(r1.x), w0, s1))));
    let r2 = subgroupBroadcast(da, 2u);
    s2 = fma(vec4f(r2.w), w3, fma(vec4f(r2.z), w2, fma(vec4f(r2.y), w1, fma(vec4f(r2.x), w0, s2))));
    let r3 = subgroupBroadcast(da, 3u);
    s3 = fma(vec4f(r3.w), w3, fma(vec4f(r3.z), w2, fma(vec4f(r3.y), w1, fma(vec4f(r3.x), w0, s3))));
    let r4 = subgroupBroadcast(da, 4u);
    s4 = fma(vec4f(r4.w), w3, fma(vec4f(r4.z), w2, fma(vec4f(r4.y), w1, fma(vec4f(r4.x), w0, s4))));
    let r5 = subgroupBroadcast(da, 5u);
    s5 = fma(vec4f(r5.w), w3, fma(vec4f(r5.z), w2, fma(vec4f(r5.y), w1, fma(vec4f(r5.x), w0, s5))));
    let r6 = subgroupBroadcast(da, 6u);
    s6 = fma(vec4f(r6.w), w3, fma(vec4f(r6.z), w2, fma(vec4f(r6.y), w1, fma(vec4f(r6.x), w0, s6))));
    let r7 = subgroupBroadcast(da, 7u);
    s7 = fma(vec4f(r7.w), w3, fma(vec4f(r7.z), w2, fma(vec4f(r7.y), w1, fma(vec4f(r7.x), w0, s7))));
    let r8 = subgroupBroadcast(db, 0u);
    s8 = fma(vec4f(r8.w), w3, fma(vec4f(r8.z), w2, fma(vec4f(r8.y), w1, fma(vec4f(r8.x), w0, s8))));
    let r9 = subgroupBroadcast(db, 1u);
    s9 = fma(vec4f(r9.w), w3, fma(vec4f(r9.z), w2, fma(vec4f(r9.y), w1, fma(vec4f(r9.x), w0, s9))));
    let r10 = subgroupBroadcast(db, 2u);
    s10 = fma(vec4f(r10.w), w3, fma(vec4f(r10.z), w2, fma(vec4f(r10.y), w1, fma(vec4f(r10.x), w0, s10))));
    let r11 = subgroupBroadcast(db, 3u);
    s11 = fma(vec4f(r11.w), w3, fma(vec4f(r11.z), w2, fma(vec4f(r11.y), w1, fma(vec4f(r11.x), w0, s11))));
    let r12 = subgroupBroadcast(db, 4u);
    s12 = fma(vec4f(r12.w), w3, fma(vec4f(r12.z), w2, fma(vec4f(r12.y), w1, fma(vec4f(r12.x), w0, s12))));
    let r13 = subgroupBroadcast(db, 5u);
    s13 = fma(vec4f(r13.w), w3, fma(vec4f(r13.z), w2, fma(vec4f(r13.y), w1, fma(vec4f(r13.x), w0, s13))));
    let r14 = subgroupBroadcast(db, 6u);
    s14 = fma(vec4f(r14.w), w3, fma(vec4f(r14.z), w2, fma(vec4f(r14.y), w1, fma(vec4f(r14.x), w0, s14))));
    let r15 = subgroupBroadcast(db, 7u);
    s15 = fma(vec4f(r15.w), w3, fma(vec4f(r15.z), w2, fma(vec4f(r15.y), w1, fma(vec4f(r15.x), w0, s15))));
  }
  store_row(m, k, s0);
  store_row(m + 1u, k, s1);
  store_row(m + 2u, k, s2);
  store_row(m + 3u, k, s3);
  store_row(m + 4u, k, s4);
  store_row(m + 5u, k, s5);
  store_row(m + 6u, k, s6);
  store_row(m + 7u, k, s7);
  store_row(m + 8u, k, s8);
  store_row(m + 9u, k, s9);
  store_row(m + 10u, k, s10);
  store_row(m + 11u, k, s11);
  store_row(m + 12u, k, s12);
  store_row(m + 13u, k, s13);
  store_row(m + 14u, k, s14);
  store_row(m + 15u, k, s15);
}
