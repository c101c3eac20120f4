/** Trains on one generation batch: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { limitPool, readFloats } from "../gpu/bridge.ts";
import { groupAdvantages } from "../ops/group_advantages.ts";
import { optimizerStep } from "./optimizer.ts";
import { backward, backwardPrompts, type Learner, promptKeys } from "./passes.ts";
import {
  countedLengths,
  drawSteps,
  type PreparedStep,
  prepareStep,
  type TrainedRollout,
  weightsOf,
} from "./prepared_step.ts";
import { meanStats, readUpdateStats, type UpdateStats } from "./update_stats.ts";

/** Adds a step's gradients into the weights: first from all completions, then from the prompts they share. */
function accumulateGradients(
  learner: Learner,
  { prompts, batches }: PreparedStep,
  config: RunConfig,
): Tensor[] {
  const keys = promptKeys(learner, learner.policy, prompts);
  const ones = tf.ones([learner.rowsPerPass]);
  const parts = batches.flatMap((batch) => tf.tidy(() => backward(learner, batch, ones, keys, config)));
  if (prompts && keys) backwardPrompts(learner, prompts, keys);
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
  for (const replays of Object.values(learner.replays)) replays.trim();
  limitPool();
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
