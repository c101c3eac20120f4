// entropy_bonus_grad: gradient of entropy_bonus with respect to the entropies.
//   dentropy[t] = -dlosses[b] e[b] mask[t], 0 for the spare tokens behind the last completion
// Shapes    dlosses, bonus_weights (e) f32 [B]; token_mask f32 [M]; offsets i32 [B+1]; out dentropy f32 [M]
// Dispatch  one workgroup per completion and one more, for the spare tokens: (B+1,1,1), folded to 2-D past 65535
// Numerics  f32, element by element
// Twin      src/ops/loss/entropy_bonus.ts#entropyBonusGradF64
import package::lib::grid::{Fold, WG, group_number};

@group(0) @binding(0) var<storage, read> dlosses: array<f32>;
@group(0) @binding(1) var<storage, read> bonus_weights: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@if(TOKEN_MASK) @group(0) @binding(3) var<storage, read> token_mask: array<f32>;
@group(0) @binding(4) var<storage, read_write> dentropy: array<f32>;

struct Params { completions: u32, tokens: u32 }
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let b = group_number(fold);
  if (b > params.completions) { return; }
  let begin = u32(offsets[b]);
  if (b == params.completions) {
    for (var i = begin + lane; i < params.tokens; i += WG) { dentropy[i] = 0.0; }
    return;
  }
  let pull = -dlosses[b] * bonus_weights[b];
  for (var i = begin + lane; i < u32(offsets[b + 1u]); i += WG) {
    @if(TOKEN_MASK) dentropy[i] = pull * token_mask[i];
    @else dentropy[i] = pull;
  }
}
