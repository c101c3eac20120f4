// linear_few_matrix: linear layers of few rows on the matrix units of a GPU, where reading the weights is the cost. Up
// to three layers of one input in one dispatch.
//   y[m,n] = (sum_k a[m,k] round(w[n,k] 2^t)) 2^-(s[m] + t) + bias[n] + scale sum_r low[m,r] b[n,r] + residual[m,n]
//   GATED: y = silu(g) u of the two layers g and u
// Shapes    a, s: halves.wgsl of x [M,K]; w [N,K] in FORMAT, t i32 [1] of weight_shift.wgsl; y f32 [M,N]. low: the sums
//           of lora_shrink.wgsl's parts; b [N, rank]. K a multiple of 4, of 8 when w is packed. See lib/few_layers.wgsl
// Dispatch  a workgroup of ROW_PARTS x COLUMN_PARTS subgroups makes RUN ROW_PARTS matrices of rows x COLUMN_PARTS of
//           columns of one layer (GATED: half of them each of both): (tiles of all layers' columns, tiles of rows, 1)
// Numerics  the sum over k is linear_matrix.wgsl's: the same matrices, one after the other, in one chain from zero. The
//           rest is f32 in the order of linear_output.wgsl. So decoding has the bits of training
// Why       narrow tiles make enough workgroups without splitting k; a deep slab keeps enough loads in flight
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
import package::lib::f16_range::{power, shifted};
import package::lib::few_layers::{
  a, a_shift, b_value, columns_of, first_rank_of, load_weight, low_value, params, rank_of, scale_of_adapter,
  shift_of_weight, store, with_bias,
};
import package::lib::matrix_units::{Left, Raw, Result, Right, scaled_halves, SUBGROUP, UNIT, UNIT_BLOCKS};
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

override RUN: u32;           // matrices of rows that a subgroup makes: 1 or 2
override ROW_PARTS: u32;
override COLUMN_PARTS: u32;  // GATED: an even number

override ROWS = RUN * ROW_PARTS * UNIT;
override COLUMNS = COLUMN_PARTS * UNIT;
override LANES = ROW_PARTS * COLUMN_PARTS * SUBGROUP;
@if(UNIT8) const SLAB = 64u;  // terms
@else const SLAB = 128u;
const BLOCKS = SLAB / 8u;
const LINE = BLOCKS + 1u;     // a block to spare spreads the lines over the banks
override A_SLAB = ROWS * LINE;
override SLABS = (ROWS + COLUMNS) * LINE;
override A_LOADS = ROWS * BLOCKS / LANES;  // blocks of eight values that a lane stages: up to 8
override B_LOADS = COLUMNS * BLOCKS / LANES;
override OUT_LINE = COLUMNS / 4u + 1u;     // quads, of a row of sums, which take the slabs' place
override QUADS = ROWS * COLUMNS / 4u / LANES;  // four outputs of a row each, that a lane finishes: 1, 2 or 4
override COLUMN_QUADS = COLUMNS / 4u;
const CHUNK = 16u;            // ranks that are staged at a time
override LOWS = ROWS * (CHUNK + 1u);
override B_QUADS = CHUNK * COLUMN_QUADS;

var<workgroup> memory: array<vec4u, SLABS>;  // [rows][terms] of a, then [columns][terms] of w
@if(ADAPTER) var<workgroup> low_slab: array<f32, LOWS>;       // [rows][ranks]
@if(ADAPTER) var<workgroup> b_slab: array<vec4f, B_QUADS>;    // [ranks][columns]

struct Staged {
  a0: vec4u, a1: vec4u, a2: vec4u, a3: vec4u, a4: vec4u, a5: vec4u, a6: vec4u, a7: vec4u,
  b0: Raw, b1: Raw, b2: Raw, b3: Raw, b4: Raw, b5: Raw, b6: Raw, b7: Raw,
}

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
fn load_a(part: Part, first: u32, i: u32) -> vec4u {
  let row = min(part.row + i / BLOCKS, params.rows - 1u);
  return a[row * (params.pitch / 8u) + min(first / 8u + i % BLOCKS, params.pitch / 8u - 1u)];
}

fn load_b(part: Part, first: u32, i: u32) -> Raw {
  let line = i / BLOCKS;
  return load_weight(layer_of(part, line), column_of(part, line), first / 8u + i % BLOCKS);
}

