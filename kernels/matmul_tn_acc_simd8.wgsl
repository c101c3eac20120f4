// matmul_tn_acc_simd8: matmul_tn_acc for subgroups of 8 lanes. The same sums, the same bits.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    as matmul_tn_acc.wgsl: dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]; K and
//           S multiples of 4
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns of dw: (ceil(K/32), ceil(N/16), 1)
// Numerics  f32, rows m strictly in order by fma onto dw
// Why       A lane of a CPU's subgroup loads one value at a time, so what all lanes need is loaded once, by one lane each,
//           and broadcast: a quarter of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear.ts#linearGradF64
enable subgroups;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
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
  let column = min(k, quads - 1u);
  let column_a = min(n + lane, params.columns - 1u);
  let column_b = min(n + 8u + lane, params.columns - 1u);
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
  for (var m = 0u; m < params.rows; m++) {
    let xm = x[m * quads + column];
    let da = dy[m * params.stride + column_a];
    let db = dy[m * params.stride + column_b];
    s0 = fma(vec4f(subgroupBroadcast(da, 0u)), xm, s0);
    s1 = fma(vec4f(subgroupBroadcast(da, 1u)), xm, s1);
    s2 = fma(vec4f(subgroupBroadcast(da, 2u)), xm, s2);
    s3 = fma(vec4f(subgroupBroadcast(da, 3u)), xm, s3);
    s4 = fma(vec4f(subgroupBroadcast(da, 4u)), xm, s4);
    s5 = fma(vec4f(subgroupBroadcast(da, 5u)), xm, s5);
    s6 = fma(vec4f(subgroupBroadcast(da, 6u)), xm, s6);
    s7 = fma(vec4f(subgroupBroadcast(da, 7u)), xm, s7);
    s8 = fma(vec4f(subgroupBroadcast(db, 0u)), xm, s8);
    s9 = fma(vec4f(subgroupBroadcast(db, 1u)), xm, s9);
    s10 = fma(vec4f(subgroupBroadcast(db, 2u)), xm, s10);
    s11 = fma(vec4f(subgroupBroadcast(db, 3u)), xm, s11);
    s12 = fma(vec4f(subgroupBroadcast(db, 4u)), xm, s12);
    s13 = fma(vec4f(subgroupBroadcast(db, 5u)), xm, s13);
    s14 = fma(vec4f(subgroupBroadcast(db, 6u)), xm, s14);
    s15 = fma(vec4f(subgroupBroadcast(db, 7u)), xm, s15);
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
