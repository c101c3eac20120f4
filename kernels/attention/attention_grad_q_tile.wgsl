// attention_grad_q_tile: attention_grad_q in tiles of 64 queries of a head, for GPUs. The same sums, the same bits.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h])
//   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h]);   stats = (lse, delta);   SOFTCAP as in attention_grad_q.wgsl
//   g = h / (H/G);   j: under PREFIX the rows of prefix_k and prefix_v in ranges[i], then bounds[i].x .. i; of all
//   these the last `window`
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds, ranges i32 [N,2]; prefix_k, prefix_v f32 [P,G*D]; stats f32
//           [N,H,2]; out dq f32 [N,H*D]; D = 4*VECTORS
// Dispatch  a workgroup of 256 lanes makes 64 rows of a head: ceil(N/64)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order; a key that a row must not see gets weight 0
// Cost      lib/attention_slabs.wgsl: 38.4 KB of workgroup memory at the most, 30.2 KB where there are 32
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention_packed::{bounds_of, k, own_keys, params, q, sharing, v};
@if(PREFIX) import package::lib::attention_packed::{prefix_k, prefix_keys, prefix_v};
import package::lib::attention_slabs::{
  add_products, add_slab, Dots, fours_of, has_vector, Held, held_either, held_other, held_row, held_vector, in_head,
  LANES, OTHERS, OWN, PART, put_slab, put_weights, put_whole, ROWS, SLAB, sum_at, Sums, twos_of, vector_of, VECTORS,
  Whole, whole_at,
};
import package::lib::attention_tile::totals;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped_four, slope_four};

@group(0) @binding(8) var<storage, read> stats: array<vec2f>;
@group(0) @binding(9) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> dq: array<vec4f>;

// A run of keys, own or shared.
struct Run {
  is_prefix: bool,
  begin: u32,
  end: u32,
}

fn key_vector(run: Run, at: u32) -> vec4f {
  @if(PREFIX) { if (run.is_prefix) { return prefix_k[at]; } }
  return k[at];
}

fn value_vector(run: Run, at: u32) -> vec4f {
  @if(PREFIX) { if (run.is_prefix) { return prefix_v[at]; } }
  return v[at];
}

// Where the vectors of a head begin in a row of the tile; past the last row: the last again.
fn row_base(first: u32, row: u32, head: u32) -> u32 {
  return (min(first + row, params.rows - 1u) * params.heads + head) * VECTORS;
}

fn key_base(run: Run, j: u32, head: u32) -> u32 {
  return (min(j, run.end - 1u) * params.kv_heads + head / sharing()) * VECTORS;
}

fn queries_and_keys(run: Run, first: u32, j: u32, head: u32, lane: u32, c: u32) -> Held {
  let row = held_row(lane);
  let either = held_either(lane);
  let other = held_other(lane);
  let from_head = min(c + held_vector(lane), VECTORS - 1u);
  return Held(
    q[row_base(first, row, head) + from_head],
    q[row_base(first, either, head) + from_head],
    in_head(key_vector(run, key_base(run, j + other, head) + from_head), c + held_vector(lane)),
  );
}

fn upstreams_and_values(run: Run, first: u32, j: u32, head: u32, lane: u32, c: u32) -> Held {
  let row = held_row(lane);
  let either = held_either(lane);
  let other = held_other(lane);
  let from_head = min(c + held_vector(lane), VECTORS - 1u);
  return Held(
    d_o[row_base(first, row, head) + from_head],
    d_o[row_base(first, either, head) + from_head],
    in_head(value_vector(run, key_base(run, j + other, head) + from_head), c + held_vector(lane)),
  );
}

fn whole_key(run: Run, j: u32, head: u32, at: vec2u) -> vec4f {
  return key_vector(run, key_base(run, j + at.x, head) + at.y);
}

fn whole_keys(run: Run, j: u32, head: u32, lane: u32) -> Whole {
  return Whole(
    whole_key(run, j, head, whole_at(lane, 0u)),
    whole_key(run, j, head, whole_at(lane, 1u)),
    whole_key(run, j, head, whole_at(lane, 2u)),
    whole_key(run, j, head, whole_at(lane, 3u)),
  );
}

// The keys of a run that a row sees, from .. to (excluded).
fn seen_by(run: Run, row: u32) -> vec2u {
  if (row >= params.rows) { return vec2u(); }
  @if(PREFIX) { if (run.is_prefix) { return prefix_keys(row); } }
  return own_keys(row);
}