fn load(part: Part, first: u32, lane: u32) -> Staged {
  var staged: Staged;
  staged.b0 = load_b(part, first, lane);
  if (B_LOADS > 1u) { staged.b1 = load_b(part, first, lane + LANES); }
  if (B_LOADS > 2u) { staged.b2 = load_b(part, first, lane + 2u * LANES); }
  if (B_LOADS > 3u) { staged.b3 = load_b(part, first, lane + 3u * LANES); }
  if (B_LOADS > 4u) { staged.b4 = load_b(part, first, lane + 4u * LANES); }
  if (B_LOADS > 5u) { staged.b5 = load_b(part, first, lane + 5u * LANES); }
  if (B_LOADS > 6u) { staged.b6 = load_b(part, first, lane + 6u * LANES); }
  if (B_LOADS > 7u) { staged.b7 = load_b(part, first, lane + 7u * LANES); }
  staged.a0 = load_a(part, first, lane);
  if (A_LOADS > 1u) { staged.a1 = load_a(part, first, lane + LANES); }
  if (A_LOADS > 2u) { staged.a2 = load_a(part, first, lane + 2u * LANES); }
  if (A_LOADS > 3u) { staged.a3 = load_a(part, first, lane + 3u * LANES); }
  if (A_LOADS > 4u) { staged.a4 = load_a(part, first, lane + 4u * LANES); }
  if (A_LOADS > 5u) { staged.a5 = load_a(part, first, lane + 5u * LANES); }
  if (A_LOADS > 6u) { staged.a6 = load_a(part, first, lane + 6u * LANES); }
  if (A_LOADS > 7u) { staged.a7 = load_a(part, first, lane + 7u * LANES); }
  return staged;
}

fn stage_a(i: u32, block: vec4u) { memory[i / BLOCKS * LINE + i % BLOCKS] = block; }

fn stage_b(part: Part, i: u32, raw: Raw) {
  let line = i / BLOCKS;
  let scale = power(shift_of_weight(layer_of(part, line)));
  memory[A_SLAB + line * LINE + i % BLOCKS] = scaled_halves(raw, scale);
}

fn stage(part: Part, lane: u32, staged: Staged) {
  stage_a(lane, staged.a0);
  if (A_LOADS > 1u) { stage_a(lane + LANES, staged.a1); }
  if (A_LOADS > 2u) { stage_a(lane + 2u * LANES, staged.a2); }
  if (A_LOADS > 3u) { stage_a(lane + 3u * LANES, staged.a3); }
  if (A_LOADS > 4u) { stage_a(lane + 4u * LANES, staged.a4); }
  if (A_LOADS > 5u) { stage_a(lane + 5u * LANES, staged.a5); }
  if (A_LOADS > 6u) { stage_a(lane + 6u * LANES, staged.a6); }
  if (A_LOADS > 7u) { stage_a(lane + 7u * LANES, staged.a7); }
  stage_b(part, lane, staged.b0);
  if (B_LOADS > 1u) { stage_b(part, lane + LANES, staged.b1); }
  if (B_LOADS > 2u) { stage_b(part, lane + 2u * LANES, staged.b2); }
  if (B_LOADS > 3u) { stage_b(part, lane + 3u * LANES, staged.b3); }
  if (B_LOADS > 4u) { stage_b(part, lane + 4u * LANES, staged.b4); }
  if (B_LOADS > 5u) { stage_b(part, lane + 5u * LANES, staged.b5); }
  if (B_LOADS > 6u) { stage_b(part, lane + 6u * LANES, staged.b6); }
  if (B_LOADS > 7u) { stage_b(part, lane + 7u * LANES, staged.b7); }
}

// Products of the staged terms, `count` of them, onto the subgroup's sums.
fn multiply(sums: ptr<function, Sums>, count: u32, a_at: u32, b_at: u32) {
  for (var k = 0u; k < count; k += UNIT) {
    let right = subgroupMatrixLoad<Right, col_major>(&memory, b_at + k / 8u, LINE);
    let left = subgroupMatrixLoad<Left, row_major>(&memory, a_at + k / 8u, LINE);
    (*sums)[0] = subgroupMatrixMultiplyAccumulate(left, right, (*sums)[0]);
    if (RUN > 1u) {
      let below = subgroupMatrixLoad<Left, row_major>(&memory, a_at + UNIT * LINE + k / 8u, LINE);
      (*sums)[1] = subgroupMatrixMultiplyAccumulate(below, right, (*sums)[1]);
    }
  }
}

