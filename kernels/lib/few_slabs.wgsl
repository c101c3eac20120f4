// few_slabs: operands of linear_few_matrix.wgsl in workgroup memory, SLAB terms at a time: loaded as they lie, as many
// blocks of eight values as a lane stages, and kept as lines of f16.
import package::lib::f16_range::power;
import package::lib::few_layers::{a, load_weight, params, shift_of_weight};
import package::lib::matrix_units::{Raw, scaled_halves, SUBGROUP, UNIT};

override RUN: u32;           // matrices of rows that a subgroup makes: 1 or 2
override COLUMN_RUN: u32;    // and of columns: 1 or 2
override ROW_PARTS: u32;
override COLUMN_PARTS: u32;  // GATED: an even number

override ROWS = RUN * ROW_PARTS * UNIT;
override COLUMNS = COLUMN_RUN * COLUMN_PARTS * UNIT;
override LANES = ROW_PARTS * COLUMN_PARTS * SUBGROUP;
@if(UNIT8) const SLAB = 64u;  // terms
@else const SLAB = 128u;
const BLOCKS = SLAB / 8u;
const LINE = BLOCKS + 1u;     // a block to spare spreads the lines over the banks
override A_SLAB = ROWS * LINE;
override SLABS = (ROWS + COLUMNS) * LINE;
override A_LOADS = ROWS * BLOCKS / LANES;  // blocks of eight values that a lane stages: up to 8
override B_LOADS = COLUMNS * BLOCKS / LANES;

var<workgroup> memory: array<vec4u, SLABS>;  // [rows][terms] of a, then [columns][terms] of w

struct StagedA { s0: vec4u, s1: vec4u, s2: vec4u, s3: vec4u, s4: vec4u, s5: vec4u, s6: vec4u, s7: vec4u }
struct StagedB { s0: Raw, s1: Raw, s2: Raw, s3: Raw, s4: Raw, s5: Raw, s6: Raw, s7: Raw }

// A workgroup's part: its first row, and a layer's first column.
struct Part { row: u32, layer: u32, column: u32 }

// The layer and column that line i of the weights' slab holds.
@if(GATED)
fn layer_of(part: Part, i: u32) -> u32 { return select(0u, 1u, i >= COLUMNS / 2u); }
@else
fn layer_of(part: Part, i: u32) -> u32 { return part.layer; }
@if(GATED)
fn column_of(part: Part, i: u32) -> u32 { return part.column + i % (COLUMNS / 2u); }
@else
fn column_of(part: Part, i: u32) -> u32 { return part.column + i; }

// Rows beyond the last repeat it, and are not stored; terms beyond the last are zeros in a, or not multiplied.
fn a_block(part: Part, first: u32, i: u32) -> vec4u {
  let row = min(part.row + i / BLOCKS, params.rows - 1u);
  return a[row * (params.pitch / 8u) + min(first / 8u + i % BLOCKS, params.pitch / 8u - 1u)];
}

fn b_block(part: Part, first: u32, i: u32) -> Raw {
  let line = i / BLOCKS;
  return load_weight(layer_of(part, line), column_of(part, line), first / 8u + i % BLOCKS);
}

fn load_a(part: Part, first: u32, lane: u32) -> StagedA {
  var staged: StagedA;
  staged.s0 = a_block(part, first, lane);
  if (A_LOADS > 1u) { staged.s1 = a_block(part, first, lane + LANES); }
  if (A_LOADS > 2u) { staged.s2 = a_block(part, first, lane + 2u * LANES); }
  if (A_LOADS > 3u) { staged.s3 = a_block(part, first, lane + 3u * LANES); }
  if (A_LOADS > 4u) { staged.s4 = a_block(part, first, lane + 4u * LANES); }
  if (A_LOADS > 5u) { staged.s5 = a_block(part, first, lane + 5u * LANES); }
  if (A_LOADS > 6u) { staged.s6 = a_block(part, first, lane + 6u * LANES); }
  if (A_LOADS > 7u) { staged.s7 = a_block(part, first, lane + 7u * LANES); }
  return staged;
}

fn load_b(part: Part, first: u32, lane: u32) -> StagedB {
  var staged: StagedB;
  staged.s0 = b_block(part, first, lane);
  if (B_LOADS > 1u) { staged.s1 = b_block(part, first, lane + LANES); }
  if (B_LOADS > 2u) { staged.s2 = b_block(part, first, lane + 2u * LANES); }
  if (B_LOADS > 3u) { staged.s3 = b_block(part, first, lane + 3u * LANES); }
  if (B_LOADS > 4u) { staged.s4 = b_block(part, first, lane + 4u * LANES); }
  if (B_LOADS > 5u) { staged.s5 = b_block(part, first, lane + 5u * LANES); }
  if (B_LOADS > 6u) { staged.s6 = b_block(part, first, lane + 6u * LANES); }
  if (B_LOADS > 7u) { staged.s7 = b_block(part, first, lane + 7u * LANES); }
  return staged;
}

fn keep_a(i: u32, block: vec4u) { memory[i / BLOCKS * LINE + i % BLOCKS] = block; }

fn keep_b(part: Part, i: u32, raw: Raw) {
  let line = i / BLOCKS;
  let scale = power(shift_of_weight(layer_of(part, line)));
  memory[A_SLAB + line * LINE + i % BLOCKS] = scaled_halves(raw, scale);
}

fn stage_a(lane: u32, staged: StagedA) {
  keep_a(lane, staged.s0);
  if (A_LOADS > 1u) { keep_a(lane + LANES, staged.s1); }
  if (A_LOADS > 2u) { keep_a(lane + 2u * LANES, staged.s2); }
  if (A_LOADS > 3u) { keep_a(lane + 3u * LANES, staged.s3); }
  if (A_LOADS > 4u) { keep_a(lane + 4u * LANES, staged.s4); }
  if (A_LOADS > 5u) { keep_a(lane + 5u * LANES, staged.s5); }
  if (A_LOADS > 6u) { keep_a(lane + 6u * LANES, staged.s6); }
  if (A_LOADS > 7u) { keep_a(lane + 7u * LANES, staged.s7); }
}

fn stage_b(part: Part, lane: u32, staged: StagedB) {
  keep_b(part, lane, staged.s0);
  if (B_LOADS > 1u) { keep_b(part, lane + LANES, staged.s1); }
  if (B_LOADS > 2u) { keep_b(part, lane + 2u * LANES, staged.s2); }
  if (B_LOADS > 3u) { keep_b(part, lane + 3u * LANES, staged.s3); }
  if (B_LOADS > 4u) { keep_b(part, lane + 4u * LANES, staged.s4); }
  if (B_LOADS > 5u) { keep_b(part, lane + 5u * LANES, staged.s5); }
  if (B_LOADS > 6u) { keep_b(part, lane + 6u * LANES, staged.s6); }
  if (B_LOADS > 7u) { keep_b(part, lane + 7u * LANES, staged.s7); }
}
