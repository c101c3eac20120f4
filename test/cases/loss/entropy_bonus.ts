import { entropyBonus, entropyBonusF64, entropyBonusGradF64 } from "../../../src/ops/loss/entropy_bonus.ts";
import { type OpCase, randomInts, uniform } from "../case.ts";

function bonusCase(lengths: number[], spare: number, hasTokenMask: boolean): OpCase {
  const offsets = Int32Array.from([0, ...lengths]);
  for (let b = 1; b < offsets.length; b++) offsets[b] += offsets[b - 1];
  const tokens = offsets[lengths.length] + spare;
  const weightsOf = ({ bonusWeights, mask }: Record<string, Float64Array | Int32Array>) => ({
    bonusWeights,
    tokenMask: hasTokenMask ? mask : null,
    offsets,
  });
  return {
    name: `entropy_bonus ${lengths.length} completions, ${tokens} tokens${
      hasTokenMask ? ", token mask" : ""
    }`,
    inputs: {
      losses: uniform(1, [lengths.length]),
      entropy: uniform(2, [tokens]),
      bonusWeights: uniform(3, [lengths.length]),
      mask: { shape: [tokens], values: Float64Array.from(randomInts(4, tokens, 2)) },
      offsets: { shape: [offsets.length], values: offsets },
    },
    run: ({ tensors: { losses, entropy, bonusWeights, mask, offsets } }) => [
      entropyBonus(losses, entropy, { bonusWeights, tokenMask: hasTokenMask ? mask : null, offsets }),
    ],
    twin: (arrays) => [entropyBonusF64(arrays.losses, arrays.entropy, weightsOf(arrays))],
    gradient: {
      wrt: ["losses", "entropy"],
      twin: (arrays, dy) => ({ losses: dy, entropy: entropyBonusGradF64(dy, tokens, weightsOf(arrays)) }),
    },
    tolerance: 2e-6,
    toleranceReason: "f32 sums of up to some hundred entropies",
    bench: { bytes: 2 * tokens * 4 },
  };
}

export const cases: OpCase[] = [
  bonusCase([1], 0, false),
  bonusCase([3, 1, 70, 0, 9], 5, false),
  bonusCase([33, 65, 2, 31, 32], 3, true),
  // Of the gradient, whose workgroups are one more, some are left over where the grid is folded.
  bonusCase([4, 0, 21, 6], 0, false),
  bonusCase([2, 37, 1, 0], 1, true),
  bonusCase(Array.from({ length: 65_539 }, (_, b) => b % 3), 5, true),
];
