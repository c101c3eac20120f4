// entropy_bonus: takes a weighted sum of the tokens' entropies from each completion's loss.
//   out[b] = losses[b] - e[b] * sum_t mask[t] H[t]
// Shapes    losses, bonus_weights (e), out f32 [B]; entropy, token_mask f32 [M], completions end to end; offsets i32
//           [B+1]: tokens of completion b are offsets[b] .. offsets[b+1]-1. Without TOKEN_MASK every token counts
// Dispatch  one workgroup per completion: (B,1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums from the completion's first token, then a tree in fixed order
// Twin      src/ops/loss/entropy_bonus.ts#entropyBonusF64     Gradient: entropy_bonus_grad.wgsl
import package::lib::grid::{Fold, WG, group_number};
import package::lib::reduce::workgroup_sum;

@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read> entropy: array<f32>;
@group(0) @binding(2) var<storage, read> bonus_weights: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@if(TOKEN_MASK) @group(0) @binding(4) var<storage, read> token_mask: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

struct Params { completions: u32 }
@group(0) @binding(6) var<uniform> params: Params;

fn masked(i: u32) -> f32 {
  @if(TOKEN_MASK) return entropy[i] * token_mask[i];
  @else return entropy[i];
}

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let b = group_number(fold);
  if (b >= params.completions) { return; }
  var sum = 0.0;
  for (var i = u32(offsets[b]) + lane; i < u32(offsets[b + 1u]); i += WG) { sum += masked(i); }
  let all = workgroup_sum(lane, sum);
  if (lane == 0u) { out[b] = losses[b] - bonus_weights[b] * all; }
}
