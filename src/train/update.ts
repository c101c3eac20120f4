/** Trains on one generation batch: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { limitPool, readFloats } from "../gpu/bridge.ts";
import { groupAdvantages } from "../ops/group_advantages.ts";
import { grpoLoss } from "../ops/grpo_loss.ts";
import type { PrefixKeys } from "../policy/llama.ts";
import { disposeKeys, prefixBackward, prefixKeys } from "../policy/shared_prefix.ts";
import { optimizerStep } from "./optimizer.ts";
import {
  countedLengths,
  drawSteps,
  type Learner,
  logprobsOf,
  type PreparedBatch,
  type PreparedStep,
  prepareStep,
  type TrainedRollout,
  weightsOf,
} from "./prepared_step.ts";
import { meanStats, readUpdateStats, type UpdateStats } from "./update_stats.ts";

/** Loss and gradients of one micro-batch; gradients are added into the weights. @returns losses [B], stats [4 B] */
function backward(
  learner: Learner,
  batch: PreparedBatch,
  keys: readonly PrefixKeys[] | null,
  config: RunConfig,
): Tensor[] {
  const { policy } = learner;
  const shape = `${batch.tokens.sequences.ids.size},${batch.tokens.targets.size}`;
  if (shape !== learner.passShape) limitPool();
  learner.passShape = shape;
  let stats: Tensor | null = null;
  const forward = () => {
    const [logprobs, entropy] = logprobsOf(policy, batch.tokens, keys, config);
    const made = grpoLoss(logprobs, { ...batch, entropy, offsets: batch.tokens.offsets }, config);
    stats = tf.keep(made.stats);
    return made.losses;
  };
  const ones = tf.ones([batch.advantagesAndWeights.shape[1]!]);
  const { value } = tf.engine().gradients(forward, [policy.root], ones, false);
  const flat = stats!.flatten();
  stats!.dispose();
  return [value, flat];
}

/** Adds a step's gradients into the weights: first from all completions, then from the prompts they share. */
function accumulateGradients(
  learner: Learner,
  { prompts, batches }: PreparedStep,
  config: RunConfig,
): Tensor[] {
  const keys = prompts && prefixKeys(learner.policy, prompts, true);
  const parts = batches.flatMap((batch) => tf.tidy(() => backward(learner, batch, keys, config)));
  if (prompts && keys) prefixBackward(learner.policy, prompts, keys);
  disposeKeys(keys);
  return parts;
}

/**
 * Trains on one generation batch, as TRL does: group advantages; then num_iterations times over the batch, cut into
 * optimizer steps of gradient_accumulation_steps micro-batches. Where that makes several steps, ratios are taken
 * against the policy that sampled, and which completions are in which step is drawn (from seed and `step`).
 * One read-back, at the end.
 *
 * @param combined R - lambda C of each rollout
 * @param step number of the first of the optimizer steps
 * @param learningRates one per optimizer step
 * @returns means over the optimizer steps
 */
export async function updatePolicy(
  learner: Learner,
  rollouts: readonly TrainedRollout[],
  combined: ArrayLike<number>,
  step: number,
  learningRates: readonly number[],
  config: RunConfig,
): Promise<UpdateStats> {
  const windows = learningRates.length / config.num_iterations;
  const draws = drawSteps(rollouts.length, windows, step, config);
  const order = Int32Array.from(draws.flatMap((draw) => [...draw]));
  const ordered = Array.from(order, (i) => rollouts[i]);
  const lengths = countedLengths(ordered, config);
  const logged = tf.tidy(() => {
    const advantages = groupAdvantages(
      tf.tensor1d(Float32Array.from(combined)),
      config.num_generations,
      config.scale_rewards,
    );
    const advantagesAndWeights = tf.stack([
      tf.gather(advantages, tf.tensor1d(order, "int32")),
      tf.tensor1d(weightsOf(lengths, windows, config)),
    ]);
    const steps = draws.map((draw, w) => {
      const own = Array.from(draw, (i) => rollouts[i]);
      const part = tf.slice(advantagesAndWeights, [0, w * own.length], [2, own.length]);
      return prepareStep(learner, own, part, learningRates.length === 1, config);
    });
    return learningRates.map((rate, update) => {
      const parts = accumulateGradients(learner, steps[update % windows], config);
      return tf.concat([optimizerStep(learner.optimizer, rate, config), ...parts] as tf.Tensor1D[]);
    });
  });
  const size = ordered.length / windows;
  const updates: UpdateStats[] = [];
  for (const [update, values] of (await Promise.all(logged.map(readFloats))).entries()) {
    const first = (update % windows) * size;
    const own = lengths.slice(first, first + size);
    updates.push(readUpdateStats(values, own, learner.rowsPerPass, config.importance_sampling_level));
  }
  tf.dispose(logged);
  return meanStats(updates);
}
