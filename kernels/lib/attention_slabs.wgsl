// attention_slabs: a workgroup's tile of attention: ROWS rows of a head (queries; keys where their gradients are made)
//   against OTHERS others at a time (keys; pairs of a query and a head). Lane l makes the dot products of rows
//   4t .. 4t+3 and others 2u, 2u+1, and then has columns of the same four rows: vectors u, u+COLUMNS, .. of their sums.
//   t and u of the lanes of a subgroup of 32: 8 and 4, so what they read at a time is few and in different banks.
//   Rows and others come through workgroup memory in slabs of 8 vectors, which the lanes load while the slab before is
//   multiplied; then PART of the others at a time, whole, for the sums. 64 rows for one sum of each; 32 for two, so
//   that a lane has as many sums, and registers for a second workgroup.
//   All that is indexed at run time is workgroup memory, in arrays of arrays: an index that stays within bounds by
//   force costs as much as a product, so it is made once for a line, whose parts lie at fixed places. The rest lies in
//   registers
import package::lib::attention_packed::params;

override VECTORS: u32;    // of four columns, of a head: at most 64
override ROWS: u32;       // 32 or 64
override OTHERS = 96u - ROWS;
override COLUMNS = 1024u / ROWS;
override OWN = (VECTORS + COLUMNS - 1u) / COLUMNS;  // vectors of sums of a lane, in each of its rows
override PART: u32;       // others: a multiple of 4 that divides OTHERS
override BLOCKS: u32;     // PART/4 * OWN*COLUMNS/16
override UNROLLED: bool;  // the compiler is to see how many products a slab makes: a GPU's is quick to use it

const LANES = 256u;
const SLAB = 8u;

// Rows, then others. The ninth vector is spare: so neighbour lines begin in different banks.
var<workgroup> lines: array<array<vec4f, 9>, 96>;
// Of four others each: weights of 8 fours of rows, and 16 vectors.
var<workgroup> weights: array<array<array<vec4f, 8>, 4>, 16>;
var<workgroup> values: array<array<array<vec4f, 16>, 4>, BLOCKS>;

// Which rows and others a lane has: t and u.
fn fours_of(lane: u32) -> u32 { return (lane & 7u) + ((lane >> 5u) & (ROWS / 32u - 1u)) * 8u; }
fn twos_of(lane: u32) -> u32 { return ((lane >> 3u) & 3u) + lane / ROWS * 4u; }

// Where a row's weights lie: rows are in eights of fours.
fn weight_block(other_four: u32, t: u32) -> u32 { return other_four * (ROWS / 32u) + t / 8u; }

// What a lane stages of a slab: vectors of a row, of another row or an other, and of an other.
struct Held {
  row: vec4f,
  either: vec4f,
  other: vec4f,
}

// Which these are: numbers in the tile, and the vector. `either` is a row where there are 64.
fn held_row(lane: u32) -> u32 { return lane / SLAB; }
fn held_either(lane: u32) -> u32 { return lane / SLAB + select(0u, 32u, ROWS == 64u); }
fn held_other(lane: u32) -> u32 { return lane / SLAB + OTHERS - 32u; }
fn held_vector(lane: u32) -> u32 { return lane % SLAB; }

// A slab's vector as it is multiplied: past the end of the head 0.
fn in_head(value: vec4f, c: u32) -> vec4f { return select(vec4f(), value, c < VECTORS); }

// Every fourth row lies together: those that neighbour lanes read at a time.
fn line_of(row: u32) -> u32 { return (row & 3u) * (ROWS / 4u) + (row >> 2u); }

fn put_slab(held: Held, lane: u32) {
  let c = held_vector(lane);
  let either = held_either(lane);
  lines[line_of(held_row(lane))][c] = held.row;
  lines[select(ROWS + either, line_of(either), ROWS == 64u)][c] = held.either;
  lines[ROWS + held_other(lane)][c] = held.other;
}

// Four partial sums of each dot product: by row, with the one and the other of the lane's two.
struct Dots {
  one: mat4x4f,
  two: mat4x4f,
}

fn add_slab(dots: ptr<function, Dots>, lane: u32) {
  let row = fours_of(lane);
  let a = &lines[row];
  let b = &lines[row + ROWS / 4u];
  let c = &lines[row + ROWS / 2u];
  let d = &lines[row + ROWS / 4u * 3u];
  let other = ROWS + 2u * twos_of(lane);
  let e = &lines[other];
  let f = &lines[other + 1u];
  let count = select(params.slab, SLAB, UNROLLED);
  for (var n = 0u; n < count; n++) {
    let one = (*e)[n];
    let two = (*f)[n];
    (*dots).one[0] = fma((*a)[n], one, (*dots).one[0]);
    (*dots).two[0] = fma((*a)[n], two, (*dots).two[0]);
    (*dots).one[1] = fma((*b)[n], one, (*dots).one[1]);
    (*dots).two[1] = fma((*b)[n], two, (*dots).two[1]);
    (*dots).one[2] = fma((*c)[n], one, (*dots).one[2]);
    (*dots).two[2] = fma((*c)[n], two, (*dots).two[2]);
    (*dots).one[3] = fma((*d)[n], one, (*dots).one[3]);
    (*dots).two[3] = fma((*d)[n], two, (*dots).two[3]);
  }
}

// What a lane stages of PART others, whole.
struct Whole {
  a: vec4f,
  b: vec4f,
  c: vec4f,
  d: vec4f,
}

