// attention_decode_merge: adds what attention_decode.wgsl made of a row's splits.
//   o[r,h] = sum_s 2^(M[s] - M) partial[r,h,s] / sum_s 2^(M[s] - M) w[s],   M = max_s M[s],   s ascending
//   o[r] = 0 when table[r,0] is negative
// Shapes    partial f32 [R,H,splits,D+4]: D = 4*VECTORS sums, then (M, w); table i32 [R,C]; positions i32 [R]; out o f32
//           [R,H*D]
// Dispatch  a workgroup per row: R, folded to 2-D past 65535; splits that the row has not reached are not read
// Numerics  f32; scaling by a power of two rounds nothing: bits of training's attention (lib/softmax_powers.wgsl)
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::attention_decode::{VECTORS, params, positions, seen_tokens, splits_of};
import package::lib::blocks::table;
import package::lib::grid::{Fold, WG, group_number};
import package::lib::softmax_powers::power;

@group(0) @binding(6) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(7) var<storage, read> partial: array<vec4f>;

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let row = group_number(fold);
  if (row >= params.rows) { return; }
  let splits = splits_of(seen_tokens(row));
  for (var x = lane; x < params.heads * VECTORS; x += WG) {
    let slot = row * params.heads + x / VECTORS;
    let first = slot * params.splits * (VECTORS + 1u);
    var most = 0.0;
    for (var s = 0u; s < splits; s++) {
      let split_most = partial[first + s * (VECTORS + 1u) + VECTORS].x;
      most = select(max(most, split_most), split_most, s == 0u);
    }
    var sum = vec4f();
    var weight = 0.0;
    for (var s = 0u; s < splits; s++) {
      let base = first + s * (VECTORS + 1u);
      let kept = partial[base + VECTORS];
      let keep = power(kept.x - most);
      sum = fma(partial[base + x % VECTORS], vec4f(keep), sum);
      weight = fma(kept.y, keep, weight);
    }
    o[row * params.heads * VECTORS + x] = select(sum / weight, vec4f(), splits == 0u);
  }
}
