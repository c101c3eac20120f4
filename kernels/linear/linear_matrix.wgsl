// linear_matrix: the products of a linear layer on the matrix units of a GPU, of inputs rounded to f16.
//   output   y[m,n]    = (sum_k a[m,k] round(w[n,k] 2^t)) 2^-(s[m] + t) + bias[n] + residual[m,n]
//   GRAD_X   dx[m,k]   = (sum_n a[m,n] round(w[n,k] 2^t)) 2^-(s[m] + t)                     (ADD: dx[m,k] += the same)
//   GRAD_W   dw[n,k]  += (sum_m a[m,n] round(b[m,k] 2^(c - s[m] - r[m]))) 2^-c, tokens m in blocks of 512, one by one
// Shapes    M tokens, K inputs, N outputs. a: halves.wgsl of x [M,K], for the gradients of dy [M,N], with the shifts s;
//           b: halves of x, with r. w [N,K] in FORMAT, w_shift t i32 [1] of weight_shift.wgsl. out y f32 [M,S], dx f32
//           [M,K], dw f32 [N,K]. K a multiple of 4, of 8 when w is packed. params.stride: of the output S; of the
//           gradients the values from one row of dy's halves to the next
// Dispatch  a workgroup of four subgroups makes TILE x TILE of the outcome: (ceil(columns / TILE), ceil(rows / TILE), 1).
//           TILE is 4 matrices, WIDE 8: 64 or 128, where matrices are 16 wide (UNIT8: 32 or 64)
// Numerics  Inputs keep 11 significant bits. Products are exact and summed in f32 by the hardware, a matrix of UNIT terms
//           after the other in ascending order, in one chain from zero: so the bits depend neither on the tile, nor on
//           neighbours, nor on how many rows there are. A window of w (ADD), and a block of tokens in dw, is a chain of
//           its own, added in f32. c is the least s[m] + r[m] of a block: a token keeps all of its bits where its
//           products reach within 2^-29 of the block's largest. How a batch is split into passes shows in dw
// Why       a is staged as it lies and w once per 128 rows. Slabs lie twice in workgroup memory: the next is on its way
//           while this one is multiplied, and one barrier a slab is enough. Lines have a vec4u to spare, which spreads
//           them over the banks. Sums have constant indices, so that no compiler puts them into memory; they go out
//           through the slabs' memory, where shifts and addends reach them
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
import package::lib::f16_range::{power, shifted};
import package::lib::linear_layer::{params, w};
import package::lib::linear_output::store;
import package::lib::matrix_units::{Left, Raw, Result, Right, scaled_halves, SUBGROUP, UNIT, UNIT_BLOCKS};
import package::lib::weight::FORMAT;
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@if(GRAD_W) @group(0) @binding(1) var<storage, read> b: array<vec4u>;
@if(GRAD_X || GRAD_W) @group(0) @binding(4) var<storage, read_write> grad: array<f32>;
@group(0) @binding(8) var<storage, read> a_shift: array<i32>;                // s [M]
@if(GRAD_W) @group(0) @binding(9) var<storage, read> b_shift: array<i32>;  // r [M]
@else @group(0) @binding(9) var<storage, read> w_shift: array<i32>;        // t [1]

