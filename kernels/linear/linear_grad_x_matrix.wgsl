// linear_grad_x_matrix: linear_grad_x on the matrix units of a GPU, of inputs rounded to f16.
//   dx[m,k] = (sum_n round(dy[m,n] 2^(s[m] - t[n])) round(w[n,k] 2^t[n])) 2^-s[m]     (ADD: dx[m,k] += the same)
// Shapes    as linear_grad_x.wgsl; from row_shifts.wgsl w_shift t i32 [N], and row_shift s i32 [M] of dy with the
//           columns t
// Dispatch  a workgroup of four subgroups makes 64 rows x 64 columns: (ceil(K / 64), ceil(M / 64), 1)
// Numerics  as in linear_matrix.wgsl. What the rows of w are brought up by, the columns of dy are taken down by, so
//           that one shift remains for each row of dx. Windows of w (ADD) are summed in f32, each rounded
// Twin      src/ops/linear/matrix_units.ts#linearGradXF16F64
import package::lib::linear_layer::{dy, params, weight4};
import package::lib::linear_units::{
  LANES, LINE, made, PART, part_left, part_top, power, power4, row_shift, row_slab, SLAB_QUADS, SUBGROUP, TILE,
  TILE_QUADS, w_shift,
};
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const W_LINE = TILE_QUADS + 2u;

@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

var<workgroup> w_slab: array<vec4h, 4 * SLAB_QUADS * W_LINE>;  // [n][columns]

// Rows beyond the last repeat it, and are not stored. Values beyond the last n are zeros, whatever lies there.
fn stage_d(block: u32, m: u32, first: u32) {
  let last = params.columns - 1u;
  let row = min(m + block / SLAB_QUADS, params.rows - 1u);
  let n = (first + block % SLAB_QUADS) * 4u;
  let value = dy[row * (params.stride / 4u) + min(n, last) / 4u];
  let columns = min(vec4u(n) + vec4u(0u, 1u, 2u, 3u), vec4u(last));
  let shifts = row_shift[row] - vec4i(w_shift[columns.x], w_shift[columns.y], w_shift[columns.z], w_shift[columns.w]);
  // In two steps, neither of which leaves f32.
  let shifted = value * power4(shifts / 2) * power4(shifts - shifts / 2);
  let counts = vec4u(n) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.columns);
  row_slab[block / SLAB_QUADS * LINE + block % SLAB_QUADS] = vec4h(select(vec4f(), shifted, counts));
}

fn stage_w(block: u32, k: u32, first: u32) {
  let quads = params.width / 4u;
  let n = first * 4u + block / TILE_QUADS;
  let row = min(n, params.columns - 1u);
  let value = weight4(row * quads + min(k / 4u + block % TILE_QUADS, quads - 1u)) * power(w_shift[row]);
  w_slab[block / TILE_QUADS * W_LINE + block % TILE_QUADS] = vec4h(select(vec4f(), value, n < params.columns));
}

fn store(m: u32, k: u32, sum: f32) {
  if (m >= params.rows || k >= params.width) { return; }
  let at = m * params.width + k;
  var value = sum * power(-row_shift[m]);
  @if(ADD) { value += dx[at]; }
  dx[at] = value;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) member: u32,
) {
  let m = group.y * TILE;
  let k = group.x * TILE;
  let top = part_top(subgroup);
  let left = part_left(subgroup);
  var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;
  for (var first = 0u; first * 4u < params.columns; first += SLAB_QUADS) {
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stage_d(block, m, first); }
    for (var block = lane; block < 4u * SLAB_QUADS * TILE_QUADS; block += LANES) { stage_w(block, k, first); }
    workgroupBarrier();
    for (var q = 0u; q < SLAB_QUADS; q += 4u) {
      let begin = q * 4u * W_LINE + left / 4u;
      let w0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&w_slab, begin, W_LINE);
      let w1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&w_slab, begin + 4u, W_LINE);
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
        store(m + top + i * 16u + at / 16u, k + left + j * 16u + at % 16u, sum);
      }
      workgroupBarrier();
    }
  }
}
