// linear_matrix: the products of a linear layer on the matrix units of a GPU, of inputs rounded to f16.
//   output   y[m,n]    = (sum_k a[m,k] round(w[n,k] 2^t)) 2^-(s[m] + t) + bias[n] + residual[m,n]
//   GRAD_X   dx[m,k]   = (sum_n a[m,n] round(w[n,k] 2^t)) 2^-(s[m] + t)                     (ADD: dx[m,k] += the same)
//   GRAD_W   dw[n,k]  += (sum_m a[m,n] round(b[m,k] 2^(c - s[m] - r[m]))) 2^-c, tokens m in blocks of 512, one by one
// Shapes    M tokens, K inputs, N outputs. a: halves.wgsl of x [M,K], for the gradients of dy [M,N], with the shifts s;
//           b: halves of x, with r. w [N,K] in FORMAT, w_shift t i32 [1] of weight_shift.wgsl. out y f32 [M,S], dx f32
//           [M,K], dw f32 [N,K]. K a multiple of 4, of 8 when w is packed. params.stride: of the output S; of the
//           gradients the values from one row of dy's halves to the next
// Dispatch  a workgroup of four subgroups makes TILE x TILE of the outcome: (ceil(columns / TILE), ceil(rows / TILE),
//           1). TILE is 4 matrices, WIDE 8: 64 or 128, where matrices are 16 wide (UNIT8: 32 or 64)
// Numerics  Inputs keep 11 significant bits. Products are exact and summed in f32 by the hardware, a matrix of UNIT
//           terms after the other in ascending order, in one chain from zero: so the bits depend neither on the tile,
//           nor on neighbours, nor on how many rows there are. A window of w (ADD), and a block of tokens in dw, is a
//           chain of its own, added in f32. c is the least s[m] + r[m] of a block: a token keeps all of its bits where
//           its products reach within 2^-29 of the block's largest. How a batch is split into passes shows in dw
// Why       a is staged as it lies, w once per TILE rows. Slabs lie twice in workgroup memory: the next is on its way
//           while this one is multiplied, and one barrier a slab is enough. Sums have constant indices, so that no
//           compiler puts them into memory; they go out through the slabs' memory, where shifts and addends reach them
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
import package::lib::f16_range::shifted;
import package::lib::linear_layer::params;
import package::lib::linear_matrix_slabs::{
  A_SLAB, a_shift, B_SLAB, b_shift, BY_ROW, BY_TERM, LANES, load, Part, PART, PART_UNITS, SLAB, slabs, stage, Staged,
  TILE,
};
import package::lib::linear_output::store;
import package::lib::matrix_units::{Left, Result, Right, SUBGROUP, UNIT, UNIT_BLOCKS};
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

@if(GRAD_X || GRAD_W) @group(0) @binding(4) var<storage, read_write> grad: array<f32>;
@if(!GRAD_W) @group(0) @binding(9) var<storage, read> w_shift: array<i32>;  // t [1]

const OUT_LINE = PART / 4u + 1u;              // of 2 UNIT rows of sums of a subgroup
const OUT = 2u * UNIT * OUT_LINE;
// From a matrix of an operand in a slab to the next.
@if(GRAD_W) const A_STEP = UNIT_BLOCKS;
@else const A_STEP = UNIT * BY_ROW;
@if(GRAD_X || GRAD_W) const B_STEP = UNIT_BLOCKS;
@else const B_STEP = UNIT * BY_ROW;
@if(GRAD_W) const SUMMED_AT_ONCE = 512u;

@if(GRAD_W) var<workgroup> least: atomic<i32>;

alias Sums = array<Result, 4u * PART_UNITS>;  // [rows][four columns], of which two count where not WIDE

@if(GRAD_X || GRAD_W)
fn add_to_grad(at: u32, value: f32) {
  @if(ADD || GRAD_W) { grad[at] += value; }
  @if(!ADD && !GRAD_W) { grad[at] = value; }
}

@if(GRAD_W)
fn put(n: u32, k: u32, sum: f32, scale: i32) {
  if (n < params.columns && k < params.width) { add_to_grad(n * params.width + k, shifted(sum, -scale)); }
}
@elif(GRAD_X)
fn put(m: u32, k: u32, sum: f32, scale: i32) {
  if (m < params.rows && k < params.width) {
    add_to_grad(m * params.width + k, shifted(sum, -(a_shift[m] + scale)));
  }
}
@else
fn put(m: u32, n: u32, sum: f32, scale: i32) {
  if (m < params.rows && n < params.columns) { store(m, n, shifted(sum, -(a_shift[m] + scale))); }
}