override LANES = 4u * SUBGROUP;
@if(WIDE) const PART_UNITS = 4u;  // matrices that a subgroup makes, each way
@else const PART_UNITS = 2u;
const PART = PART_UNITS * UNIT;
const TILE = 2u * PART;
const SLAB = 32u;                 // terms
const SLAB_BLOCKS = SLAB / 8u;
const TILE_BLOCKS = TILE / 8u;
const BY_TERM = TILE_BLOCKS + 1u; // a line holds a term of all rows or columns,
const BY_ROW = SLAB_BLOCKS + 1u;  // or the terms of one
@if(GRAD_W) const A_SLAB = SLAB * BY_TERM;
@else const A_SLAB = TILE * BY_ROW;
@if(GRAD_X || GRAD_W) const B_SLAB = SLAB * BY_TERM;
@else const B_SLAB = TILE * BY_ROW;
override LOADS = TILE * SLAB_BLOCKS / LANES;  // blocks of eight values that a lane stages of an operand: 1, 2, 4 or 8
const OUT_LINE = PART / 4u + 1u;              // of 2 UNIT rows of sums of a subgroup
const OUT = 2u * UNIT * OUT_LINE;
// From a matrix of an operand in a slab to the next.
@if(GRAD_W) const A_STEP = UNIT_BLOCKS;
@else const A_STEP = UNIT * BY_ROW;
@if(GRAD_X || GRAD_W) const B_STEP = UNIT_BLOCKS;
@else const B_STEP = UNIT * BY_ROW;
@if(GRAD_W) const SUMMED_AT_ONCE = 512u;

var<workgroup> slabs: array<vec4u, 2u * (A_SLAB + B_SLAB)>;
@if(GRAD_W) var<workgroup> least: atomic<i32>;

alias Sums = array<Result, 4u * PART_UNITS>;  // [rows][four columns], of which two count where not WIDE

// Eight values of each operand, and what a lane stages of a slab.
struct Blocks { a: vec4u, b: Raw }
struct Staged { s0: Blocks, s1: Blocks, s2: Blocks, s3: Blocks, s4: Blocks, s5: Blocks, s6: Blocks, s7: Blocks }

// What a workgroup makes: rows of a from `row`, columns of b or w from `column`; terms before `last` count.
struct Part { row: u32, column: u32, last: u32 }

fn blocks_of(values: u32) -> u32 { return (values + 31u) / 32u * 4u; }

// Where block `i` of a slab stands: its row, column or term, and its place in that line.
fn line_by_row(i: u32) -> u32 { return i / SLAB_BLOCKS; }
fn place_by_row(i: u32) -> u32 { return i % SLAB_BLOCKS; }
fn line_by_term(i: u32) -> u32 { return i / TILE_BLOCKS; }
fn place_by_term(i: u32) -> u32 { return i % TILE_BLOCKS; }

// The terms from `first`. What lies beyond the last row or column repeats it, and is not stored; terms beyond the last
// are zeros in a.
@if(GRAD_W)
fn load_a(part: Part, first: u32, i: u32) -> vec4u {
  let term = first + line_by_term(i);
  let block = min(part.row / 8u + place_by_term(i), blocks_of(params.columns) - 1u);
  return select(vec4u(), a[min(term, part.last - 1u) * (params.stride / 8u) + block], term < part.last);
}
@else
fn load_a(part: Part, first: u32, i: u32) -> vec4u {
  let row = min(part.row + line_by_row(i), params.rows - 1u);
  return a[row * a_line() + first / 8u + place_by_row(i)];
}

@if(GRAD_X) fn a_line() -> u32 { return params.stride / 8u; }
@if(!GRAD_X && !GRAD_W) fn a_line() -> u32 { return blocks_of(params.width); }

// The values of row n of w from 8 `block` on.
@if(!GRAD_W)
fn load_weight(n: u32, block: u32) -> Raw {
  if (FORMAT == 0u) {
    let last = params.width / 4u - 1u;
    let at = n * (params.width / 4u);
    return Raw(w[at + min(2u * block, last)], w[at + min(2u * block + 1u, last)]);
  }
  return Raw(w[n * (params.width / 8u) + min(block, params.width / 8u - 1u)], vec4u());
}

