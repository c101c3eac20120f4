import * as tf from "@tensorflow/tfjs";
import { grpoLoss, LOSS_STATS } from "../../../src/ops/loss/grpo_loss.ts";
import { completionLosses, type TokenLoss, type TokenLossConfig } from "../../../src/rl/loss.ts";
import { type Arrays, type OpCase, randomFloats, randomInts, uniform } from "../case.ts";

/** Visits each completion token with the loss that the twin gives it. */
function eachToken(
  arrays: Arrays,
  config: TokenLossConfig,
  onPolicy: boolean,
  visit: (i: number, b: number, token: TokenLoss) => void,
) {
  const { logprobs, old, ref, weights, offsets, scales, fixed } = arrays;
  const completions = offsets.length - 1;
  for (let b = 0; b < completions; b++) {
    const [begin, end] = [offsets[b], offsets[b + 1]];
    const part = (values: Float64Array | Int32Array) => Array.from(values.subarray(begin, end));
    // On-policy the old log-probs are the values of the log-probs, held constant.
    const oldLogprobs = part(onPolicy ? fixed : old);
    completionLosses({
      logprobs: part(logprobs),
      oldLogprobs,
      refLogprobs: part(ref),
      advantage: scales[b],
      heldLogprobs: part(fixed),
      tokenWeights: part(weights),
    }, config).forEach((token, t) => visit(begin + t, b, token));
  }
}

interface CaseOptions {
  onPolicy?: boolean;
  benchOnly?: boolean;
  /** Policy terms are multiplied by weights from 0 to 2. */
  isWeighted?: boolean;
}

function lossCase(
  lengths: number[],
  spare: number,
  config: TokenLossConfig,
  { onPolicy = false, benchOnly = false, isWeighted = false }: CaseOptions = {},
): OpCase {
  const offsets = Int32Array.from([0, ...lengths]);
  for (let b = 1; b < offsets.length; b++) offsets[b] += offsets[b - 1];
  const tokens = offsets[lengths.length] + spare;
  const completion = new Int32Array(tokens).fill(-1);
  lengths.forEach((_, b) => completion.fill(b, offsets[b], offsets[b + 1]));
  const near = randomFloats(1, tokens);
  const about = (seed: number, spread: number) => ({
    shape: [tokens],
    values: randomFloats(seed, tokens, spread).map((value, i) => Math.fround(near[i] - 2 + value)),
  });
  const logprobs = about(2, 0.3);
  return {
    name: `grpo_loss ${lengths.length} completions, ${tokens} tokens, ${
      config.loss_type === "grpo" ? "" : `${config.loss_type}, `
    }${config.importance_sampling_level} ratios, beta ${config.beta}${config.delta ? ", delta" : ""}${
      config.use_bias_correction_kl ? ", ratio in kl" : ""
    }${onPolicy ? ", on-policy" : ""}${isWeighted ? ", weighted" : ""}`,
    inputs: {
      logprobs,
      fixed: { shape: [tokens], values: logprobs.values.slice() },
      old: about(3, 0.3),
      ref: about(4, 0.5),
      entropy: uniform(5, [tokens]),
      weights: {
        shape: [tokens],
        values: isWeighted
          ? Float64Array.from(randomFloats(7, tokens, 1), (value) => Math.fround(1 + value))
          : new Float64Array(tokens).fill(1),
      },
      offsets: { shape: [offsets.length], values: offsets },
      completion: { shape: [tokens], values: completion },
      scales: uniform(6, [2, lengths.length]),
    },
    run: ({ tensors }) => {
      const { losses, stats } = grpoLoss({
        logprobs: tensors.logprobs,
        oldLogprobs: onPolicy ? null : tensors.old,
        refLogprobs: tensors.ref,
        entropy: tensors.entropy,
        tokenWeights: isWeighted ? tensors.weights : null,
        offsets: tensors.offsets,
        advantagesAndWeights: tensors.scales,
      }, config);
      return [losses, stats];
    },
    twin: (arrays) => {
      const losses = new Float64Array(lengths.length);
      const stats = new Float64Array(lengths.length * LOSS_STATS.length);
      eachToken(arrays, config, onPolicy, (i, b, token) => {
        losses[b] += arrays.scales[lengths.length + b] * token.loss;
        const kl = config.beta === 0 ? 0 : token.kl;
        [kl, +token.clippedLow, +token.clippedHigh, arrays.entropy[i]].forEach((value, s) =>
          stats[b * 4 + s] += value
        );
      });
      return [losses, stats];
    },
    gradient: {
      wrt: ["logprobs"],
      twin: (arrays, dy) => {
        const gradient = new Float64Array(tokens);
        eachToken(arrays, config, onPolicy, (i, b, token) => {
          gradient[i] = dy[b] * arrays.scales[lengths.length + b] * token.gradient;
        });
        return { logprobs: gradient };
      },
    },
    tolerance: 5e-6,
    toleranceReason: "f32 exp and sums of up to some hundred tokens",
    benchOnly,
    bench: {
      bytes: 4 * tokens * 4,
      plainTfjs: ({ tensors }) => {
        const ratio = tf.exp(tf.sub(tensors.logprobs, tensors.old));
        const advantage = tf.gather(tensors.scales.flatten(), tf.relu(tensors.completion) as tf.Tensor1D);
        const policy = tf.minimum(
          tf.mul(ratio, advantage),
          tf.mul(tf.clipByValue(ratio, 0.8, 1.2), advantage),
        );
        const difference = tf.sub(tensors.ref, tensors.logprobs);
        const kl = tf.sub(tf.sub(tf.exp(difference), difference), 1);
        return [tf.sum(tf.sub(tf.mul(kl, config.beta), policy))];
      },
    },
  };
}

