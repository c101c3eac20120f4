import { samplerWeights } from "../../../src/ops/loss/sampler_weights.ts";
import {
  IMPORTANCE_SAMPLING_MODES,
  SAMPLER_STATS,
  type SamplerWeightsConfig,
  samplerWeightsF64,
} from "../../../src/rl/sampler_weights.ts";
import { type OpCase, randomFloats } from "../case.ts";

function weightsCase(lengths: number[], spare: number, config: SamplerWeightsConfig, spread = 0.3): OpCase {
  const offsets = Int32Array.from([0, ...lengths]);
  for (let b = 1; b < offsets.length; b++) offsets[b] += offsets[b - 1];
  const tokens = offsets[lengths.length] + spare;
  const near = randomFloats(1, tokens);
  const about = (seed: number) => ({
    shape: [tokens],
    values: randomFloats(seed, tokens, spread).map((value, i) => Math.fround(near[i] - 2 + value)),
  });
  const { importance_sampling_mode: mode, importance_sampling_clip_min, importance_sampling_clip_max } =
    config;
  return {
    name: `sampler_weights ${lengths.length} completions, ${tokens} tokens, ${mode} ` +
      `${importance_sampling_clip_min} to ${importance_sampling_clip_max}${
        spread === 0.3 ? "" : `, differences to ${spread}`
      }`,
    inputs: {
      trainer: about(2),
      sampler: about(3),
      offsets: { shape: [offsets.length], values: offsets },
    },
    run: ({ tensors }) => {
      const { weights, stats } = samplerWeights(
        { trainer: tensors.trainer, sampler: tensors.sampler },
        tensors.offsets,
        config,
      );
      return [weights, stats];
    },
    twin: ({ trainer, sampler }) => {
      const weights = new Float64Array(tokens).fill(1);
      const stats = lengths.flatMap((length, b) => {
        const part = (values: Float64Array | Int32Array) => values.subarray(offsets[b], offsets[b + 1]);
        const made = samplerWeightsF64(part(trainer), part(sampler), config);
        weights.set(made.weights, offsets[b]);
        return SAMPLER_STATS.map((name) => length === 0 ? 0 : made.stats[name]);
      });
      return [weights, stats];
    },
    tolerance: 5e-6,
    toleranceReason: "f32 exp, of sums of up to some hundred differences",
    bench: { bytes: 3 * tokens * 4 },
  };
}

const bounds = (low: number | null, high: number | null) => ({
  importance_sampling_clip_min: low,
  importance_sampling_clip_max: high,
});

export const cases: OpCase[] = [
  ...IMPORTANCE_SAMPLING_MODES.flatMap((importance_sampling_mode) => [
    weightsCase([3, 1, 70, 0, 9], 5, { importance_sampling_mode, ...bounds(null, 1.1) }),
    weightsCase([33, 65, 2, 31, 32], 0, { importance_sampling_mode, ...bounds(0.9, 1.2) }),
  ]),
  weightsCase([40, 3], 3, { importance_sampling_mode: "token_mask", ...bounds(0.9, null) }),
  weightsCase([1], 0, { importance_sampling_mode: "token_truncate", ...bounds(null, 3) }),
  weightsCase([6, 9], 1, { importance_sampling_mode: "sequence_truncate", ...bounds(null, 3) }, 60),
  weightsCase(Array.from({ length: 65_539 }, (_, b) => b % 3), 5, {
    importance_sampling_mode: "sequence_mask",
    ...bounds(null, 1.3),
  }),
];
