/** Trains on one generation batch: micro-batches forward and backward, gradients accumulated, AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { limitPool, readFloats } from "../gpu/bridge.ts";
import { groupAdvantages } from "../ops/group_advantages.ts";
import { grpoLoss } from "../ops/grpo_loss.ts";
import { type Policy, policyLogprobs } from "../policy/llama.ts";
import { sequenceWeights } from "../rl/loss_weights.ts";
import { shuffledOrder, STREAM } from "../rl/rng.ts";
import { type MicroBatch, uploadMicroBatch } from "./micro_batch.ts";
import { type Optimizer, optimizerStep } from "./optimizer.ts";
import type { Rollout } from "./rollout.ts";
import { meanStats, readUpdateStats, type UpdateStats } from "./update_stats.ts";

export interface Learner {
  policy: Policy;
  /** null when beta is 0. */
  reference: Policy | null;
  optimizer: Optimizer;
  /** Completions in a forward and backward pass: a divisor of per_device_train_batch_size. Changes no bit. */
  rowsPerPass: number;
  /** Tokens read and predicted by the last pass: others need other buffers. */
  passShape?: string;
}

/** What an update reads of a rollout. */
export type TrainedRollout = Pick<Rollout, "tokens" | "end"> & { prompt: { ids: readonly number[] } };

/** A micro-batch with what does not change while it is trained on. */
interface PreparedBatch {
  tokens: MicroBatch;
  /** f32 [M]; null when beta is 0. */
  refLogprobs: Tensor | null;
  /** f32 [M]; null where every ratio is 1, the policy being the one that sampled. */
  oldLogprobs: Tensor | null;
  /** f32 [2,B] */
  advantagesAndWeights: Tensor;
}

function logprobsOf(model: Policy, { sequences, picked, targets }: MicroBatch, config: RunConfig): Tensor[] {
  return policyLogprobs(model, sequences, picked, targets, config.temperature);
}

/** Loss and gradients of one micro-batch; gradients are added into the weights. @returns losses [B], stats [4 B] */
function backward(learner: Learner, batch: PreparedBatch, config: RunConfig): Tensor[] {
  const { policy } = learner;
  const shape = `${batch.tokens.sequences.ids.size},${batch.tokens.targets.size}`;
  if (shape !== learner.passShape) limitPool();
  learner.passShape = shape;
  let stats: Tensor | null = null;
  const forward = () => {
    const [logprobs, entropy] = logprobsOf(policy, batch.tokens, config);
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

/** Tokens of each completion that are in the loss. */
function countedLengths(rollouts: readonly TrainedRollout[], config: RunConfig): number[] {
  const isCounted = ({ end }: TrainedRollout) => !(config.mask_truncated_completions && end === "length");
  return rollouts.map((rollout) => isCounted(rollout) ? rollout.tokens.length : 0);
}

/** Weights of the completions of the whole batch, by optimizer step; 0 for those left out of the loss. */
function weightsOf(lengths: readonly number[], windows: number, config: RunConfig): Float32Array {
  const size = lengths.length / windows;
  const totalTokens = lengths.reduce((sum, length) => sum + length, 0) / windows;
  const microBatchSizes = new Array(config.gradient_accumulation_steps).fill(
    config.per_device_train_batch_size,
  );
  const weights = Array.from(
    { length: windows },
    (_, w) =>
      sequenceWeights(config.loss_type, lengths.slice(w * size, (w + 1) * size), {
        microBatchSizes,
        maxCompletionLength: config.max_completion_length,
        totalTokens,
      }),
  );
  return Float32Array.from(
    weights.flatMap((list) => [...list]),
    (weight, b) => lengths[b] === 0 ? 0 : weight,
  );
}

/** Uploads the micro-batches; reference and old log-probs are those of the models as they are now. */
function prepareBatches(
  { policy, reference, rowsPerPass: size }: Learner,
  rollouts: readonly TrainedRollout[],
  advantages: Tensor,
  weights: Tensor,
  isOnPolicy: boolean,
  config: RunConfig,
): PreparedBatch[] {
  const batches: PreparedBatch[] = [];
  for (let start = 0; start < rollouts.length; start += size) {
    const tokens = uploadMicroBatch(rollouts.slice(start, start + size));
    batches.push({
      tokens,
      refLogprobs: reference && tf.tidy(() => logprobsOf(reference, tokens, config)[0]),
      oldLogprobs: isOnPolicy ? null : tf.tidy(() => logprobsOf(policy, tokens, config)[0]),
      advantagesAndWeights: tf.stack([advantages.slice(start, size), weights.slice(start, size)]),
    });
  }
  return batches;
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
  const order = windows === 1
    ? Int32Array.from(rollouts, (_, i) => i)
    : Int32Array.from(shuffledOrder(rollouts.length, config.seed, step, STREAM.minibatch));
  const ordered = Array.from(order, (i) => rollouts[i]);
  const lengths = countedLengths(ordered, config);
  const passes = ordered.length / windows / learner.rowsPerPass;
  const logged = tf.tidy(() => {
    const advantages = groupAdvantages(
      tf.tensor1d(Float32Array.from(combined)),
      config.num_generations,
      config.scale_rewards,
    );
    const batches = prepareBatches(
      learner,
      ordered,
      tf.gather(advantages, tf.tensor1d(order, "int32")),
      tf.tensor1d(weightsOf(lengths, windows, config)),
      learningRates.length === 1,
      config,
    );
    return learningRates.map((rate, update) => {
      const first = (update % windows) * passes;
      const parts = batches.slice(first, first + passes)
        .flatMap((batch) => tf.tidy(() => backward(learner, batch, config)));
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