// A subgroup's 2 UNIT rows of sums, which lie in the slabs' memory from `at`, to their places from (row, column).
fn put_all(at: u32, row: u32, column: u32, scale: i32, member: u32) {
  for (var i = member; i < 2u * UNIT * PART; i += SUBGROUP) {
    let y = i / PART;
    let x = i % PART;
    put(row + y, column + x, bitcast<f32>(slabs[at + y * OUT_LINE + x / 4u][x % 4u]), scale);
  }
}

// The terms from `first` to before part.last.
fn add_terms(part: Part, begin: u32, scale: i32, lane: u32, subgroup: u32, member: u32) {
  let top = subgroup / 2u * PART;
  let left = subgroup % 2u * PART;
  var sums = Sums();
  var at = 0u;
  stage(part, begin, lane, scale, at, load(part, begin, lane));
  workgroupBarrier();
  for (var first = begin; first < part.last; first += SLAB) {
    let next = first + SLAB;
    var staged = Staged();
    if (next < part.last) { staged = load(part, next, lane); }
    for (var k = 0u; k < SLAB; k += UNIT) {
      @if(GRAD_W) let a_at = at + k * BY_TERM + top / 8u;
      @else let a_at = at + top * BY_ROW + k / 8u;
      @if(GRAD_X || GRAD_W) let b_at = at + A_SLAB + k * BY_TERM + left / 8u;
      @else let b_at = at + A_SLAB + left * BY_ROW + k / 8u;
      @if(GRAD_X || GRAD_W) let b0 = subgroupMatrixLoad<Right, row_major>(&slabs, b_at, BY_TERM);
      @else let b0 = subgroupMatrixLoad<Right, col_major>(&slabs, b_at, BY_ROW);
      @if(GRAD_X || GRAD_W) let b1 = subgroupMatrixLoad<Right, row_major>(&slabs, b_at + B_STEP, BY_TERM);
      @else let b1 = subgroupMatrixLoad<Right, col_major>(&slabs, b_at + B_STEP, BY_ROW);
      @if(WIDE) let b2_at = b_at + 2u * B_STEP;
      @if(WIDE && (GRAD_X || GRAD_W)) let b2 = subgroupMatrixLoad<Right, row_major>(&slabs, b2_at, BY_TERM);
      @elif(WIDE) let b2 = subgroupMatrixLoad<Right, col_major>(&slabs, b2_at, BY_ROW);
      @if(WIDE) let b3_at = b_at + 3u * B_STEP;
      @if(WIDE && (GRAD_X || GRAD_W)) let b3 = subgroupMatrixLoad<Right, row_major>(&slabs, b3_at, BY_TERM);
      @elif(WIDE) let b3 = subgroupMatrixLoad<Right, col_major>(&slabs, b3_at, BY_ROW);
      @if(GRAD_W) let a0 = subgroupMatrixLoad<Left, col_major>(&slabs, a_at, BY_TERM);
      @else let a0 = subgroupMatrixLoad<Left, row_major>(&slabs, a_at, BY_ROW);
      sums[0] = subgroupMatrixMultiplyAccumulate(a0, b0, sums[0]);
      sums[1] = subgroupMatrixMultiplyAccumulate(a0, b1, sums[1]);
      @if(WIDE) {
        sums[2] = subgroupMatrixMultiplyAccumulate(a0, b2, sums[2]);
        sums[3] = subgroupMatrixMultiplyAccumulate(a0, b3, sums[3]);
      }
      @if(GRAD_W) let a1 = subgroupMatrixLoad<Left, col_major>(&slabs, a_at + A_STEP, BY_TERM);
      @else let a1 = subgroupMatrixLoad<Left, row_major>(&slabs, a_at + A_STEP, BY_ROW);
      sums[4] = subgroupMatrixMultiplyAccumulate(a1, b0, sums[4]);
      sums[5] = subgroupMatrixMultiplyAccumulate(a1, b1, sums[5]);
      @if(WIDE) {
        sums[6] = subgroupMatrixMultiplyAccumulate(a1, b2, sums[6]);
        sums[7] = subgroupMatrixMultiplyAccumulate(a1, b3, sums[7]);
      }
      @if(WIDE) {
        @if(GRAD_W) let a2 = subgroupMatrixLoad<Left, col_major>(&slabs, a_at + 2u * A_STEP, BY_TERM);
        @else let a2 = subgroupMatrixLoad<Left, row_major>(&slabs, a_at + 2u * A_STEP, BY_ROW);
        sums[8] = subgroupMatrixMultiplyAccumulate(a2, b0, sums[8]);
        sums[9] = subgroupMatrixMultiplyAccumulate(a2, b1, sums[9]);
        sums[10] = subgroupMatrixMultiplyAccumulate(a2, b2, sums[10]);
        sums[11] = subgroupMatrixMultiplyAccumulate(a2, b3, sums[11]);
        @if(GRAD_W) let a3 = subgroupMatrixLoad<Left, col_major>(&slabs, a_at + 3u * A_STEP, BY_TERM);
        @else let a3 = subgroupMatrixLoad<Left, row_major>(&slabs, a_at + 3u * A_STEP, BY_ROW);
        sums[12] = subgroupMatrixMultiplyAccumulate(a3, b0, sums[12]);
        sums[13] = subgroupMatrixMultiplyAccumulate(a3, b1, sums[13]);
        sums[14] = subgroupMatrixMultiplyAccumulate(a3, b2, sums[14]);
        sums[15] = subgroupMatrixMultiplyAccumulate(a3, b3, sums[15]);
      }
    }
    at = A_SLAB + B_SLAB - at;
    if (next < part.last) { stage(part, next, lane, scale, at, staged); }
    workgroupBarrier();
  }
  let out = subgroup * OUT;
  let below = out + UNIT * OUT_LINE;
  subgroupMatrixStore<row_major>(&slabs, out, sums[0], OUT_LINE);
  subgroupMatrixStore<row_major>(&slabs, out + UNIT / 4u, sums[1], OUT_LINE);
  subgroupMatrixStore<row_major>(&slabs, below, sums[4], OUT_LINE);
  subgroupMatrixStore<row_major>(&slabs, below + UNIT / 4u, sums[5], OUT_LINE);
  @if(WIDE) {
    subgroupMatrixStore<row_major>(&slabs, out + 2u * UNIT / 4u, sums[2], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, out + 3u * UNIT / 4u, sums[3], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below + 2u * UNIT / 4u, sums[6], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below + 3u * UNIT / 4u, sums[7], OUT_LINE);
  }
  workgroupBarrier();
  put_all(out, part.row + top, part.column + left, scale, member);
  workgroupBarrier();
  @if(WIDE) {
    subgroupMatrixStore<row_major>(&slabs, out, sums[8], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, out + UNIT / 4u, sums[9], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, out + 2u * UNIT / 4u, sums[10], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, out + 3u * UNIT / 4u, sums[11], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below, sums[12], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below + UNIT / 4u, sums[13], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below + 2u * UNIT / 4u, sums[14], OUT_LINE);
    subgroupMatrixStore<row_major>(&slabs, below + 3u * UNIT / 4u, sums[15], OUT_LINE);
    workgroupBarrier();
    put_all(out, part.row + top + 2u * UNIT, part.column + left, scale, member);
    workgroupBarrier();
  }
}

@if(GRAD_W)
fn least_scale(first: u32, last: u32, lane: u32) -> i32 {
  if (lane == 0u) { atomicStore(&least, 1000); }
  workgroupBarrier();
  for (var m = first + lane; m < last; m += LANES) { atomicMin(&least, a_shift[m] + b_shift[m]); }
  workgroupBarrier();
  return atomicLoad(&least);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) member: u32,
) {
  let row = group.y * TILE;
  let column = group.x * TILE;
  @if(GRAD_W) {
    for (var first = 0u; first < params.rows; first += SUMMED_AT_ONCE) {
      let last = min(first + SUMMED_AT_ONCE, params.rows);
      add_terms(Part(row, column, last), first, least_scale(first, last, lane), lane, subgroup, member);
    }
  }
  @if(GRAD_X && !GRAD_W) { add_terms(Part(row, column, params.columns), 0u, w_shift[0], lane, subgroup, member); }
  @if(!GRAD_X && !GRAD_W) { add_terms(Part(row, column, params.width), 0u, w_shift[0], lane, subgroup, member); }
}
