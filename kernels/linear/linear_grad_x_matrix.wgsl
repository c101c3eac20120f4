// linear_grad_x_matrix: linear_grad_x on the matrix units of a GPU, of inputs rounded to f16.
//   dx[m,k] = (sum_n round(dy[m,n] 2^(s[m] - t[n])) round(w[n,k] 2^t[n])) 2^-s[m]     (ADD: dx[m,k] += the same)
// Shapes    dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; s i32 [M] and t i32 [N] from row_shifts.wgsl: t
//           of w, s of dy with the columns t; out dx f32 [M,K]; K a multiple of 4 (of 8 when w is packed), S of 4
// Dispatch  a workgroup of four subgroups makes 64 rows x 64 columns: (ceil(K / 64), ceil(M / 64), 1)
// Numerics  as in linear_matrix.wgsl. What the rows of w are brought up by, the columns of dy are taken down by, so
//           that one shift remains for each row of dx. Windows of w (ADD) are summed in f32, each rounded
// Twin      src/ops/linear/matrix_units.ts#inputGradF16F64
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

override SUBGROUP: u32 = 32u;  // lanes of every subgroup
override FORMAT: u32 = 0u;     // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override ADD: u32 = 0u;        // 1: add to dx, for w in windows of rows
override LANES = 4u * SUBGROUP;

const TILE = 64u;                    // rows, and columns
const SLAB_QUADS = 8u;               // a slab is 32 n deep
const TILE_QUADS = TILE / 4u;
const D_LINE = SLAB_QUADS + 2u;      // matrices are loaded from multiples of 16 bytes; two to spare spread the banks
const W_LINE = TILE_QUADS + 2u;
const PART = 32u;                    // rows, and columns, that a subgroup makes: two matrices each way

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<storage, read> dShift: array<i32>;
@group(0) @binding(4) var<storage, read> wShift: array<i32>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> dSlab: array<vec4h, TILE * D_LINE>;             // [rows][n]
var<workgroup> wSlab: array<vec4h, 4 * SLAB_QUADS * W_LINE>;   // [n][columns]
var<workgroup> made: array<f32, 4 * 256>;                      // a matrix of each subgroup

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

// 2^e for e from -126 to 127.
fn power(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

fn power4(e: vec4i) -> vec4f {
  return bitcast<vec4f>(vec4u(e + 127) << vec4u(23u));
}

// Rows beyond the last repeat it, and are not stored. Values beyond the last n are zeros, whatever lies there.
fn stageD(block: u32, m: u32, first: u32) {
  let last = params.columns - 1u;
  let row = min(m + block / SLAB_QUADS, params.rows - 1u);
  let n = (first + block % SLAB_QUADS) * 4u;
  let value = dy[row * (params.stride / 4u) + min(n, last) / 4u];
  let columns = min(vec4u(n) + vec4u(0u, 1u, 2u, 3u), vec4u(last));
  let shifts = dShift[row] - vec4i(wShift[columns.x], wShift[columns.y], wShift[columns.z], wShift[columns.w]);
  // In two steps, neither of which leaves f32.
  let shifted = value * power4(shifts / 2) * power4(shifts - shifts / 2);
  let counts = vec4u(n) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.columns);
  dSlab[block / SLAB_QUADS * D_LINE + block % SLAB_QUADS] = vec4h(select(vec4f(), shifted, counts));
}

fn stageW(block: u32, k: u32, first: u32) {
  let quads = params.width / 4u;
  let n = first * 4u + block / TILE_QUADS;
  let row = min(n, params.columns - 1u);
  let value = weight4(row * quads + min(k / 4u + block % TILE_QUADS, quads - 1u)) * power(wShift[row]);
  wSlab[block / TILE_QUADS * W_LINE + block % TILE_QUADS] = vec4h(select(vec4f(), value, n < params.columns));
}

fn store(m: u32, k: u32, sum: f32) {
  if (m >= params.rows || k >= params.width) { return; }
  let at = m * params.width + k;
  var value = sum * power(-dShift[m]);
  if (ADD == 1u) { value += dx[at]; }
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
  let top = subgroup / 2u * PART;  // of the subgroup's part of the tile
  let left = subgroup % 2u * PART;
  var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;
  for (var first = 0u; first * 4u < params.columns; first += SLAB_QUADS) {
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stageD(block, m, first); }
    for (var block = lane; block < 4u * SLAB_QUADS * TILE_QUADS; block += LANES) { stageW(block, k, first); }
    workgroupBarrier();
    for (var q = 0u; q < SLAB_QUADS; q += 4u) {
      let w0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&wSlab, q * 4u * W_LINE + left / 4u, W_LINE);
      let w1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&wSlab, q * 4u * W_LINE + left / 4u + 4u, W_LINE);
      for (var i = 0u; i < 2u; i++) {
        let di = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&dSlab, (top + i * 16u) * D_LINE + q, D_LINE);
        sums[i * 2u] = subgroupMatrixMultiplyAccumulate(di, w0, sums[i * 2u]);
        sums[i * 2u + 1u] = subgroupMatrixMultiplyAccumulate(di, w1, sums[i * 2u + 1u]);
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 2u; i++) {
    for (var j = 0u; j < 2u; j++) {
      subgroupMatrixStore<row_major>(&made, subgroup * 256u, sums[i * 2u + j], 16u);
      workgroupBarrier();
      for (var at = member; at < 256u; at += SUBGROUP) {
        store(m + top + i * 16u + at / 16u, k + left + j * 16u + at % 16u, made[subgroup * 256u + at]);
      }
      workgroupBarrier();
    }
  }
}
