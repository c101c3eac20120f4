/** One policy update: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { readFloats } from "../gpu/bridge.ts";
import { groupAdvantages } from "../ops/group_advantages.ts";
import { grpoLoss, LOSS_STATS } from "../ops/grpo_loss.ts";
import { type Policy, policyLogprobs } from "../policy/llama.ts";
import { sequenceWeights } from "../rl/loss.ts";
import { type MicroBatch, uploadMicroBatch } from "./micro_batch.ts";
import { type Optimizer, optimizerStep } from "./optimizer.ts";
import type { Rollout } from "./rollout.ts";

export interface UpdateStats {
  loss: number;
  /** Before clipping. */
  gradNorm: number;
  /** Means over the step's completion tokens. */
  kl: number;
  entropy: number;
  clipRatioLow: number;
  clipRatioHigh: number;
}

export interface Learner {
  policy: Policy;
  /** null when beta is 0. */
  reference: Policy | null;
  optimizer: Optimizer;
}

/** Loss and gradients of one micro-batch; gradients are added into the weights. @returns losses and stats */
function backward(
  learner: Learner,
  batch: MicroBatch,
  advantagesAndWeights: Tensor,
  config: RunConfig,
): Tensor[] {
  const { policy, reference } = learner;
  const logprobsOf = (model: Policy) =>
    policyLogprobs(model, batch.sequences, batch.picked, batch.targets, config.temperature);
  const refLogprobs = reference ? tf.tidy(() => logprobsOf(reference)[0]) : null;
  let stats: Tensor | null = null;
  const forward = () => {
    const [logprobs, entropy] = logprobsOf(policy);
    const made = grpoLoss(logprobs, {
      oldLogprobs: null,
      refLogprobs,
      entropy,
      offsets: batch.offsets,
      completionOfToken: batch.completionOfToken,
      advantagesAndWeights,
    }, config);
    stats = tf.keep(made.stats);
    return made.losses;
  };
  const { value } = tf.engine().gradients(
    forward,
    [policy.root],
    tf.ones([advantagesAndWeights.shape[1]!]),
    false,
  );
  return [value, stats!];
}

/** Which completions count, and how much: rl/loss.ts `sequenceWeights`, 0 for those left out. */
function weightsOf(rollouts: readonly Rollout[], config: RunConfig): Float64Array {
  const isCounted = ({ end }: Rollout) => !(config.mask_truncated_completions && end === "length");
  const lengths = rollouts.map((rollout) => isCounted(rollout) ? rollout.tokens.length : 0);
  const microBatchSizes = new Array(rollouts.length / config.per_device_train_batch_size).fill(
    config.per_device_train_batch_size,
  );
  const weights = sequenceWeights(config.loss_type, lengths, {
    microBatchSizes,
    maxCompletionLength: config.max_completion_length,
  });
  return weights.map((weight, b) => lengths[b] === 0 ? 0 : weight);
}

/**
 * Trains on one generation batch: group advantages, then loss and gradients per micro-batch, then one AdamW step.
 * One read-back, at the end.
 * @param combined R - lambda C of each rollout
 */
export async function updatePolicy(
  learner: Learner,
  rollouts: readonly Rollout[],
  combined: ArrayLike<number>,
  learningRate: number,
  config: RunConfig,
): Promise<UpdateStats> {
  const batchSize = config.per_device_train_batch_size;
  const logged = tf.tidy(() => {
    const advantages = groupAdvantages(
      tf.tensor1d(Float32Array.from(combined)),
      config.num_generations,
      config.scale_rewards,
    );
    const weights = tf.tensor1d(Float32Array.from(weightsOf(rollouts, config)));
    const losses: Tensor[] = [];
    const stats: Tensor[] = [];
    for (let start = 0; start < rollouts.length; start += batchSize) {
      const [loss, stat] = tf.tidy(() => {
        const scales = tf.stack([advantages.slice(start, batchSize), weights.slice(start, batchSize)]);
        return backward(learner, uploadMicroBatch(rollouts.slice(start, start + batchSize)), scales, config);
      });
      losses.push(loss);
      stats.push(stat.flatten());
      stat.dispose();
    }
    const clip = optimizerStep(learner.optimizer, learningRate, config);
    return tf.concat([clip, ...losses, ...stats] as tf.Tensor1D[]);
  });
  const values = await readFloats(logged);
  logged.dispose();
  return summarize(values, rollouts);
}

/** @param values clip [2], losses [N], stats [N,4] */
function summarize(values: Float32Array, rollouts: readonly Rollout[]): UpdateStats {
  const count = rollouts.length;
  const tokens = rollouts.reduce((sum, rollout) => sum + rollout.tokens.length, 0);
  const meanOf = (stat: (typeof LOSS_STATS)[number]) => {
    let sum = 0;
    for (let b = 0; b < count; b++) {
      sum += values[2 + count + b * LOSS_STATS.length + LOSS_STATS.indexOf(stat)];
    }
    return sum / tokens;
  };
  let loss = 0;
  for (let b = 0; b < count; b++) loss += values[2 + b];
  return {
    loss,
    gradNorm: values[0],
    kl: meanOf("kl"),
    entropy: meanOf("entropy"),
    clipRatioLow: meanOf("clippedLow"),
    clipRatioHigh: meanOf("clippedHigh"),
  };
}
