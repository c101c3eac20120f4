// rope: the rotation of heads by their rows' positions. A lane takes four heads of a row, and of each two pairs
//   (c, c + D/2) as vec2f: a of the first half, b of the second. quarter = D/4, the vec2f of half a head
//   Where only the first R of D values turn, in pairs (c, c + R/2), the tables are for those: part = R/4, the vec2f of
//   half of them. Lanes past it take pairs of the rest, by an angle of 0
@group(0) @binding(4) var<storage, read> positions: array<i32>;
@group(0) @binding(5) var<storage, read> cosines: array<vec2f>;
@group(0) @binding(6) var<storage, read> sines: array<vec2f>;

const HEADS_PER_LANE = 4u;  // src/ops/attention/rope.ts

// Units of four heads of a row.
fn units_of(heads: u32) -> u32 {
  return (heads + HEADS_PER_LANE - 1u) / HEADS_PER_LANE;
}

// What a lane takes: pairs c of a unit's heads.
struct Share {
  row: u32,
  unit: u32,
  c: u32,
}

// @param units  of a row
fn share_of(lane: u32, units: u32, quarter: u32) -> Share {
  let all_units = lane / quarter;
  let row = all_units / units;
  return Share(row, all_units - row * units, lane - all_units * quarter);
}

// Two pairs of a head, in vec2f from its begin, and their angles.
struct Turn {
  a: u32,
  b: u32,
  cosine: vec2f,
  sine: vec2f,
}

// @param last_position  of the tables: past their end, that is taken
fn turn_of(share: Share, quarter: u32, part: u32, last_position: u32) -> Turn {
  if (share.c >= part) {
    let a = part + share.c;
    return Turn(a, a + quarter - part, vec2f(1.0), vec2f(0.0));
  }
  let angle = min(u32(positions[share.row]), last_position) * part + share.c;
  return Turn(share.c, share.c + part, cosines[angle], sines[angle]);
}

// a and b, turned. Which product is rounded first is said, so that compilers do not choose, for each kernel anew.
fn turned(a: vec2f, b: vec2f, cosine: vec2f, sine: vec2f) -> mat2x2f {
  return mat2x2f(fma(a, cosine, -(b * sine)), fma(b, cosine, a * sine));
}
