// attention_tile: attention in tiles of 64 queries of a head, for GPUs. The same sums, the same bits.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = 2^(s[j] - M),   s[j] = scale q[i,h].k[j,g], in log 2
//   SOFTCAP: s[j] = softcap tanh(scale q[i,h].k[j,g] / softcap) / log 2;   softmax[i,h] = (M, sum_j p[j])
//   g = h / (H/G);   j: under PREFIX the rows of prefix_k and prefix_v in ranges[i], then bounds[i].x .. i; of all
//   these the last `window`
// Shapes    q f32 [N,H*D]; k, v f32 [N,G*D]; bounds, ranges i32 [N,2]; prefix_k, prefix_v f32 [P,G*D]; out o f32
//           [N,H*D], softmax f32 [N,H,2]; D = 4*VECTORS
// Dispatch  a workgroup of 256 lanes makes 64 rows of a head: ceil(N/64)*H workgroups, folded to 2-D
// Numerics  f32, lib/softmax_powers.wgsl: keys in order, in splits of 256 by their place in the sequence. A key that a
//           row must not see gets weight 0. All inputs must be finite
// Cost      lib/attention_slabs.wgsl: 38.7 KB of workgroup memory at most, 30.5 KB where there are 32. The sums of
//           splits that ended lie in o, touched every 256 keys. While a sequence's own keys are visited the tile is its
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
import package::lib::attention_packed::{bounds_of, k, own_keys, params, q, sharing, v};
@if(PREFIX) import package::lib::attention_packed::{prefix_k, prefix_keys, prefix_v, ranges};
import package::lib::attention_slabs::{
  add_products, add_slab, Dots, fours_of, has_vector, Held, held_either, held_other, held_row, held_vector, in_head,
  LANES, OTHERS, OWN, PART, put_slab, put_weights, put_whole, ROWS, scaled_sums, SLAB, sum_at, Sums, twos_of,
  vector_of, VECTORS, weight_block, weights, weights_of, Whole, whole_at,
};
import package::lib::attention_tile::totals;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::capped_four;
import package::lib::softmax_powers::{LAZY, LEAST, part_of_four, power_of_four, SPLIT, whole_of_four};

@group(0) @binding(8) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> softmax: array<vec2f>;

// M of the rows, as words of the same order.
var<workgroup> highest: array<atomic<u32>, 64>;

// f32 as a word: larger is larger.
fn ordered(x: f32) -> u32 {
  let word = bitcast<u32>(x);
  return select(word | 0x80000000u, ~word, word >= 0x80000000u);
}

fn from_ordered(word: u32) -> f32 {
  return bitcast<f32>(select(~word, word & 0x7fffffffu, word >= 0x80000000u));
}

// A run of keys, of a sequence or of what several sequences in a row share: place of key j in them is j - origin.
struct Run {
  is_prefix: bool,
  begin: u32,
  end: u32,
  origin: i32,
  rows: vec2u,  // of the tile, that see them: from .. to (excluded)
  group: u32,   // the row after those with the same prefix
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
    q[row_base(first, row, head) + from_head] * params.scale,
    q[row_base(first, either, head) + from_head] * params.scale,
    in_head(key_vector(run, key_base(run, j + other, head) + from_head), c + held_vector(lane)),
  );
}

fn whole_value(run: Run, j: u32, head: u32, at: vec2u) -> vec4f {
  return value_vector(run, key_base(run, j + at.x, head) + at.y);
}

fn whole_values(run: Run, j: u32, head: u32, lane: u32) -> Whole {
  return Whole(
    whole_value(run, j, head, whole_at(lane, 0u)),
    whole_value(run, j, head, whole_at(lane, 1u)),
    whole_value(run, j, head, whole_at(lane, 2u)),
    whole_value(run, j, head, whole_at(lane, 3u)),
  );
}

// The keys of a run that a row sees, from .. to (excluded).
fn seen_by(run: Run, row: u32) -> vec2u {
  if (row < run.rows.x || row >= run.rows.y) { return vec2u(); }
  @if(PREFIX) { if (run.is_prefix) { return prefix_keys(row); } }
  return own_keys(row);
}

fn own_run(row: u32, last: u32, group: u32) -> Run {
  let bound = bounds_of(row);
  let end = min(bound.y, last + 1u);
  @if(PREFIX) let before = ranges[row].y - ranges[row].x;
  @else let before = 0i;
  return Run(false, own_keys(row).x, end, i32(bound.x) - before, vec2u(row, end), group);
}

// The prefix of a row, and of the sequences after it that have the same.
@if(PREFIX) fn shared_run(row: u32, last: u32) -> Run {
  let range = ranges[row];
  var begin = u32(range.y);
  var group = row;
  while (group <= last && all(ranges[group] == range)) {
    begin = min(begin, prefix_keys(group).x);
    group = bounds_of(group).y;
  }
  let end = min(group, last + 1u);
  return Run(true, begin, u32(range.y), range.x, vec2u(row, end), end);
}

fn first_run(row: u32, last: u32) -> Run {
  @if(PREFIX) return shared_run(row, last);
  @else return own_run(row, last, last + 1u);
}

