// attention_slabs: a workgroup's tile of attention: 64 rows of a head (queries; keys where their gradients are made)
//   against 32 others at a time (keys; pairs of a query and a head). Lane l makes the dot products of rows 4t .. 4t+3
//   and others 2u, 2u+1, and then has columns of the same four rows: vectors u, u+16, .. of their sums. t and u of the
//   lanes of a subgroup of 32: 8 and 4, so that what they read at a time is few and lies in different banks.
//   Rows and others come through workgroup memory in slabs of SLAB vectors, which the lanes load while the slab before
//   is multiplied; then PART of the others at a time, whole, for the sums.
//   All that is indexed at run time is workgroup memory: the rest lies in registers
import package::lib::attention_packed::params;

override VECTORS: u32;  // of four columns, of a head: at most 64
override SLAB: u32;     // divides VECTORS: 4 .. 8
override PART: u32;     // divides OTHERS
override ROOM: u32;     // max((ROWS + OTHERS)*LINE, PART*VECTORS), at most 1024
override UNROLLED: bool;  // the compiler is to see how many products a slab makes: a GPU's is quick to use it
override LINE = SLAB | 1u;  // odd: neighbour rows begin in different banks
override OWN = (VECTORS + 15u) / 16u;  // vectors of sums of a lane, in each of its rows

const LANES = 256u;
const ROWS = 64u;
const OTHERS = 32u;

var<workgroup> slab: array<vec4f, ROOM>;
var<workgroup> weights: array<vec4f, 512>;  // [others][rows]

// Which rows and others a lane has: t and u.
fn fours_of(lane: u32) -> u32 { return (lane & 7u) + ((lane >> 5u) & 1u) * 8u; }
fn twos_of(lane: u32) -> u32 { return ((lane >> 3u) & 3u) + (lane >> 6u) * 4u; }

// What a lane stages of a slab: vectors of two rows, and of one of the others.
struct Held {
  a: vec4f,
  b: vec4f,
  other: vec4f,
}

// Which these are: number in the tile, and vector in the slab.
fn held_a(lane: u32) -> vec2u { return vec2u(lane / SLAB, lane % SLAB); }
fn held_b(lane: u32) -> vec2u { return vec2u(min((lane + LANES) / SLAB, ROWS - 1u), (lane + LANES) % SLAB); }
fn held_other(lane: u32) -> vec2u { return vec2u(min(lane / SLAB, OTHERS - 1u), lane % SLAB); }

// Every fourth row lies together: those that neighbour lanes read at a time.
fn line_of(row: u32) -> u32 { return ((row & 3u) * 16u + (row >> 2u)) * LINE; }

fn put_slab(held: Held, lane: u32) {
  slab[line_of(lane / SLAB) + lane % SLAB] = held.a;
  let b = lane + LANES;
  if (b < ROWS * SLAB) { slab[line_of(b / SLAB) + b % SLAB] = held.b; }
  if (lane < OTHERS * SLAB) { slab[(ROWS + lane / SLAB) * LINE + lane % SLAB] = held.other; }
}

// Four partial sums of each dot product: by row, with the one and the other of the lane's two.
struct Dots {
  one: mat4x4f,
  two: mat4x4f,
}

fn add_slab(dots: ptr<function, Dots>, lane: u32) {
  let row = fours_of(lane) * LINE;
  let other = (ROWS + 2u * twos_of(lane)) * LINE;
  let count = select(params.slab, SLAB, UNROLLED);
  for (var c = 0u; c < count; c++) {
    let one = slab[other + c];
    let two = slab[other + LINE + c];
    let a = slab[row + c];
    let b = slab[row + 16u * LINE + c];
    let d = slab[row + 32u * LINE + c];
    let e = slab[row + 48u * LINE + c];
    (*dots).one[0] = fma(a, one, (*dots).one[0]);
    (*dots).one[1] = fma(b, one, (*dots).one[1]);
    (*dots).one[2] = fma(d, one, (*dots).one[2]);
    (*dots).one[3] = fma(e, one, (*dots).one[3]);
    (*dots).two[0] = fma(a, two, (*dots).two[0]);
    (*dots).two[1] = fma(b, two, (*dots).two[1]);
    (*dots).two[2] = fma(d, two, (*dots).two[2]);
    (*dots).two[3] = fma(e, two, (*dots).two[3]);
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

fn put_whole(whole: Whole, lane: u32) {
  const COUNT = 1024u;
  let end = min(COUNT, PART * VECTORS);
  if (lane < end) { slab[lane] = whole.a; }
  if (lane + LANES < end) { slab[lane + LANES] = whole.b; }
  if (lane + 2u * LANES < end) { slab[lane + 2u * LANES] = whole.c; }
  if (lane + 3u * LANES < end) { slab[lane + 3u * LANES] = whole.d; }
}

fn put_weights(one: vec4f, two: vec4f, lane: u32) {
  let at = 2u * twos_of(lane) * 16u + fours_of(lane);
  weights[at] = one;
  weights[at + 16u] = two;
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

// Whether vector n of those of a lane is one.
fn has_vector(lane: u32, n: u32) -> bool {
  return n < OWN && twos_of(lane) + 16u * n < VECTORS;
}

// Adds the products of the others first .. first + count - 1 with what is staged of them, in order.
fn add_products(sums: ptr<function, Sums>, lane: u32, first: u32, count: u32) {
  let fours = fours_of(lane);
  let begin = twos_of(lane);
  if (!has_vector(lane, 0u)) { return; }
  if (OWN == 1u) {
    for (var n = 0u; n < count; n++) {
      (*sums).a = added((*sums).a, slab[n * VECTORS + begin], weights[(first + n) * 16u + fours]);
    }
    return;
  }
  let last = has_vector(lane, OWN - 1u);
  for (var n = 0u; n < count; n++) {
    let weight = weights[(first + n) * 16u + fours];
    let at = n * VECTORS + begin;
    (*sums).a = added((*sums).a, slab[at], weight);
    if (OWN > 2u || last) { (*sums).b = added((*sums).b, slab[at + 16u], weight); }
    if (OWN > 3u || (OWN == 3u && last)) { (*sums).c = added((*sums).c, slab[at + 32u], weight); }
    if (OWN > 3u && last) { (*sums).d = added((*sums).d, slab[at + 48u], weight); }
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