alias Sums = array<Result, 2>;

// The sums over k of the workgroup's tile, left in `memory`, row by row.
fn make_sums(part: Part, lane: u32, subgroup: u32) {
  let top = subgroup / COLUMN_PARTS * RUN * UNIT;
  let left = subgroup % COLUMN_PARTS * UNIT;
  var sums = Sums();
  var staged = load(part, 0u, lane);
  for (var first = 0u; first < params.pitch; first += SLAB) {
    stage(part, lane, staged);
    workgroupBarrier();
    let next = first + SLAB;
    if (next < params.pitch) {
      staged = load(part, next, lane);
      multiply(&sums, SLAB, top * LINE, A_SLAB + left * LINE);
    } else {
      multiply(&sums, params.pitch - first, top * LINE, A_SLAB + left * LINE);
    }
    workgroupBarrier();
  }
  let at = top * OUT_LINE + left / 4u;
  subgroupMatrixStore<row_major>(&memory, at, sums[0], OUT_LINE);
  if (RUN > 1u) { subgroupMatrixStore<row_major>(&memory, at + UNIT * OUT_LINE, sums[1], OUT_LINE); }
  workgroupBarrier();
}

// What adapters add to a lane's quads, before the scale.
struct Added { q0: vec4f, q1: vec4f, q2: vec4f, q3: vec4f }

fn row_of(quad: u32) -> u32 { return quad / COLUMN_QUADS; }
fn line_of(quad: u32) -> u32 { return quad % COLUMN_QUADS * 4u; }

@if(ADAPTER)
fn stage_ranks(part: Part, layer: u32, first: u32, lane: u32) {
  let last = rank_of(layer) - 1u;
  for (var i = lane; i < ROWS * CHUNK; i += LANES) {
    let m = min(part.row + i / CHUNK, params.rows - 1u);
    let r = min(first + i % CHUNK, last);
    low_slab[i / CHUNK * (CHUNK + 1u) + i % CHUNK] = low_value(m, first_rank_of(layer) + r);
  }
  for (var i = lane; i < B_QUADS; i += LANES) {
    let r = min(first + i / COLUMN_QUADS, last);
    let n = min(
      vec4u(column_of(part, line_of(i))) + vec4u(0u, 1u, 2u, 3u),
      vec4u(columns_of(layer) - 1u),
    );
    b_slab[i] = vec4f(b_value(layer, n.x, r), b_value(layer, n.y, r), b_value(layer, n.z, r), b_value(layer, n.w, r));
  }
}

@if(ADAPTER)
fn with_ranks(part: Part, layer: u32, quad: u32, count: u32, start: vec4f) -> vec4f {
  var sum = start;
  if (layer_of(part, line_of(quad)) != layer) { return sum; }
  for (var r = 0u; r < count; r++) {
    let low = low_slab[row_of(quad) * (CHUNK + 1u) + r];
    sum = fma(vec4f(low), b_slab[r * COLUMN_QUADS + quad % COLUMN_QUADS], sum);
  }
  return sum;
}

// The ranks of a layer, in order.
@if(ADAPTER)
fn add_layer(part: Part, layer: u32, lane: u32, added: ptr<function, Added>) {
  let rank = rank_of(layer);
  for (var first = 0u; first < rank; first += CHUNK) {
    stage_ranks(part, layer, first, lane);
    workgroupBarrier();
    let count = min(CHUNK, rank - first);
    (*added).q0 = with_ranks(part, layer, lane, count, (*added).q0);
    if (QUADS > 1u) { (*added).q1 = with_ranks(part, layer, lane + LANES, count, (*added).q1); }
    if (QUADS > 2u) {
      (*added).q2 = with_ranks(part, layer, lane + 2u * LANES, count, (*added).q2);
      (*added).q3 = with_ranks(part, layer, lane + 3u * LANES, count, (*added).q3);
    }
    workgroupBarrier();
  }
}

