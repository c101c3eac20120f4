/** Trains on one generation batch: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { limitPool } from "../gpu/pool.ts";
import { readFloats } from "../gpu/tensors.ts";
import { groupAdvantages } from "../ops/loss/group_advantages.ts";
import { trimPasses } from "../policy/pass_replays.ts";
import { optimizerStep } from "./optimizer.ts";
import { backward, backwardPrompts, type Learner, promptKeys } from "./passes.ts";
import { disposeUpdate, type PreparedStep, type PreparedUpdate, weightsOf } from "./prepared_update.ts";
import { meanStats, readUpdateStats, type UpdateStats } from "./update_stats.ts";

/**
 * Adds a step's gradients into the weights: first from all completions, then from the prompts they share.
 * @param advantagesAndWeights f32 [2, completions of the step]
 */
function accumulateGradients(
  learner: Learner,
  { prompts, batches }: PreparedStep,
  advantagesAndWeights: Tensor,
  config: RunConfig,
): Tensor[] {
  const size = learner.rowsPerPass;
  const keys = promptKeys(learner, learner.policy, prompts);
  const ones = tf.ones([size]);
  const parts = batches.flatMap((batch, i) =>
    tf.tidy(() => {
      const own = tf.slice(advantagesAndWeights, [0, i * size], [2, size]);
      return backward(learner, batch, { advantagesAndWeights: own, ones }, keys, config);
    })
  );
  if (prompts && keys) backwardPrompts(learner, prompts, keys);
  return parts;
}

/**
 * Trains on one generation batch, as TRL does: group advantages; then num_iterations times over the batch, cut into
 * optimizer steps of gradient_accumulation_steps micro-batches. Where that makes several steps, ratios are taken
 * against the policy that sampled, and which completions are in which step was drawn. One read-back, at the end.
 *
 * @param prepared is freed
 * @param combined R - lambda C of each rollout
 * @param learningRates one per optimizer step
 * @returns means over the optimizer steps
 */
export async function updatePolicy(
  learner: Learner,
  prepared: PreparedUpdate,
  combined: ArrayLike<number>,
  learningRates: readonly number[],
  config: RunConfig,
): Promise<UpdateStats> {
  const { order, lengths, steps } = prepared;
  const size = order.length / steps.length;
  const logged = tf.tidy(() => {
    const advantages = groupAdvantages(
      tf.tensor1d(Float32Array.from(combined)),
      config.num_generations,
      config.scale_rewards,
    );
    const advantagesAndWeights = tf.stack([
      tf.gather(advantages, tf.tensor1d(order, "int32")),
      tf.tensor1d(weightsOf(lengths, steps.length, config)),
    ]);
    return learningRates.map((rate, update) => {
      const s = update % steps.length;
      const own = tf.slice(advantagesAndWeights, [0, s * size], [2, size]);
      const parts = accumulateGradients(learner, steps[s], own, config);
      return tf.concat([optimizerStep(learner.optimizer, rate, config), ...parts] as tf.Tensor1D[]);
    });
  });
  disposeUpdate(prepared);
  trimPasses(learner.replays.policy);
  trimPasses(learner.replays.reference);
  limitPool();
  const updates: UpdateStats[] = [];
  for (const [update, values] of (await Promise.all(logged.map(readFloats))).entries()) {
    const first = (update % steps.length) * size;
    const own = lengths.slice(first, first + size);
    updates.push(readUpdateStats(values, own, learner.rowsPerPass, config.importance_sampling_level));
  }
  tf.dispose(logged);
  return meanStats(updates);
}