const plain: TokenLossConfig = {
  loss_type: "grpo",
  importance_sampling_level: "token",
  beta: 0.04,
  epsilon: 0.2,
  epsilon_high: null,
  delta: null,
  use_bias_correction_kl: false,
  sapo_temperature_neg: 1.5,
  sapo_temperature_pos: 0.8,
};
const corrected: TokenLossConfig = { ...plain, use_bias_correction_kl: true };
export const cases: OpCase[] = [
  lossCase([1], 0, plain),
  lossCase([3, 1, 7], 5, plain),
  lossCase([33, 65, 2, 40], 20, { ...plain, beta: 0.1, epsilon: 0.1, epsilon_high: 0.28 }),
  lossCase([33, 65, 2, 40], 20, { ...plain, epsilon: 0.1, delta: 1.25 }),
  lossCase([5, 0, 4], 1, { ...plain, beta: 0 }),
  lossCase([6, 6, 9], 3, plain, { onPolicy: true }),
  lossCase([3, 1, 70, 0, 9], 5, { ...plain, importance_sampling_level: "sequence", epsilon: 0.02 }),
  lossCase([40, 3], 3, { ...plain, importance_sampling_level: "sequence" }, { onPolicy: true }),
  lossCase([3, 1, 70], 5, { ...plain, loss_type: "cispo", epsilon_high: 1.1 }),
  lossCase([3, 1, 70], 5, { ...corrected, loss_type: "cispo", epsilon_high: 1.1 }),
  lossCase([6, 40, 9], 3, corrected, { onPolicy: true }),
  lossCase([33, 65, 2], 20, { ...corrected, beta: 0.3 }),
  lossCase([33, 65, 2], 20, { ...corrected, beta: 0.3, importance_sampling_level: "sequence" }),
  lossCase([3, 1, 70], 5, {
    ...plain,
    loss_type: "cispo",
    importance_sampling_level: "sequence",
    epsilon_high: 1.01,
  }),
  lossCase([33, 0, 65, 2], 20, { ...corrected, beta: 0.3, epsilon: 0.1 }, { isWeighted: true }),
  lossCase([33, 65, 2], 20, { ...corrected, importance_sampling_level: "sequence", epsilon: 0.02 }, {
    isWeighted: true,
  }),
  lossCase([3, 1, 70], 5, { ...plain, loss_type: "cispo", epsilon_high: 1.1 }, { isWeighted: true }),
  lossCase([3, 1, 70], 5, {
    ...plain,
    loss_type: "cispo",
    importance_sampling_level: "sequence",
    epsilon_high: 1.01,
  }, { isWeighted: true }),
  lossCase([33, 65, 2], 20, { ...corrected, loss_type: "sapo" }),
  lossCase([3, 1, 70, 0, 9], 5, { ...plain, loss_type: "sapo", importance_sampling_level: "sequence" }),
  lossCase([33, 65, 2], 20, { ...plain, loss_type: "sapo", importance_sampling_level: "sequence" }, {
    isWeighted: true,
  }),
  lossCase([6, 40, 9], 3, { ...corrected, loss_type: "sapo" }, { onPolicy: true }),
  lossCase([3, 1, 70, 0, 9], 5, {
    ...corrected,
    loss_type: "luspo",
    importance_sampling_level: "sequence",
    epsilon: 0.02,
  }),
  lossCase([33, 65, 2], 20, { ...corrected, loss_type: "vespo" }, { isWeighted: true }),
  lossCase([3, 1, 70], 5, { ...plain, loss_type: "vespo" }, { onPolicy: true, isWeighted: true }),
  lossCase(Array.from({ length: 65_539 }, (_, b) => b % 3), 5, plain),
  lossCase(Array.from(randomInts(7, 64, 24), (n) => n + 8), 40, plain, { benchOnly: true }),
  lossCase(Array.from(randomInts(7, 60, 512), (n) => n + 1), 40, plain, { benchOnly: true }),
];