// All keys of a kind that rows of the tile see.
fn run_of(is_prefix: bool, first: u32, last: u32) -> Run {
  var run = Run(is_prefix, 0xffffffffu, 0u);
  var row = first;
  while (row <= last) {
    let seen = seen_by(run, row);
    if (seen.x < seen.y) { run = Run(is_prefix, min(run.begin, seen.x), max(run.end, seen.y)); }
    row = bounds_of(row).y;
  }
  if (!is_prefix) { run.end = last + 1u; }
  return run;
}

fn scores_of(dots: mat4x4f) -> vec4f {
  @if(SOFTCAP) return capped_four(params.scale * totals(dots), params.softcap);
  @else return params.scale * totals(dots);
}

fn ds_of(scores: vec4f, pulls: mat4x4f, lse: vec4f, delta: vec4f, seen: vec4<bool>) -> vec4f {
  @if(SOFTCAP) let factor = params.scale * slope_four(scores, params.softcap);
  @else let factor = params.scale;
  let rise = scores - lse;
  let pulled = totals(pulls) - delta;
  return select(vec4f(), factor * exp(min(rise, vec4f(1.0))) * pulled, seen);
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let index = group_number(fold);
  let tiles = (params.rows + ROWS - 1u) / ROWS;
  if (index >= tiles * params.heads) { return; }
  let head = index % params.heads;
  let first = (tiles - 1u - index / params.heads) * ROWS;  // those with most keys begin first
  let last = min(first + ROWS, params.rows) - 1u;

  let row = first + 4u * fours_of(lane);
  let rows_left = min(4u, max(last + 1u, row) - row);
  let stat_a = stats[min(row, last) * params.heads + head];
  let stat_b = stats[min(row + 1u, last) * params.heads + head];
  let stat_c = stats[min(row + 2u, last) * params.heads + head];
  let stat_d = stats[min(row + 3u, last) * params.heads + head];
  let lse = vec4f(stat_a.x, stat_b.x, stat_c.x, stat_d.x);
  let delta = vec4f(stat_a.y, stat_b.y, stat_c.y, stat_d.y);
  var sums: Sums;
  @if(PREFIX) var kind = 0u;
  @else var kind = 1u;
  for (; kind < 2u; kind++) {
    let run = run_of(kind == 0u, first, last);
    let a = seen_by(run, row);
    let b = seen_by(run, row + 1u);
    let c = seen_by(run, row + 2u);
    let d = seen_by(run, row + 3u);
    let begin = vec4u(a.x, b.x, c.x, d.x);
    let end = vec4u(a.y, b.y, c.y, d.y);
    for (var j = run.begin; j < run.end; j += OTHERS) {
      var dots = Dots();
      var held = queries_and_keys(run, first, j, head, lane, 0u);
      for (var c = 0u; c < VECTORS; c += SLAB) {
        workgroupBarrier();
        put_slab(held, lane);
        workgroupBarrier();
        if (c + SLAB < VECTORS) { held = queries_and_keys(run, first, j, head, lane, c + SLAB); }
        else { held = upstreams_and_values(run, first, j, head, lane, 0u); }
        add_slab(&dots, lane);
      }
      let one_scores = scores_of(dots.one);
      let two_scores = scores_of(dots.two);
      var pulls = Dots();
      for (var c = 0u; c < VECTORS; c += SLAB) {
        workgroupBarrier();
        put_slab(held, lane);
        workgroupBarrier();
        if (c + SLAB < VECTORS) { held = upstreams_and_values(run, first, j, head, lane, c + SLAB); }
        add_slab(&pulls, lane);
      }
      var whole = whole_keys(run, j, head, lane);
      let key = j + 2u * twos_of(lane);
      let one = ds_of(one_scores, pulls.one, lse, delta, (vec4u(key) >= begin) & (vec4u(key) < end));
      let two = ds_of(two_scores, pulls.two, lse, delta, (vec4u(key + 1u) >= begin) & (vec4u(key + 1u) < end));
      put_weights(one, two, lane);
      let count = min(OTHERS, run.end - j);
      for (var n = 0u; n < count; n += PART) {
        if (n > 0u) { workgroupBarrier(); }
        put_whole(whole, lane);
        workgroupBarrier();
        if (n + PART < count) { whole = whole_keys(run, j + n + PART, head, lane); }
        add_products(&sums, lane, n, min(PART, count - n));
      }
    }
  }
  for (var r = 0u; r < rows_left; r++) {
    for (var n = 0u; n < OWN; n++) {
      if (has_vector(lane, n)) {
        dq[row_base(row, r, head) + vector_of(lane, n)] = sum_at(sums, r, n);
      }
    }
  }
}
