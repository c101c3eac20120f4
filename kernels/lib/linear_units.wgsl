// linear_units: tiles of 64 x 64 sums on the matrix units of a GPU, by four subgroups, of operands that are brought
// into the range of f16 by powers of two, which round nothing.
override SUBGROUP: u32;  // lanes of every subgroup
override LANES = 4u * SUBGROUP;

const TILE = 64u;               // rows, and columns
const TILE_QUADS = TILE / 4u;
const SLAB_QUADS = 8u;          // a slab is 32 terms deep
const LINE = SLAB_QUADS + 2u;   // matrices are loaded from multiples of 16 bytes; two to spare spread the banks
const PART = 32u;               // rows, and columns, that a subgroup makes: two matrices each way

@group(0) @binding(8) var<storage, read> row_shift: array<i32>;  // s [M]
@group(0) @binding(9) var<storage, read> w_shift: array<i32>;    // t [N]

var<workgroup> row_slab: array<vec4h, TILE * LINE>;  // [rows][terms]
var<workgroup> made: array<f32, 4 * 256>;            // a matrix of each subgroup

// Where a subgroup's part begins in the tile.
fn part_top(subgroup: u32) -> u32 { return subgroup / 2u * PART; }
fn part_left(subgroup: u32) -> u32 { return subgroup % 2u * PART; }

// 2^e for e from -126 to 127.
fn power(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

fn power4(e: vec4i) -> vec4f {
  return bitcast<vec4f>(vec4u(e + 127) << vec4u(23u));
}
