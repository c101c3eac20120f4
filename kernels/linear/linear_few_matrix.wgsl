// linear_few_matrix: linear layers of few rows on the matrix units of a GPU, where reading the weights is the cost. Up
// to three layers of one input in one dispatch.
//   y[m,n] = (sum_k a[m,k] round(w[n,k] 2^t)) 2^-(s[m] + t) + bias[n] + scale sum_r low[m,r] b[n,r] + residual[m,n]
//   GATED: y = silu(g) u of the two layers g and u
// Shapes    a, s: halves.wgsl of x [M,K]; w [N,K] in FORMAT, t i32 [1] of weight_shift.wgsl; y f32 [M,N]. low: the sums
//           of lora_shrink.wgsl's parts; b [N, rank]. K a multiple of 4, of 8 when w is packed. See lib/few_layers.wgsl
// Dispatch  a workgroup of ROW_PARTS x COLUMN_PARTS subgroups makes RUN ROW_PARTS matrices of rows x COLUMN_RUN
//           COLUMN_PARTS of columns of one layer (GATED: half of them each of both): (tiles of all layers' columns,
//           tiles of rows, 1)
// Numerics  the sum over k is linear_matrix.wgsl's: the same matrices, one after the other, in one chain from zero. The
//           rest is f32 in the order of linear_output.wgsl. So decoding has the bits of training
// Why       narrow tiles make enough workgroups without splitting k; a deep slab keeps enough loads in flight. A
//           workgroup that is alone on its core waits for whatever it has not asked for in time: weights are asked for
//           a slab before or two (DEEP), matrices before those at hand are multiplied. Where there are columns enough,
//           a subgroup makes two by two matrices: each that it takes from workgroup memory serves twice
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
import package::lib::f16_range::shifted;
import package::lib::few_layers::{
  a_shift, b_value, columns_of, first_rank_of, low_value, params, rank_of, scale_of_adapter, shift_of_weight, store,
  with_bias,
};
import package::lib::few_slabs::{
  A_SLAB, BLOCKS, COLUMN_PARTS, COLUMN_RUN, column_of, COLUMNS, LANES, layer_of, LINE, load_a, load_b, memory, Part,
  ROWS, RUN, SLAB, stage_a, stage_b, StagedA, StagedB,
};
import package::lib::matrix_units::{Left, Result, Right, UNIT, UNIT_BLOCKS};
import package::lib::weight::FORMAT;
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

override DEEP = COLUMN_RUN == 1u && FORMAT != 0u;  // otherwise sums, or weights of 32 bits, take the registers
override SLABS_AHEAD = select(1u, 2u, DEEP);       // of weights
override OUT_LINE = COLUMNS / 4u + 1u;         // quads, of a row of sums, which take the slabs' place
override QUADS = ROWS * COLUMNS / 4u / LANES;  // four outputs of a row each, that a lane finishes: 1, 2, 4 or 8
override COLUMN_QUADS = COLUMNS / 4u;
const CHUNK = 16u;  // ranks that are staged at a time
override LOWS = ROWS * (CHUNK + 1u);
override B_QUADS = CHUNK * COLUMN_QUADS;

@if(ADAPTER) var<workgroup> low_slab: array<f32, LOWS>;       // [rows][ranks]
@if(ADAPTER) var<workgroup> b_slab: array<vec4f, B_QUADS>;    // [ranks][columns]

alias Lefts = array<Left, 2>;    // one below the other
alias Rights = array<Right, 2>;  // side by side
alias Sums = array<Result, 4>;   // [rows][columns]

// Where a subgroup's matrices begin in `memory`.
struct Places { a: u32, b: u32 }

// A subgroup's matrices of UNIT terms, from block k of the slab on.
fn take(left: ptr<function, Lefts>, right: ptr<function, Rights>, at: Places, k: u32) {
  (*right)[0] = subgroupMatrixLoad<Right, col_major>(&memory, at.b + k, LINE);
  (*left)[0] = subgroupMatrixLoad<Left, row_major>(&memory, at.a + k, LINE);
  if (RUN > 1u) { (*left)[1] = subgroupMatrixLoad<Left, row_major>(&memory, at.a + UNIT * LINE + k, LINE); }
  if (COLUMN_RUN > 1u) { (*right)[1] = subgroupMatrixLoad<Right, col_major>(&memory, at.b + UNIT * LINE + k, LINE); }
}

fn add_products(sums: ptr<function, Sums>, left: ptr<function, Lefts>, right: ptr<function, Rights>) {
  (*sums)[0] = subgroupMatrixMultiplyAccumulate((*left)[0], (*right)[0], (*sums)[0]);
  if (RUN > 1u) { (*sums)[2] = subgroupMatrixMultiplyAccumulate((*left)[1], (*right)[0], (*sums)[2]); }
  if (COLUMN_RUN > 1u) {
    (*sums)[1] = subgroupMatrixMultiplyAccumulate((*left)[0], (*right)[1], (*sums)[1]);
    if (RUN > 1u) { (*sums)[3] = subgroupMatrixMultiplyAccumulate((*left)[1], (*right)[1], (*sums)[3]); }
  }
}