// Where a vector lies: vectors are in sixteens.
fn value_block(other_four: u32, c: u32) -> u32 { return other_four * (OWN * (COLUMNS / 16u)) + c / 16u; }

// Which the n-th of these is: number in the part, and vector; past the end: the last.
fn whole_at(lane: u32, n: u32) -> vec2u {
  let at = min(lane + n * LANES, PART * VECTORS - 1u);
  return vec2u(at / VECTORS, at % VECTORS);
}

fn put_value(value: vec4f, lane: u32, n: u32) {
  if (lane + n * LANES >= PART * VECTORS) { return; }
  let at = whole_at(lane, n);
  values[value_block(at.x / 4u, at.y)][at.x % 4u][at.y % 16u] = value;
}

fn put_whole(whole: Whole, lane: u32) {
  put_value(whole.a, lane, 0u);
  put_value(whole.b, lane, 1u);
  put_value(whole.c, lane, 2u);
  put_value(whole.d, lane, 3u);
}

fn put_weights(one: vec4f, two: vec4f, lane: u32) {
  let u = twos_of(lane);
  let t = fours_of(lane);
  let block = &weights[weight_block(u / 2u, t)];
  (*block)[u % 2u * 2u][t % 8u] = one;
  (*block)[u % 2u * 2u + 1u][t % 8u] = two;
}

// Sums over the others, of a lane's four rows: vectors u, u+COLUMNS, u+2 COLUMNS, u+3 COLUMNS.
struct Sums {
  a: mat4x4f,
  b: mat4x4f,
  c: mat4x4f,
  d: mat4x4f,
}

fn added(sums: mat4x4f, value: vec4f, weight: vec4f) -> mat4x4f {
  return mat4x4f(
    fma(value, vec4f(weight.x), sums[0]),
    fma(value, vec4f(weight.y), sums[1]),
    fma(value, vec4f(weight.z), sums[2]),
    fma(value, vec4f(weight.w), sums[3]),
  );
}

// Of four others, whose weights are the columns, with vector c of each.
fn added_four(sums: mat4x4f, other_four: u32, c: u32, by: mat4x4f) -> mat4x4f {
  let four = &values[value_block(other_four, c)];
  let u = c % 16u;
  return added(
    added(added(added(sums, (*four)[0][u], by[0]), (*four)[1][u], by[1]), (*four)[2][u], by[2]), (*four)[3][u], by[3],
  );
}

// Vector n of a lane's own, and whether there is one.
fn vector_of(lane: u32, n: u32) -> u32 { return twos_of(lane) + COLUMNS * n; }

fn has_vector(lane: u32, n: u32) -> bool {
  return vector_of(lane, n) < VECTORS;
}

// Of four others, what they weigh in a lane's four rows.
fn weights_of(other_four: u32, t: u32) -> mat4x4f {
  let block = &weights[weight_block(other_four, t)];
  let at = t % 8u;
  return mat4x4f((*block)[0][at], (*block)[1][at], (*block)[2][at], (*block)[3][at]);
}

// Adds the products of the others first .. first + count - 1, a multiple of four later than they began, with what is
// staged of them, in order. Fours are added whole: what is past the count has weight 0.
fn add_products(sums: ptr<function, Sums>, lane: u32, first: u32, count: u32) {
  let t = fours_of(lane);
  let u = twos_of(lane);
  if (!has_vector(lane, 0u)) { return; }
  let last = has_vector(lane, OWN - 1u);
  for (var n = 0u; n < (count + 3u) / 4u; n++) {
    let by = weights_of(first / 4u + n, t);
    (*sums).a = added_four((*sums).a, n, u, by);
    if (OWN > 2u || (OWN == 2u && last)) { (*sums).b = added_four((*sums).b, n, u + COLUMNS, by); }
    if (OWN > 3u || (OWN == 3u && last)) { (*sums).c = added_four((*sums).c, n, u + 2u * COLUMNS, by); }
    if (OWN > 3u && last) { (*sums).d = added_four((*sums).d, n, u + 3u * COLUMNS, by); }
  }
}

// Sums of row r of a lane's four, vector n of its own.
fn sum_at(sums: Sums, r: u32, n: u32) -> vec4f {
  let a = select(select(sums.a[0], sums.a[1], r == 1u), select(sums.a[2], sums.a[3], r == 3u), r > 1u);
  let b = select(select(sums.b[0], sums.b[1], r == 1u), select(sums.b[2], sums.b[3], r == 3u), r > 1u);
  let c = select(select(sums.c[0], sums.c[1], r == 1u), select(sums.c[2], sums.c[3], r == 3u), r > 1u);
  let d = select(select(sums.d[0], sums.d[1], r == 1u), select(sums.d[2], sums.d[3], r == 3u), r > 1u);
  return select(select(a, b, n == 1u), select(c, d, n == 3u), n > 1u);
}

// Each row's sums times its factor.
fn scaled_sums(sums: Sums, by: vec4f) -> Sums {
  return Sums(
    mat4x4f(sums.a[0] * by.x, sums.a[1] * by.y, sums.a[2] * by.z, sums.a[3] * by.w),
    mat4x4f(sums.b[0] * by.x, sums.b[1] * by.y, sums.b[2] * by.z, sums.b[3] * by.w),
    mat4x4f(sums.c[0] * by.x, sums.c[1] * by.y, sums.c[2] * by.z, sums.c[3] * by.w),
    mat4x4f(sums.d[0] * by.x, sums.d[1] * by.y, sums.d[2] * by.z, sums.d[3] * by.w),
  );
}
