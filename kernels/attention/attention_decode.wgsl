// attention_decode: attention of one new token per row over its prompt and its own completion so far, for CPUs.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t],   p[t] = exp(scale q[r,h].k[t]) / 2^M
//   t = max(0, positions[r] + 1 - window) .. positions[r], in the blocks of row r;   g = h / (H/G), the key head
//   o[r] = 0 when table[r,0] is negative.   SOFTCAP: softcap tanh(scale q.k / softcap) for scale q.k
// Shapes    q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions i32 [R]; out o f32
//           [R,H*D]; D = 4*VECTORS <= 256, B = 2^block_shift
// Dispatch  a workgroup per row, key head and HEADS of its query heads: R*G*ceil(H/G/HEADS), folded to 2-D past 65535.
//           Lengths and blocks are read on the GPU, so that a recorded plan can replay this while they change
// Numerics  f32, in the order of training's attention (lib/softmax_powers.wgsl): the same bits
// Why       no staging, since on a CPU a barrier costs as much as ten loads; a lane for each key, then each column
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::attention_decode::{VECTORS, k_pool, params, q, seen_tokens, splits_of, tokens_of_split};
import package::lib::attention_decode::{unknown_zero, v_pool};
import package::lib::decode_heads::{HEADS, Heads, LANES, Share, bases, bounded, head_of, load_bases, make_weights};
import package::lib::decode_heads::{powers, queries, query_base, share_of, total, weights, wholes};
import package::lib::grid::{Fold, group_number};
import package::lib::softmax_powers::LEAST;
import package::lib::weight::{FORMAT, quad_of, value_of, values4};

@group(0) @binding(6) var<storage, read_write> o: array<f32>;

fn value_at(i: u32) -> f32 { return value_of(v_pool[select(i / 2u, i, FORMAT == 0u)], i, FORMAT); }

fn load_queries(share: Share, lane: u32) {
  for (var x = lane; x < HEADS * VECTORS; x += LANES) {
    queries[x] = q[query_base(share, x / VECTORS) + x % VECTORS] * params.scale;
  }
}

// Scores of all tokens of a split, into `weights`. @return the largest `whole` of those that the lane made
fn make_scores(count: u32, lane: u32) -> Heads {
  var most = Heads(LEAST);
  for (var t = lane; t < count; t += LANES) {
    var dots: array<vec4f, HEADS>;
    for (var h = 0u; h < HEADS; h++) { dots[h] = vec4f(unknown_zero()); }
    for (var c = 0u; c < VECTORS; c++) {
      let key = values4(k_pool[quad_of(bases[t] + c)], bases[t] + c);
      for (var h = 0u; h < HEADS; h++) { dots[h] = fma(queries[h * VECTORS + c], key, dots[h]); }
    }
    @if(GROUPED) let score = bounded(vec4f(total(dots[0]), total(dots[1]), total(dots[2]), total(dots[3])));
    @else let score = bounded(total(dots[0]));
    weights[t] = score;
    most = max(most, wholes(score));
  }
  return most;
}

// One column of the sum of values, and the sum of weights.
struct Sums {
  value: Heads,
  weight: Heads,
}

fn add_values(count: u32, column: u32) -> Sums {
  var sums = Sums();
  for (var t = 0u; t < count; t++) {
    sums.value = fma(Heads(value_at(4u * bases[t] + column)), weights[t], sums.value);
    sums.weight += weights[t];
  }
  return sums;
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let share = share_of(group_number(fold));
  if (share.split > 0u) { return; }
  let width = VECTORS * 4u;
  let seen = seen_tokens(share.row);
  let splits = splits_of(seen);
  let first_base = (share.row * params.heads + share.first_head) * width;
  if (splits == 0u) {
    for (var x = lane; x < share.heads * width; x += LANES) { o[first_base + x] = 0.0; }
    return;
  }
  load_queries(share, lane);
  var all_most = Heads();
  var all_weight = Heads();
  for (var s = 0u; s < splits; s++) {
    let tokens = tokens_of_split(seen, s);
    let count = tokens.y - tokens.x;
    workgroupBarrier();
    load_bases(share, tokens, lane);
    workgroupBarrier();
    let most = make_weights(count, lane, make_scores(count, lane));
    // What ended before lies in o, to 2^all_most.
    let risen = select(max(all_most, most), most, s == 0u);
    let keep = powers(all_most - risen);
    let new_keep = powers(most - risen);
    var weight = Heads();
    for (var column = lane; column < width; column += LANES) {
      let sums = add_values(count, column);
      weight = fma(sums.weight, new_keep, select(all_weight * keep, Heads(), s == 0u));
      for (var h = 0u; h < share.heads; h++) {
        let at = first_base + h * width + column;
        var x = head_of(sums.value, h) * head_of(new_keep, h);
        if (s > 0u) { x = fma(o[at], head_of(keep, h), x); }
        o[at] = select(x, x / head_of(weight, h), s + 1u == splits);
      }
    }
    all_most = risen;
    all_weight = weight;
  }
}
