// linear_grad_w_simd8: linear_grad_w for subgroups of 8 lanes. The same sums, the same bits.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    as linear_grad_w.wgsl: dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]; K and
//           S multiples of 4
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns of dw: (ceil(K/32), ceil(N/16), 1)
// Numerics  f32, rows m strictly in order by fma onto dw
// Why       A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each,
//           and broadcast: a quarter of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearGradF64
enable subgroups;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn load_row(n: u32, k: u32) -> vec4f {
  return dw[min(n, params.columns - 1u) * (params.width / 4u) + k];
}

fn store_row(n: u32, k: u32, sums: vec4f) {
  if (n < params.columns && k < params.width / 4u) { dw[n * (params.width / 4u) + k] = sums; }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  // No lane leaves early: all of them take part in the broadcasts.
  let n = group.y * 16u;
  let k = group.x * 8u + lane;
  let quads = params.width / 4u;
  let step = params.stride / 4u;
  let column = min(k, quads - 1u);
  // Of four rows of dy, 16 columns each, a lane loads four columns of two.
  let row = lane / 4u;
  let quad = min(n / 4u + lane % 4u, (params.columns - 1u) / 4u);
  var s0 = load_row(n, column);
  var s1 = load_row(n + 1u, column);
  var s2 = load_row(n + 2u, column);
  var s3 = load_row(n + 3u, column);
  var s4 = load_row(n + 4u, column);
  var s5 = load_row(n + 5u, column);
  var s6 = load_row(n + 6u, column);
  var s7 = load_row(n + 7u, column);
  var s8 = load_row(n + 8u, column);
  var s9 = load_row(n + 9u, column);
  var s10 = load_row(n + 10u, column);
  var s11 = load_row(n + 11u, column);
  var s12 = load_row(n + 12u, column);
  var s13 = load_row(n + 13u, column);
  var s14 = load_row(n + 14u, column);
  var s15 = load_row(n + 15u, column);
  let whole = params.rows / 4u * 4u;
  for (var m = 0u; m < whole; m += 4u) {
    let da = dy[(m + row) * step + quad];
    let db = dy[(m + 2u + row) * step + quad];
    let x0 = x[(m + 0u) * quads + column];
    let x1 = x[(m + 1u) * quads + column];
    let x2 = x[(m + 2u) * quads + column];
    let x3 = x[(m + 3u) * quads + column];
    let d0_0 = subgroupBroadcast(da, 0u);
    let d0_1 = subgroupBroadcast(da, 4u);
    let d0_2 = subgroupBroadcast(db, 0u);
    let d0_3 = subgroupBroadcast(db, 4u);
    s0 = fma(vec4f(d0_3.x), x3, fma(vec4f(d0_2.x), x2, fma(vec4f(d0_1.x), x1, fma(vec4f(d0_0.x), x0, s0))));
    s1 = fma(vec4f(d0_3.y), x3, fma(vec4f(d0_2.y), x2, fma(vec4f(d0_1.y), x1, fma(vec4f(d0_0.y), x0, s1))));
    s2 = fma(vec4f(d0_3.z), x3, fma(vec4f(d0_2.z), x2, fma(vec4f(d0_1.z), x1, fma(vec4f(d0_0.z), x0, s2))));
    s3 = fma(vec4f(d0_3.w), x3, fma(vec4f(d0_2.w), x2, fma(vec4f(d0_1.w), x1, fma(vec4f(d0_0.w), x0, s3))));
    let d1_0 = subgroupBroadcast(da, 1u);
    let d1_1 = subgroupBroadcast(da, 5u);
    let d1_2 = subgroupBroadcast(db, 1u);
    let d1_3 = subgroupBroadcast(db, 5u);
    s4 = fma(vec4f(d1_3.x), x3, fma(vec4f(d1_2.x), x2, fma(vec4f(d1_1.x), x1, fma(vec4f(d1_0.x), x0, s4))));
    s5 = fma(vec4f(d1_3.y), x3, fma(vec4f(d1_2.y), x2, fma(vec4f(d1_1.y), x1, fma(vec4f(d1_0.y), x0, s5))));
    s6 = fma(vec4f(d1_3.z), x3, fma(vec4f(d1_2.z), x2, fma(vec4f(d1_1.z), x1, fma(vec4f(d1_0.z), x0, s6))));
    s7 = fma(vec4f(d1_3.w), x3, fma(vec4f(d1_2.w), x2, fma(vec4f(d1_1.w), x1, fma(vec4f(d1_0.w), x0, s7))));
    let d2_0 = subgroupBroadcast(da, 2u);
    let d2_1 = subgroupBroadcast(da, 6u);
    let d2_2 = subgroupBroadcast(db, 2u);
    let d2_3 = subgroupBroadcast(db, 6u);
    s8 = fma(vec4f(d2_3.x), x3, fma(vec4f(d2_2.x), x2, fma(vec4f(d2_1.x), x1, fma(vec4f(d2_0.x), x0, s8))));
    s9 = fma(vec4f(d2_3.y), x3, fma(vec4f(d2_2.y), x2, fma(vec4f(d2_1.y), x1, fma(vec4f(d2_0.y), x0, s9))));
    s10 = fma(vec4f(d2_3.z), x3, fma(vec4f(d2_2.z), x2, fma(vec4f(d2_1.z), x1, fma(vec4f(d2_0.z), x0, s10))));
    s11 = fma(vec4f(d2_3.w), x3, fma(vec4f(d2_2.w), x2, fma(vec4f(d2_1.w), x1, fma(vec4f(d2_0.w), x0, s11))));
    let d3_0 = subgroupBroadcast(da, 3u);
    let d3_1 = subgroupBroadcast(da, 7u);
    let d3_2 = subgroupBroadcast(db, 3u);
    let d3_3 = subgroupBroadcast(db, 7u);
    s12 = fma(vec4f(d3_3.x), x3, fma(vec4f(d3_2.x), x2, fma(vec4f(d3_1.x), x1, fma(vec4f(d3_0.x), x0, s12))));
    s13 = fma(vec4f(d3_3.y), x3, fma(vec4f(d3_2.y), x2, fma(vec4f(d3_1.y), x1, fma(vec4f(d3_0.y), x0, s13))));
    s14 = fma(vec4f(d3_3.z), x3, fma(vec4f(d3_2.z), x2, fma(vec4f(d3_1.z), x1, fma(vec4f(d3_0.z), x0, s14))));
    s15 = fma(vec4f(d3_3.w), x3, fma(vec4f(d3_2.w), x2, fma(vec4f(d3_1.w), x1, fma(vec4f(d3_0.w), x0, s15))));
  }
  for (var m = whole; m < params.rows; m++) {
    let d = dy[m * step + quad];
    let xm = x[m * quads + column];
    let d0 = subgroupBroadcast(d, 0u);
    s0 = fma(vec4f(d0.x), xm, s0);
    s1 = fma(vec4f(d0.y), xm, s1);
    s2 = fma(vec4f(d0.z), xm, s2);
    s3 = fma(vec4f(d0.w), xm, s3);
    let d1 = subgroupBroadcast(d, 1u);
    s4 = fma(vec4f(d1.x), xm, s4);
    s5 = fma(vec4f(d1.y), xm, s5);
    s6 = fma(vec4f(d1.z), xm, s6);
    s7 = fma(vec4f(d1.w), xm, s7);
    let d2 = subgroupBroadcast(d, 2u);
    s8 = fma(vec4f(d2.x), xm, s8);
    s9 = fma(vec4f(d2.y), xm, s9);
    s10 = fma(vec4f(d2.z), xm, s10);
    s11 = fma(vec4f(d2.w), xm, s11);
    let d3 = subgroupBroadcast(d, 3u);
    s12 = fma(vec4f(d3.x), xm, s12);
    s13 = fma(vec4f(d3.y), xm, s13);
    s14 = fma(vec4f(d3.z), xm, s14);
    s15 = fma(vec4f(d3.w), xm, s15);
  }
  store_row(n, k, s0);
  store_row(n + 1u, k, s1);
  store_row(n + 2u, k, s2);
  store_row(n + 3u, k, s3);
  store_row(n + 4u, k, s4);
  store_row(n + 5u, k, s5);
  store_row(n + 6u, k, s6);
  store_row(n + 7u, k, s7);
  store_row(n + 8u, k, s8);
  store_row(n + 9u, k, s9);
  store_row(n + 10u, k, s10);
  store_row(n + 11u, k, s11);
  store_row(n + 12u, k, s12);
  store_row(n + 13u, k, s13);
  store_row(n + 14u, k, s14);
  store_row(n + 15u, k, s15);
}