// A quad's outputs, but for a residual.
fn outputs(part: Part, quad: u32, added: vec4f) -> vec4f {
  let layer = layer_of(part, line_of(quad));
  let n = min(
    vec4u(column_of(part, line_of(quad))) + vec4u(0u, 1u, 2u, 3u),
    vec4u(columns_of(layer) - 1u),
  );
  let sums = bitcast<vec4f>(memory[row_of(quad) * OUT_LINE + quad % COLUMN_QUADS]);
  let e = -(a_shift[min(part.row + row_of(quad), params.rows - 1u)] + shift_of_weight(layer));
  var made = vec4f(shifted(sums.x, e), shifted(sums.y, e), shifted(sums.z, e), shifted(sums.w, e));
  @if(BIAS || BIAS2 || BIAS3) {
    made = vec4f(
      with_bias(layer, n.x, made.x),
      with_bias(layer, n.y, made.y),
      with_bias(layer, n.z, made.z),
      with_bias(layer, n.w, made.w),
    );
  }
  @if(ADAPTER) { if (rank_of(layer) > 0u) { made = fma(vec4f(scale_of_adapter(layer)), added, made); } }
  return made;
}

fn store_one(part: Part, m: u32, n: u32, value: f32) {
  if (m < params.rows && n < columns_of(part.layer)) { store(part.layer, m, n, value); }
}

fn store_quad(part: Part, quad: u32, values: vec4f) {
  let m = part.row + row_of(quad);
  let n = part.column + line_of(quad);
  store_one(part, m, n, values.x);
  store_one(part, m, n + 1u, values.y);
  store_one(part, m, n + 2u, values.z);
  store_one(part, m, n + 3u, values.w);
}

@if(GATED)
fn finish(part: Part, quad: u32, added: vec4f) {
  memory[row_of(quad) * OUT_LINE + quad % COLUMN_QUADS] = bitcast<vec4u>(outputs(part, quad, added));
}
@else
fn finish(part: Part, quad: u32, added: vec4f) { store_quad(part, quad, outputs(part, quad, added)); }

// silu(g) u, of the gates in the left half of the tile and the ups in the right one.
@if(GATED)
fn store_gated(part: Part, lane: u32) {
  workgroupBarrier();
  for (var quad = lane; quad < ROWS * COLUMN_QUADS; quad += LANES) {
    if (quad % COLUMN_QUADS >= COLUMN_QUADS / 2u) { continue; }
    let at = row_of(quad) * OUT_LINE + quad % COLUMN_QUADS;
    let g = bitcast<vec4f>(memory[at]);
    let u = bitcast<vec4f>(memory[at + COLUMN_QUADS / 2u]);
    store_quad(part, quad, g / (1.0 + exp(-g)) * u);
  }
}

// The part of workgroup (x, y): the tiles of the first layer's columns come first.
@if(GATED)
fn part_of(group: vec3u) -> Part { return Part(group.y * ROWS, 0u, group.x * (COLUMNS / 2u)); }
@else
fn part_of(group: vec3u) -> Part {
  var tile = group.x;
  @if(SECOND) {
    let tiles = (params.columns + COLUMNS - 1u) / COLUMNS;
    if (tile >= tiles) {
      tile -= tiles;
      @if(THIRD) {
        let tiles2 = (params.columns2 + COLUMNS - 1u) / COLUMNS;
        if (tile >= tiles2) { return Part(group.y * ROWS, 2u, (tile - tiles2) * COLUMNS); }
      }
      return Part(group.y * ROWS, 1u, tile * COLUMNS);
    }
  }
  return Part(group.y * ROWS, 0u, tile * COLUMNS);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let part = part_of(group);
  make_sums(part, lane, subgroup);
  var added = Added();
  @if(ADAPTER) { add_layer(part, part.layer, lane, &added); }
  @if(ADAPTER && GATED) { add_layer(part, 1u, lane, &added); }
  finish(part, lane, added.q0);
  if (QUADS > 1u) { finish(part, lane + LANES, added.q1); }
  if (QUADS > 2u) {
    finish(part, lane + 2u * LANES, added.q2);
    finish(part, lane + 3u * LANES, added.q3);
  }
  @if(GATED) { store_gated(part, lane); }
}
