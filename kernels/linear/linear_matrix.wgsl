// linear_matrix: linear on the matrix units of a GPU, of inputs rounded to f16.
//   y[m,n] = (sum_k round(x[m,k] 2^s[m]) round(w[n,k] 2^t[n])) 2^-(s[m] + t[n]) + bias[n] + residual[m,n]
// Shapes    as linear.wgsl; row_shift s i32 [M] of x and w_shift t i32 [N] from row_shifts.wgsl
// Dispatch  a workgroup of four subgroups makes 64 rows x 64 columns: (ceil(N / 64), ceil(M / 64), 1)
// Numerics  Inputs keep 11 significant bits, f16's, and no value overflows; only what is 2^-29 of its row's largest
//           keeps fewer. Products are exact and summed in f32 in the order of the hardware. Shifts are exact both ways.
//           A row's bits depend on no other row, but they are not those of the f32 kernels
// Why       Shifts by row, because activations and gradients reach beyond both ends of f16 and differ from row to row
//           by more than f16 spans; powers of two, because they round nothing
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
import package::lib::linear_layer::{params, weight4, x};
import package::lib::linear_units::{
  LANES, LINE, made, PART, part_left, part_top, power, row_shift, row_slab, SLAB_QUADS, SUBGROUP, TILE, w_shift,
};
import package::lib::linear_output::store;
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

var<workgroup> w_slab: array<vec4h, TILE * LINE>;  // [columns][k]

// Rows beyond the last repeat it, and are not stored. Values beyond the last k are zeros.
fn stage_x(block: u32, m: u32, first: u32) {
  let quads = params.width / 4u;
  let q = first + block % SLAB_QUADS;
  let row = min(m + block / SLAB_QUADS, params.rows - 1u);
  let value = select(vec4f(), x[row * quads + min(q, quads - 1u)], q < quads);
  row_slab[block / SLAB_QUADS * LINE + block % SLAB_QUADS] = vec4h(value * power(row_shift[row]));
}

fn stage_w(block: u32, n: u32, first: u32) {
  let quads = params.width / 4u;
  let q = first + block % SLAB_QUADS;
  let column = min(n + block / SLAB_QUADS, params.columns - 1u);
  let value = select(vec4f(), weight4(column * quads + min(q, quads - 1u)), q < quads);
  w_slab[block / SLAB_QUADS * LINE + block % SLAB_QUADS] = vec4h(value * power(w_shift[column]));
}

// sum 2^e for e from -252 to 252, in two steps: neither leaves f32 when sum and result are within it.
fn shifted(sum: f32, e: i32) -> f32 {
  return sum * power(e / 2) * power(e - e / 2);
}

fn store_shifted(m: u32, n: u32, sum: f32) {
  if (m < params.rows && n < params.columns) { store(m, n, shifted(sum, -(row_shift[m] + w_shift[n]))); }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) member: u32,
) {
  let m = group.y * TILE;
  let n = group.x * TILE;
  let top = part_top(subgroup);
  let left = part_left(subgroup);
  var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;
  for (var first = 0u; first < params.width / 4u; first += SLAB_QUADS) {
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stage_x(block, m, first); }
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stage_w(block, n, first); }
    workgroupBarrier();
    for (var q = 0u; q < SLAB_QUADS; q += 4u) {
      let begin = left * LINE + q;
      let w0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&w_slab, begin, LINE);
      let w1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&w_slab, begin + 16u * LINE, LINE);
      for (var i = 0u; i < 2u; i++) {
        let at = (top + i * 16u) * LINE + q;
        let rows = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&row_slab, at, LINE);
        sums[i * 2u] = subgroupMatrixMultiplyAccumulate(rows, w0, sums[i * 2u]);
        sums[i * 2u + 1u] = subgroupMatrixMultiplyAccumulate(rows, w1, sums[i * 2u + 1u]);
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 2u; i++) {
    for (var j = 0u; j < 2u; j++) {
      subgroupMatrixStore<row_major>(&made, subgroup * 256u, sums[i * 2u + j], 16u);
      workgroupBarrier();
      for (var at = member; at < 256u; at += SUBGROUP) {
        let sum = made[subgroup * 256u + at];
        store_shifted(m + top + i * 16u + at / 16u, n + left + j * 16u + at % 16u, sum);
      }
      workgroupBarrier();
    }
  }
}
