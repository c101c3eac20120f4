// attention_slabs: a workgroup's tile of attention: 64 rows of a head (queries; keys where their gradients are made)
//   against 32 others at a time (keys; pairs of a query and a head). Lane l makes the dot products of rows 4t .. 4t+3
//   and others 2u, 2u+1, and then has columns of the same four rows: vectors u, u+16, .. of their sums. t and u of the
//   lanes of a subgroup of 32: 8 and 4, so that what they read at a time is few and lies in different banks.
//   Rows and others come through workgroup memory in slabs of 8 vectors, which the lanes load while the slab before is
//   multiplied; then PART of the others at a time, whole, for the sums.
//   All that is indexed at run time is workgroup memory, in arrays of arrays: an index that stays within bounds by
//   force costs as much as a product, so it is made once for a line, whose parts lie at fixed places. The rest lies in
//   registers
import package::lib::attention_packed::params;

override VECTORS: u32;    // of four columns, of a head: at most 64
override PART: u32;       // 4, 8, 16 or 32 others
override BLOCKS: u32;     // PART/4 * ceil(VECTORS/16)
override UNROLLED: bool;  // the compiler is to see how many products a slab makes: a GPU's is quick to use it
override OWN = (VECTORS + 15u) / 16u;  // vectors of sums of a lane, in each of its rows

const LANES = 256u;
const ROWS = 64u;
const OTHERS = 32u;
const SLAB = 8u;

// Rows, then others. The ninth vector is spare: so neighbour lines begin in different banks.
var<workgroup> lines: array<array<vec4f, 9>, 96>;
// Of four others each: weights of the rows, by fours, and 16 vectors.
var<workgroup> weights: array<array<array<vec4f, 16>, 4>, 8>;
var<workgroup> values: array<array<array<vec4f, 16>, 4>, BLOCKS>;

// Which rows and others a lane has: t and u.
fn fours_of(lane: u32) -> u32 { return (lane & 7u) + ((lane >> 5u) & 1u) * 8u; }
fn twos_of(lane: u32) -> u32 { return ((lane >> 3u) & 3u) + (lane >> 6u) * 4u; }

// What a lane stages of a slab: vectors of two rows, and of one of the others.
struct Held {
  a: vec4f,
  b: vec4f,
  other: vec4f,
}

// Which these are: numbers in the tile, and the vector.
fn held_row(lane: u32) -> u32 { return lane / SLAB; }
fn held_second_row(lane: u32) -> u32 { return lane / SLAB + 32u; }
fn held_vector(lane: u32) -> u32 { return lane % SLAB; }

// A slab's vector as it is multiplied: past the end of the head 0.
fn in_head(value: vec4f, c: u32) -> vec4f { return select(vec4f(), value, c < VECTORS); }

// Every fourth row lies together: those that neighbour lanes read at a time.
fn line_of(row: u32) -> u32 { return (row & 3u) * 16u + (row >> 2u); }

fn put_slab(held: Held, lane: u32) {
  let c = held_vector(lane);
  lines[line_of(held_row(lane))][c] = held.a;
  lines[line_of(held_second_row(lane))][c] = held.b;
  lines[ROWS + held_row(lane)][c] = held.other;
}

// Four partial sums of each dot product: by row, with the one and the other of the lane's two.
struct Dots {
  one: mat4x4f,
  two: mat4x4f,
}

fn add_slab(dots: ptr<function, Dots>, lane: u32) {
  let row = fours_of(lane);
  let a = &lines[row];
  let b = &lines[row + 16u];
  let c = &lines[row + 32u];
  let d = &lines[row + 48u];
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

// Which the n-th of these is: number in the part, and vector; past the end: the last.
fn whole_at(lane: u32, n: u32) -> vec2u {
  let at = min(lane + n * LANES, PART * VECTORS - 1u);
  return vec2u(at / VECTORS, at % VECTORS);
}

fn put_value(value: vec4f, lane: u32, n: u32) {
  if (lane + n * LANES >= PART * VECTORS) { return; }
  let at = whole_at(lane, n);
  values[at.x / 4u * OWN + at.y / 16u][at.x % 4u][at.y % 16u] = value;
}

fn put_whole(whole: Whole, lane: u32) {
  put_value(whole.a, lane, 0u);
  put_value(whole.b, lane, 1u);
  put_value(whole.c, lane, 2u);
  put_value(whole.d, lane, 3u);
}

fn put_weights(one: vec4f, two: vec4f, lane: u32) {
  let u = twos_of(lane);
  let block = &weights[u / 2u];
  (*block)[u % 2u * 2u][fours_of(lane)] = one;
  (*block)[u % 2u * 2u + 1u][fours_of(lane)] = two;
}

// Sums over the others, of a lane's four rows: vectors u, u+16, u+32, u+48.
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

// Of four others, whose weights are the columns.
fn added_four(sums: mat4x4f, block: u32, u: u32, by: mat4x4f) -> mat4x4f {
  let four = &values[block];
  return added(
    added(added(added(sums, (*four)[0][u], by[0]), (*four)[1][u], by[1]), (*four)[2][u], by[2]), (*four)[3][u], by[3],
  );
}

// Whether vector n of those of a lane is one.
fn has_vector(lane: u32, n: u32) -> bool {
  return twos_of(lane) + 16u * n < VECTORS;
}

// Adds the products of the others first .. first + count - 1, a multiple of four later than they began, with what is
// staged of them, in order. Fours are added whole: what is past the count has weight 0.
fn add_products(sums: ptr<function, Sums>, lane: u32, first: u32, count: u32) {
  let t = fours_of(lane);
  let u = twos_of(lane);
  if (!has_vector(lane, 0u)) { return; }
  let last = has_vector(lane, OWN - 1u);
  for (var n = 0u; n < (count + 3u) / 4u; n++) {
    let block = &weights[first / 4u + n];
    let by = mat4x4f((*block)[0][t], (*block)[1][t], (*block)[2][t], (*block)[3][t]);
    (*sums).a = added_four((*sums).a, n * OWN, u, by);
    if (OWN > 2u || (OWN == 2u && last)) { (*sums).b = added_four((*sums).b, n * OWN + 1u, u, by); }
    if (OWN > 3u || (OWN == 3u && last)) { (*sums).c = added_four((*sums).c, n * OWN + 2u, u, by); }
    if (OWN > 3u && last) { (*sums).d = added_four((*sums).d, n * OWN + 3u, u, by); }
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
