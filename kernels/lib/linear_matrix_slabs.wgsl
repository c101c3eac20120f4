// linear_matrix_slabs: the operands of linear_matrix.wgsl on their way into workgroup memory. Blocks of eight f16
// values lie in lines that have one to spare, which spreads them over the banks: a line holds the terms of a row or
// column, or, where the operand lies so, a term of all of them. What a lane holds between loading and storing has names
// instead of indices, so that no compiler puts it into memory.
import package::lib::f16_range::power;
import package::lib::linear_layer::{params, w};
import package::lib::matrix_units::{Raw, scaled_halves, SUBGROUP, UNIT};
import package::lib::weight::FORMAT;

@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@if(GRAD_W) @group(0) @binding(1) var<storage, read> b: array<vec4u>;
@group(0) @binding(8) var<storage, read> a_shift: array<i32>;              // s [M]
@if(GRAD_W) @group(0) @binding(9) var<storage, read> b_shift: array<i32>;  // r [M]

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

var<workgroup> slabs: array<vec4u, 2u * (A_SLAB + B_SLAB)>;

// Eight values of each operand, and what a lane stages of a slab.
struct Blocks { a: vec4u, b: Raw }
struct Staged { s0: Blocks, s1: Blocks, s2: Blocks, s3: Blocks, s4: Blocks, s5: Blocks, s6: Blocks, s7: Blocks }

// What a workgroup makes: rows of a from `row`, columns of b or w from `column`; terms before `last` count.
struct Part { row: u32, column: u32, last: u32 }

// Blocks of a row of halves.
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

@if(GRAD_X && !GRAD_W) fn a_line() -> u32 { return params.stride / 8u; }
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