@if(GRAD_W)
fn load_b(part: Part, first: u32, i: u32) -> Raw {
  let term = min(first + line_by_term(i), part.last - 1u);
  let block = min(part.column / 8u + place_by_term(i), blocks_of(params.width) - 1u);
  return Raw(b[term * blocks_of(params.width) + block], vec4u());
}
@elif(GRAD_X)
fn load_b(part: Part, first: u32, i: u32) -> Raw {
  return load_weight(min(first + line_by_term(i), part.last - 1u), part.column / 8u + place_by_term(i));
}
@else
fn load_b(part: Part, first: u32, i: u32) -> Raw {
  return load_weight(min(part.column + line_by_row(i), params.columns - 1u), first / 8u + place_by_row(i));
}

// What b is multiplied by: the same for all of w. In dw what a token is taken down by, within f32: f16 spans less.
@if(GRAD_W)
fn scale_of(part: Part, first: u32, i: u32, scale: i32) -> f32 {
  let term = min(first + line_by_term(i), part.last - 1u);
  return power(max(scale - a_shift[term] - b_shift[term], -126));
}
@else
fn scale_of(part: Part, first: u32, i: u32, scale: i32) -> f32 { return power(scale); }

@if(GRAD_W) fn place_of_a(i: u32) -> u32 { return line_by_term(i) * BY_TERM + place_by_term(i); }
@else fn place_of_a(i: u32) -> u32 { return line_by_row(i) * BY_ROW + place_by_row(i); }
@if(GRAD_X || GRAD_W) fn place_of_b(i: u32) -> u32 { return line_by_term(i) * BY_TERM + place_by_term(i); }
@else fn place_of_b(i: u32) -> u32 { return line_by_row(i) * BY_ROW + place_by_row(i); }

fn load_blocks(part: Part, first: u32, i: u32) -> Blocks {
  return Blocks(load_a(part, first, i), load_b(part, first, i));
}

fn stage_blocks(part: Part, first: u32, i: u32, scale: i32, at: u32, blocks: Blocks) {
  slabs[at + place_of_a(i)] = blocks.a;
  slabs[at + A_SLAB + place_of_b(i)] = scaled_halves(blocks.b, scale_of(part, first, i, scale));
}

fn load(part: Part, first: u32, lane: u32) -> Staged {
  var staged: Staged;
  staged.s0 = load_blocks(part, first, lane);
  if (LOADS > 1u) { staged.s1 = load_blocks(part, first, lane + LANES); }
  if (LOADS > 2u) {
    staged.s2 = load_blocks(part, first, lane + 2u * LANES);
    staged.s3 = load_blocks(part, first, lane + 3u * LANES);
  }
  if (LOADS > 4u) {
    staged.s4 = load_blocks(part, first, lane + 4u * LANES);
    staged.s5 = load_blocks(part, first, lane + 5u * LANES);
    staged.s6 = load_blocks(part, first, lane + 6u * LANES);
    staged.s7 = load_blocks(part, first, lane + 7u * LANES);
  }
  return staged;
}

fn stage(part: Part, first: u32, lane: u32, scale: i32, at: u32, staged: Staged) {
  stage_blocks(part, first, lane, scale, at, staged.s0);
  if (LOADS > 1u) { stage_blocks(part, first, lane + LANES, scale, at, staged.s1); }
  if (LOADS > 2u) {
    stage_blocks(part, first, lane + 2u * LANES, scale, at, staged.s2);
    stage_blocks(part, first, lane + 3u * LANES, scale, at, staged.s3);
  }
  if (LOADS > 4u) {
    stage_blocks(part, first, lane + 4u * LANES, scale, at, staged.s4);
    stage_blocks(part, first, lane + 5u * LANES, scale, at, staged.s5);
    stage_blocks(part, first, lane + 6u * LANES, scale, at, staged.s6);
    stage_blocks(part, first, lane + 7u * LANES, scale, at, staged.s7);
  }
}

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
  @if(GRAD_X) { add_terms(Part(row, column, params.columns), 0u, w_shift[0], lane, subgroup, member); }
  @if(!GRAD_X && !GRAD_W) { add_terms(Part(row, column, params.width), 0u, w_shift[0], lane, subgroup, member); }
}
