// linear_layer: sizes and operands of the kernels of a linear layer y = x w^T, and the tiles of 4 x 4 sums that they
// make: four rows of four columns. Every sum is one chain of fma in the order of its terms, in every kernel.
import package::lib::weight::{quad_of, values4};

struct Params {
  rows: u32,     // M
  width: u32,    // K
  columns: u32,  // N
  stride: u32,   // S
  @if(ADAPTER) rank: u32,
  @if(ADAPTER) scale: f32,
}
@group(0) @binding(0) var<storage, read> x: array<vec4f>;           // [M,K]
@group(0) @binding(1) var<storage, read> w: array<vec4u>;           // [N,K] in FORMAT
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;          // [M,S], of which columns 0..N count
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // as dy
@group(0) @binding(4) var<storage, read_write> grad: array<vec4f>;  // dx [M,K] or dw [N,K]
@group(0) @binding(5) var<uniform> params: Params;

// Where rows i .. i+3 of `count` begin, `pitch` apart; those beyond the last repeat it.
fn rows_from(i: u32, count: u32, pitch: u32) -> vec4u {
  return min(vec4u(i) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u)) * pitch;
}

fn x_rows(at: vec4u) -> mat4x4f {
  return mat4x4f(x[at.x], x[at.y], x[at.z], x[at.w]);
}

fn dy_rows(at: vec4u) -> mat4x4f {
  return mat4x4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
}

fn weight_rows(at: vec4u) -> mat4x4f {
  return mat4x4f(weight4(at.x), weight4(at.y), weight4(at.z), weight4(at.w));
}

// Values 4i .. 4i+3 of the weight.
fn weight4(i: u32) -> vec4f {
  return values4(w[quad_of(i)], i);
}

// Four terms of four sums: v times what the four sums have at each of them.
fn add4(sums: vec4f, v: vec4f, terms: mat4x4f) -> vec4f {
  return fma(
    vec4f(v.w), terms[3],
    fma(vec4f(v.z), terms[2], fma(vec4f(v.y), terms[1], fma(vec4f(v.x), terms[0], sums))),
  );
}

// Four terms of a tile: row by row of v, times what the columns have at each of them.
fn add_terms(tile: mat4x4f, v: mat4x4f, terms: mat4x4f) -> mat4x4f {
  return mat4x4f(
    add4(tile[0], v[0], terms),
    add4(tile[1], v[1], terms),
    add4(tile[2], v[2], terms),
    add4(tile[3], v[3], terms),
  );
}

// One term of a tile: a value for each row, times one for each column.
fn add_term(tile: mat4x4f, rows: vec4f, columns: vec4f) -> mat4x4f {
  return mat4x4f(
    fma(vec4f(rows.x), columns, tile[0]),
    fma(vec4f(rows.y), columns, tile[1]),
    fma(vec4f(rows.z), columns, tile[2]),
    fma(vec4f(rows.w), columns, tile[3]),
  );
}

// What a lane of the plain kernels makes, 8 rows x 8 columns: [upper, lower][left, right] tiles.
alias Tiles = array<mat4x4f, 4>;

fn add_terms8(tiles: ptr<function, Tiles>, upper: mat4x4f, lower: mat4x4f, left: mat4x4f, right: mat4x4f) {
  (*tiles)[0] = add_terms((*tiles)[0], upper, left);
  (*tiles)[1] = add_terms((*tiles)[1], upper, right);
  (*tiles)[2] = add_terms((*tiles)[2], lower, left);
  (*tiles)[3] = add_terms((*tiles)[3], lower, right);
}

fn add_term8(tiles: ptr<function, Tiles>, upper: vec4f, lower: vec4f, left: vec4f, right: vec4f) {
  (*tiles)[0] = add_term((*tiles)[0], upper, left);
  (*tiles)[1] = add_term((*tiles)[1], upper, right);
  (*tiles)[2] = add_term((*tiles)[2], lower, left);
  (*tiles)[3] = add_term((*tiles)[3], lower, right);
}
