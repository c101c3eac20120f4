// lora_shrink_tile: a tile of lora_shrink, 16 RUN rows x 16 ranks of one part, by 256 lanes that share slabs of both
// operands in workgroup memory. A lane makes RUN rows of one rank.
import package::lib::lora_shrink::{a_value, params, PART, store_part, x};

override RUN: u32;    // 1 or 4
override DEPTH: u32;  // quads of a slab: 16, 32 or 64
override LINE = DEPTH + 1u;  // a quad to spare spreads the lines over the banks
override ROW_SLAB = 16u * RUN * LINE;
override RANK_SLAB = 16u * LINE;

const LANES = 256u;
const TILE = 16u;

var<workgroup> row_slab: array<vec4f, ROW_SLAB>;    // [rows][k]
var<workgroup> rank_slab: array<vec4f, RANK_SLAB>;  // [ranks][k]

// Four terms of a sum, in order.
fn add_quad(sum: f32, v: vec4f, w: vec4f) -> f32 {
  return fma(v.w, w.w, fma(v.z, w.z, fma(v.y, w.y, fma(v.x, w.x, sum))));
}

// Rows, ranks and k beyond the last repeat it, and are not used.
fn stage(lane: u32, m: u32, r: u32, first: u32, quads: u32) {
  for (var i = lane; i < TILE * RUN * DEPTH; i += LANES) {
    let row = min(m + i / DEPTH, params.rows - 1u);
    row_slab[i / DEPTH * LINE + i % DEPTH] = x[row * quads + min(first + i % DEPTH, quads - 1u)];
  }
  for (var i = lane; i < TILE * DEPTH; i += LANES) {
    // Neighbours take what lies side by side.
    @if(TRANSPOSED) let at = vec2u(i % TILE, i / TILE);
    @else let at = vec2u(i / DEPTH, i % DEPTH);
    let rank = min(r + at.x, params.ranks - 1u);
    rank_slab[at.x * LINE + at.y] = a_value(rank, min(first + at.y, quads - 1u), quads);
  }
}

// All lanes of a workgroup go along.
fn shrink_tile(lane: u32, m: u32, r: u32, part: u32) {
  let quads = params.width / 4u;
  let end = min((part + 1u) * (PART / 4u), quads);
  let rank = lane % TILE;
  let row = lane / TILE;
  var sums = vec4f();
  for (var first = part * (PART / 4u); first < end; first += DEPTH) {
    stage(lane, m, r, first, quads);
    workgroupBarrier();
    let count = min(DEPTH, end - first);
    for (var q = 0u; q < count; q++) {
      let w = rank_slab[rank * LINE + q];
      sums.x = add_quad(sums.x, row_slab[row * LINE + q], w);
      if (RUN > 1u) {
        sums.y = add_quad(sums.y, row_slab[(row + TILE) * LINE + q], w);
        sums.z = add_quad(sums.z, row_slab[(row + 2u * TILE) * LINE + q], w);
        sums.w = add_quad(sums.w, row_slab[(row + 3u * TILE) * LINE + q], w);
      }
    }
    workgroupBarrier();
  }
  store_part(part, m + row, r + rank, sums.x);
  if (RUN > 1u) {
    store_part(part, m + row + TILE, r + rank, sums.y);
    store_part(part, m + row + 2u * TILE, r + rank, sums.z);
    store_part(part, m + row + 3u * TILE, r + rank, sums.w);
  }
}
