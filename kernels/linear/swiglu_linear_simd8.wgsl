// swiglu_linear_simd8: swiglu_linear for subgroups of 8 lanes. The same products, the same bits.
//   y[m,n] = silu(sum_k x[m,k] gate[n,k]) sum_k x[m,k] up[n,k]
// Shapes    as swiglu_linear.wgsl
// Dispatch  a workgroup is one subgroup and makes TILE_ROWS rows x 16 columns: (ceil(N/16), ceil(M/TILE_ROWS), 1)
// Numerics  f32, k strictly in order by fma: the bits of linear.wgsl, then swiglu.wgsl
// Why       as in lib/subgroup8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/swiglu_linear.ts#swigluLinearF64
import package::lib::linear_layer::{params, x};
import package::lib::subgroup8::{add_rows, EightRows};
import package::lib::linear_swiglu::{gate, store, up};
import package::lib::weight::{quads_per_load, values4};
enable subgroups;

override TILE_ROWS: u32;  // 8 or 16

// sums: of the gate at columns n and n + 1, then of up there.
fn store_pair(m: u32, n: u32, sums: vec4f) {
  store(m, n, sums.x, sums.z);
  store(m, n + 1u, sums.y, sums.w);
}

fn store_rows(m: u32, n: u32, sums: mat4x4f) {
  store_pair(m, n, sums[0]);
  store_pair(m + 1u, n, sums[1]);
  store_pair(m + 2u, n, sums[2]);
  store_pair(m + 3u, n, sums[3]);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * TILE_ROWS;
  let n = group.x * 16u + lane * 2u;
  let quads = params.width / 4u;
  let loads = quads / quads_per_load();  // of 16 bytes in a row of a weight
  let above = min(m + lane, params.rows - 1u) * quads;
  let below = min(m + 8u + lane, params.rows - 1u) * quads;
  let b = min(n, params.columns - 1u) * loads;
  let c = min(n + 1u, params.columns - 1u) * loads;
  var upper: EightRows;
  var lower: EightRows;
  for (var i = 0u; i < loads; i++) {
    let g0 = gate[b + i];
    let g1 = gate[c + i];
    let u0 = up[b + i];
    let u1 = up[c + i];
    for (var half = 0u; half < quads_per_load(); half++) {
      let wT = transpose(mat4x4f(values4(g0, half), values4(g1, half), values4(u0, half), values4(u1, half)));
      let q = i * quads_per_load() + half;
      add_rows(&upper, x[above + q], wT);
      if (TILE_ROWS > 8u) { add_rows(&lower, x[below + q], wT); }
    }
  }
  store_rows(m, n, upper[0]);
  store_rows(m + 4u, n, upper[1]);
  if (TILE_ROWS > 8u) {
    store_rows(m + 8u, n, lower[0]);
    store_rows(m + 12u, n, lower[1]);
  }
}