// Begins past the last row where there is none.
fn run_after(run: Run, last: u32) -> Run {
  let next = select(run.rows.y, run.rows.x, run.is_prefix);
  if (next > last) { return Run(false, 0u, 0u, 0, vec2u(next), next); }
  if (next < run.group) { return own_run(next, last, run.group); }
  return first_run(next, last);
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
  let rows = vec4u(row) + vec4u(0u, 1u, 2u, 3u);

  if (lane < ROWS) { atomicStore(&highest[lane], ordered(LEAST)); }
  var sums: Sums;
  var most = vec4f(LEAST);
  var weight = vec4f();             // sums of weights, in the lanes of the first vectors
  var ended_most = vec4f(LEAST);    // M and sums of weights of the splits whose sums lie in o
  var ended_weight = vec4f();
  for (var run = first_run(first, last); run.rows.x <= last; run = run_after(run, last)) {
    let a = seen_by(run, rows.x);
    let b = seen_by(run, rows.y);
    let c = seen_by(run, rows.z);
    let d = seen_by(run, rows.w);
    let seen_begin = vec4u(a.x, b.x, c.x, d.x);
    let seen_end = vec4u(a.y, b.y, c.y, d.y);
    var j = run.begin;
    while (j < run.end) {
      let place = u32(i32(j) - run.origin);
      if (place % SPLIT == 0u && place > 0u) {
        let ends = (rows >= vec4u(run.rows.x)) & (rows < vec4u(run.rows.y));
        let keep = power_of_four(ended_most - most);
        for (var r = 0u; r < rows_left; r++) {
          for (var n = 0u; n < OWN; n++) {
            if (!ends[r] || !has_vector(lane, n)) { continue; }
            let at = row_base(row, r, head) + vector_of(lane, n);
            let sum = sum_at(sums, r, n);
            if (ended_most[r] == LEAST) { o[at] = sum; }
            else { o[at] = fma(o[at], vec4f(keep[r]), sum); }
          }
        }
        sums = scaled_sums(sums, select(vec4f(1.0), vec4f(), ends));
        ended_weight = select(ended_weight, fma(ended_weight, keep, weight), ends);
        ended_most = select(ended_most, most, ends);
        weight = select(weight, vec4f(), ends);
      }
      let end = min(run.end, j + min(OTHERS, SPLIT - place % SPLIT));
      var dots = Dots();
      var held = queries_and_keys(run, first, j, head, lane, 0u);
      for (var c = 0u; c < VECTORS; c += SLAB) {
        workgroupBarrier();
        put_slab(held, lane);
        workgroupBarrier();
        if (c + SLAB < VECTORS) { held = queries_and_keys(run, first, j, head, lane, c + SLAB); }
        add_slab(&dots, lane);
      }
      var whole = whole_values(run, j, head, lane);
      @if(SOFTCAP) let one = capped_four(totals(dots.one), params.softcap);
      @else let one = totals(dots.one);
      @if(SOFTCAP) let two = capped_four(totals(dots.two), params.softcap);
      @else let two = totals(dots.two);
      let one_whole = whole_of_four(one);
      let two_whole = whole_of_four(two);
      let key = j + 2u * twos_of(lane);
      let one_seen = (vec4u(key) >= seen_begin) & (vec4u(key) < min(seen_end, vec4u(end)));
      let two_seen = (vec4u(key + 1u) >= seen_begin) & (vec4u(key + 1u) < min(seen_end, vec4u(end)));
      let top = max(select(vec4f(LEAST), one_whole, one_seen), select(vec4f(LEAST), two_whole, two_seen));
      let rises = top > most + LAZY;
      if (any(rises)) {
        for (var r = 0u; r < 4u; r++) {
          if (rises[r]) { atomicMax(&highest[4u * fours_of(lane) + r], ordered(top[r])); }
        }
      }
      workgroupBarrier();
      let four = 4u * fours_of(lane);
      let risen = vec4f(
        from_ordered(atomicLoad(&highest[four])),
        from_ordered(atomicLoad(&highest[four + 1u])),
        from_ordered(atomicLoad(&highest[four + 2u])),
        from_ordered(atomicLoad(&highest[four + 3u])),
      );
      let keep = power_of_four(most - risen);
      if (any(risen > most)) {
        sums = scaled_sums(sums, keep);
        weight *= keep;
        most = risen;
      }
      put_weights(
        select(vec4f(), part_of_four(one, one_whole) * power_of_four(one_whole - most), one_seen),
        select(vec4f(), part_of_four(two, two_whole) * power_of_four(two_whole - most), two_seen),
        lane,
      );
      let count = end - j;
      for (var n = 0u; n < count; n += PART) {
        if (n > 0u) { workgroupBarrier(); }
        put_whole(whole, lane);
        workgroupBarrier();
        if (n + PART < count) { whole = whole_values(run, j + n + PART, head, lane); }
        add_products(&sums, lane, n, min(PART, count - n));
      }
      if (twos_of(lane) == 0u) {
        let t = fours_of(lane);
        for (var n = 0u; n < (count + 3u) / 4u; n++) {
          let by = weights_of(n, t);
          weight = weight + by[0] + by[1] + by[2] + by[3];
        }
      }
      j = end;
    }
  }
  let keep = power_of_four(ended_most - most);
  let all = select(fma(ended_weight, keep, weight), weight, ended_most == vec4f(LEAST));
  workgroupBarrier();
  if (twos_of(lane) == 0u) { weights[weight_block(0u, fours_of(lane))][0][fours_of(lane) % 8u] = all; }
  workgroupBarrier();
  let divisor = weights_of(0u, fours_of(lane))[0];
  for (var r = 0u; r < rows_left; r++) {
    if (twos_of(lane) == 0u) { softmax[(row + r) * params.heads + head] = vec2f(most[r], divisor[r]); }
    for (var n = 0u; n < OWN; n++) {
      if (!has_vector(lane, n)) { continue; }
      let at = row_base(row, r, head) + vector_of(lane, n);
      let sum = sum_at(sums, r, n);
      if (ended_most[r] == LEAST) { o[at] = sum / divisor[r]; }
      else { o[at] = fma(o[at], vec4f(keep[r]), sum) / divisor[r]; }
    }
  }
}
