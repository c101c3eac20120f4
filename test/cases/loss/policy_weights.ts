import { policyWeights } from "../../../src/ops/loss/policy_weights.ts";
import { type PolicyWeightsConfig, policyWeightsF64 } from "../../../src/rl/policy_weights.ts";
import { type OpCase, randomFloats, randomInts, uniform } from "../case.ts";

interface Options {
  hasSamplerWeights?: boolean;
  hasTokenMask?: boolean;
}

function weightsCase(
  lengths: number[],
  spare: number,
  given: Partial<PolicyWeightsConfig>,
  { hasSamplerWeights = false, hasTokenMask = false }: Options = {},
): OpCase {
  const config = { ...plain, ...given };
  const offsets = Int32Array.from([0, ...lengths]);
  for (let b = 1; b < offsets.length; b++) offsets[b] += offsets[b - 1];
  const tokens = offsets[lengths.length] + spare;
  const near = randomFloats(1, tokens);
  const about = (seed: number) => ({
    shape: [tokens],
    values: randomFloats(seed, tokens, 0.1).map((value, i) => Math.fround(near[i] - 2 + value)),
  });
  const ratios = Float64Array.from(
    randomFloats(5, tokens, 0.4),
    (value, i) => i % 7 === 3 ? 0 : Math.fround(1 + value), // a masked ratio is 0
  );
  return {
    name: `policy_weights ${lengths.length} completions, ${tokens} tokens, ${config.loss_type}` +
      `${config.off_policy_mask_threshold === null ? "" : ", off-policy mask"}` +
      `${hasSamplerWeights ? ", sampler's weights" : ""}${hasTokenMask ? ", token mask" : ""}` +
      `${given.vespo_k_pos ? `, k ${given.vespo_k_pos}` : ""}`,
    inputs: {
      logprobs: about(2),
      old: about(3),
      sampler: about(4),
      ratios: { shape: [tokens], values: ratios },
      mask: { shape: [tokens], values: Float64Array.from(randomInts(6, tokens, 2)) },
      offsets: { shape: [offsets.length], values: offsets },
      scales: uniform(7, [2, lengths.length]),
    },
    run: ({ tensors }) => {
      const { weights, sequenceWeights } = policyWeights({
        logprobs: tensors.logprobs,
        oldLogprobs: tensors.old,
        samplerLogprobs: tensors.sampler,
        samplerWeights: hasSamplerWeights ? tensors.ratios : null,
        tokenMask: hasTokenMask ? tensors.mask : null,
        offsets: tensors.offsets,
        advantagesAndWeights: tensors.scales,
      }, config);
      return [weights, sequenceWeights];
    },
    twin: ({ logprobs, old, sampler, ratios, mask, scales }) => {
      const weights = new Float64Array(tokens).fill(1);
      const sequenceWeights = lengths.map((_, b) => {
        const part = (values: Float64Array | Int32Array) => values.subarray(offsets[b], offsets[b + 1]);
        const made = policyWeightsF64({
          logprobs: part(logprobs),
          oldLogprobs: part(old),
          samplerLogprobs: part(sampler),
          samplerWeights: hasSamplerWeights ? part(ratios) : null,
          tokenMask: hasTokenMask ? part(mask) : null,
          advantage: scales[b],
        }, config);
        weights.set(made.weights, offsets[b]);
        return made.sequenceWeight;
      });
      return [weights, sequenceWeights];
    },
    tolerance: 2e-5,
    toleranceReason: "f32 exp, of up to 20 times a sum of up to some hundred differences",
    bench: { bytes: 5 * tokens * 4 },
  };
}

const plain: PolicyWeightsConfig = {
  loss_type: "grpo",
  off_policy_mask_threshold: null,
  vespo_k_pos: 2,
  vespo_lambda_pos: 3,
  vespo_k_neg: 3,
  vespo_lambda_neg: 2,
};
const MANY = [3, 1, 70, 0, 9, 33, 65, 2];

export const cases: OpCase[] = [
  weightsCase([1], 0, { loss_type: "vespo" }),
  weightsCase(MANY, 5, { loss_type: "vespo" }),
  weightsCase(MANY, 0, { loss_type: "vespo" }, { hasSamplerWeights: true }),
  // No lambda: phi is w^k, beyond what f32 holds for a k of 400.
  weightsCase(MANY, 5, { loss_type: "vespo", vespo_k_pos: 400, vespo_lambda_pos: 0 }),
  weightsCase(MANY, 5, { off_policy_mask_threshold: 0.01 }),
  weightsCase(MANY, 5, { off_policy_mask_threshold: 0 }, { hasSamplerWeights: true }),
  weightsCase(MANY, 5, {}, { hasTokenMask: true }),
  weightsCase(MANY, 1, {}, { hasSamplerWeights: true, hasTokenMask: true }),
  weightsCase(MANY, 1, { loss_type: "vespo", off_policy_mask_threshold: 0.01 }, {
    hasSamplerWeights: true,
    hasTokenMask: true,
  }),
  weightsCase(Array.from({ length: 65_539 }, (_, b) => b % 3), 5, {
    loss_type: "vespo",
    off_policy_mask_threshold: 0.01,
  }),
];