// Products of a whole slab, onto the subgroup's sums: matrices are on their way while those before are multiplied.
fn multiply_slab(sums: ptr<function, Sums>, at: Places) {
  var left: Lefts;
  var right: Rights;
  var next_left: Lefts;
  var next_right: Rights;
  take(&left, &right, at, 0u);
  for (var k = 0u; k < BLOCKS - 2u * UNIT_BLOCKS; k += 2u * UNIT_BLOCKS) {
    take(&next_left, &next_right, at, k + UNIT_BLOCKS);
    add_products(sums, &left, &right);
    take(&left, &right, at, k + 2u * UNIT_BLOCKS);
    add_products(sums, &next_left, &next_right);
  }
  take(&next_left, &next_right, at, BLOCKS - UNIT_BLOCKS);
  add_products(sums, &left, &right);
  add_products(sums, &next_left, &next_right);
}

// Of the first `count` terms of a slab.
fn multiply_some(sums: ptr<function, Sums>, at: Places, count: u32) {
  var left: Lefts;
  var right: Rights;
  for (var k = 0u; k < count / 8u; k += UNIT_BLOCKS) {
    take(&left, &right, at, k);
    add_products(sums, &left, &right);
  }
}

// The products of the slab from term `first` on, whose operands are staged and make room for those of slabs to come.
fn add_slab(
  sums: ptr<function, Sums>,
  part: Part,
  at: Places,
  first: u32,
  lane: u32,
  staged_a: ptr<function, StagedA>,
  staged_b: ptr<function, StagedB>,
) {
  let next = first + SLAB;
  let next_b = first + SLABS_AHEAD * SLAB;
  stage_b(part, lane, *staged_b);
  if (next_b < params.pitch) { *staged_b = load_b(part, next_b, lane); }
  stage_a(lane, *staged_a);
  if (next < params.pitch) { *staged_a = load_a(part, next, lane); }
  workgroupBarrier();
  if (next <= params.pitch) {
    multiply_slab(sums, at);
  } else {
    multiply_some(sums, at, params.pitch - first);
  }
  workgroupBarrier();
}

// The sums over k of the workgroup's tile, left in `memory`, row by row.
fn make_sums(part: Part, lane: u32, subgroup: u32) {
  let top = subgroup / COLUMN_PARTS * RUN * UNIT;
  let left = subgroup % COLUMN_PARTS * COLUMN_RUN * UNIT;
  let places = Places(top * LINE, A_SLAB + left * LINE);
  var sums = Sums();
  var staged_b = load_b(part, 0u, lane);
  var second_b: StagedB;
  if (DEEP) { second_b = load_b(part, SLAB, lane); }
  var staged_a = load_a(part, 0u, lane);
  for (var first = 0u; first < params.pitch; first += SLABS_AHEAD * SLAB) {
    add_slab(&sums, part, places, first, lane, &staged_a, &staged_b);
    if (DEEP && first + SLAB < params.pitch) {
      add_slab(&sums, part, places, first + SLAB, lane, &staged_a, &second_b);
    }
  }
  let at = top * OUT_LINE + left / 4u;
  let below = at + UNIT * OUT_LINE;
  subgroupMatrixStore<row_major>(&memory, at, sums[0], OUT_LINE);
  if (RUN > 1u) { subgroupMatrixStore<row_major>(&memory, below, sums[2], OUT_LINE); }
  if (COLUMN_RUN > 1u) {
    subgroupMatrixStore<row_major>(&memory, at + UNIT / 4u, sums[1], OUT_LINE);
    if (RUN > 1u) { subgroupMatrixStore<row_major>(&memory, below + UNIT / 4u, sums[3], OUT_LINE); }
  }
  workgroupBarrier();
}

// What adapters add to a lane's quads, before the scale.
struct Added { q0: vec4f, q1: vec4f, q2: vec4f, q3: vec4f, q4: vec4f, q5: vec4f, q6: vec4f, q7: vec4f }

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
    if (QUADS > 4u) {
      (*added).q4 = with_ranks(part, layer, lane + 4u * LANES, count, (*added).q4);
      (*added).q5 = with_ranks(part, layer, lane + 5u * LANES, count, (*added).q5);
      (*added).q6 = with_ranks(part, layer, lane + 6u * LANES, count, (*added).q6);
      (*added).q7 = with_ranks(part, layer, lane + 7u * LANES, count, (*added).q7);
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
  if (QUADS > 4u) {
    finish(part, lane + 4u * LANES, added.q4);
    finish(part, lane + 5u * LANES, added.q5);
    finish(part, lane + 6u * LANES, added.q6);
    finish(part, lane + 7u * LANES, added.q7);
  }
  @if(GATED) { store_gated(part, lane); }
}
