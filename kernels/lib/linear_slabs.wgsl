// linear_slabs: tiles of TILE_M x TILE_N sums, for GPUs with fast workgroup memory. Slabs of TILE_K terms of both
// operands lie in it, term by term, so that a lane reads four rows or four columns at once and a value is loaded once
// for all of them. Every line has one vec4 to spare, which spreads the lines over the banks.
import package::lib::linear_layer::add_term;

override TILE_M: u32;  // rows of a tile, a multiple of LANE_M
override TILE_N: u32;  // columns, a multiple of LANE_N
override TILE_K: u32;  // terms of a slab, a multiple of 4
override LANE_M: u32;  // rows that a lane makes: 4 or 8
override LANE_N: u32;  // columns: 4 or 8
override LANES_X = TILE_N / LANE_N;
override LANES_Y = TILE_M / LANE_M;
override LANES = LANES_X * LANES_Y;
override ROW_QUADS = LANE_M / 4u;
override COLUMN_QUADS = LANE_N / 4u;
override ROW_LINE = TILE_M / 4u + 1u;
override COLUMN_LINE = TILE_N / 4u + 1u;
override ROW_SLAB = TILE_K * ROW_LINE;
override COLUMN_SLAB = TILE_K * COLUMN_LINE;

var<workgroup> row_slab: array<vec4f, ROW_SLAB>;        // [TILE_K][rows]
var<workgroup> column_slab: array<vec4f, COLUMN_SLAB>;  // [TILE_K][columns]

// What a lane makes: [2][2] tiles of 4 x 4. Kernels name each by a constant, so that no compiler puts them into memory.
alias Sums = array<mat4x4f, 4>;

struct Lane {
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) number: u32,
}

// The lane's i-th four rows, and its j-th four columns, of the tile's.
fn row_quad(lane: Lane, i: u32) -> u32 { return lane.local.y + LANES_Y * i; }
fn column_quad(lane: Lane, j: u32) -> u32 { return lane.local.x + LANES_X * j; }

// A block is four terms of four rows or columns; where the operand lies row by row, it is turned.
fn block_quad(block: u32) -> u32 { return block / (TILE_K / 4u); }
fn block_depth(block: u32) -> u32 { return block % (TILE_K / 4u); }

fn stage_rows(block: u32, rows: mat4x4f) {
  let turned = transpose(rows);
  let at = block_depth(block) * 4u * ROW_LINE + block_quad(block);
  for (var j = 0u; j < 4u; j++) { row_slab[at + j * ROW_LINE] = turned[j]; }
}

fn stage_columns(block: u32, columns: mat4x4f) {
  let turned = transpose(columns);
  let at = block_depth(block) * 4u * COLUMN_LINE + block_quad(block);
  for (var j = 0u; j < 4u; j++) { column_slab[at + j * COLUMN_LINE] = turned[j]; }
}

fn add_products(k: u32, lane: Lane, sums: ptr<function, Sums>) {
  let upper = row_slab[k * ROW_LINE + row_quad(lane, 0u)];
  let left = column_slab[k * COLUMN_LINE + column_quad(lane, 0u)];
  (*sums)[0] = add_term((*sums)[0], upper, left);
  if (COLUMN_QUADS > 1u) {
    let right = column_slab[k * COLUMN_LINE + column_quad(lane, 1u)];
    (*sums)[1] = add_term((*sums)[1], upper, right);
    if (ROW_QUADS > 1u) { (*sums)[3] = add_term((*sums)[3], row_slab[k * ROW_LINE + row_quad(lane, 1u)], right); }
  }
  if (ROW_QUADS > 1u) { (*sums)[2] = add_term((*sums)[2], row_slab[k * ROW_LINE + row_quad(lane, 1u)], left); }
}

// The terms of the slabs onto the lane's sums: all of them, or the last `left`. A whole slab has a length that the
// compiler knows; a zero added in the last one would turn -0 into 0.
fn add_slabs(left: u32, lane: Lane, sums: ptr<function, Sums>) {
  if (left >= TILE_K) {
    for (var k = 0u; k < TILE_K; k++) { add_products(k, lane, sums); }
  } else {
    for (var k = 0u; k < left; k++) { add_products(k, lane, sums); }
  }
}
