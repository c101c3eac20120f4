/** What of an optimizer step does not change while it is trained on: tokens, weights, reference and old log-probs. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { tensorsOf } from "../gpu/tensor_tree.ts";
import { uploadSequences } from "../policy/transformer.ts";
import type { Policy, SequenceTensors } from "../policy/trunk.ts";
import { LOSS_TYPES } from "../rl/loss_types.ts";
import { sequenceWeights } from "../rl/loss_weights.ts";
import { shuffledOrder, STREAM } from "../rl/rng.ts";
import { frozenPasses, passesAtOnce } from "./frozen_passes.ts";
import type { Learner } from "./learner.ts";
import { type MicroBatch, type SharedPrompts, sharePrompts, uploadMicroBatch } from "./micro_batch.ts";
import { frozenLogprobs, type PreparedBatch } from "./passes.ts";
import type { Rollout } from "./rollout.ts";

/** What an update reads of a rollout. */
export type TrainedRollout = Pick<Rollout, "tokens" | "logprobs" | "end"> & {
  prompt: { ids: readonly number[] };
};

/** The completions of one optimizer step. */
export interface PreparedStep {
  /** Their prompts; null where each micro-batch reads its own. */
  prompts: SequenceTensors | null;
  batches: PreparedBatch[];
}

/** What keys, values and gradients of a step's prompts may take, bytes; where they need more, no prompt is shared. */
const SHARED_BYTES = 2 ** 31;

/** The prompts of a step, where they are to be computed once: a matter of the settings, so that no split decides it. */
function promptsToShare(
  rollouts: readonly TrainedRollout[],
  { config: { layers, kvHeads, headDim } }: Policy,
  config: RunConfig,
): SharedPrompts | null {
  const shared = sharePrompts(rollouts);
  if (!shared) return null;
  const tokens = (shared.packed.starts.length - 1) * config.max_prompt_length;
  return tokens * 4 * 4 * layers * kvHeads * headDim <= SHARED_BYTES ? shared : null;
}

/** The sampler's log-probs of a micro-batch in the order of its targets; null where a rollout has none. */
function uploadLogprobs(rollouts: readonly TrainedRollout[], { targets }: MicroBatch): Tensor | null {
  const values = new Float32Array(targets.size);
  let m = 0;
  for (const { logprobs } of rollouts) {
    if (logprobs === null) return null;
    values.set(logprobs, m);
    m += logprobs.length;
  }
  return tf.tensor1d(values);
}

/** Uploads a step's micro-batches; reference and old log-probs are those of the models as they are now. */
function prepareStep(
  learner: Learner,
  rollouts: readonly TrainedRollout[],
  isOnPolicy: boolean,
  config: RunConfig,
): PreparedStep {
  const { policy, reference, rowsPerPass: size } = learner;
  const shared = promptsToShare(rollouts, policy, config);
  const prompts = shared && uploadSequences(shared.packed);
  const starts = Array.from({ length: rollouts.length / size }, (_, i) => i * size);
  const parts = starts.map((start) => rollouts.slice(start, start + size));
  const tokens = parts.map((part) => uploadMicroBatch(part, shared));
  const atOnce = reference || !isOnPolicy ? passesAtOnce(size, shared !== null, config) : 1;
  const inPasses = frozenPasses(parts, tokens, shared, atOnce);
  const logprobs = (model: Policy) =>
    inPasses((batches) => frozenLogprobs(learner, model, prompts, batches, config));
  const refLogprobs = reference && logprobs(reference);
  const oldLogprobs = isOnPolicy ? null : logprobs(policy);
  const batches = tokens.map((tokens, i) => ({
    tokens,
    refLogprobs: refLogprobs && refLogprobs[i],
    oldLogprobs: oldLogprobs && oldLogprobs[i],
    samplerLogprobs: uploadLogprobs(parts[i], tokens),
  }));
  return { prompts, batches };
}

/** Which completions each step takes, those of a prompt together: as drawn, or all in the one step there is. */
function drawSteps(count: number, windows: number, step: number, config: RunConfig): Int32Array[] {
  const size = count / windows;
  const drawn = windows === 1
    ? Array.from({ length: count }, (_, i) => i)
    : Array.from(shuffledOrder(count, config.seed, step, STREAM.minibatch));
  // Where weights depend on which completions make a micro-batch, only these are put in order.
  const isCut = LOSS_TYPES[config.loss_type].average === "micro-batches";
  const together = isCut ? config.per_device_train_batch_size : size;
  for (let first = 0; first < count; first += together) {
    const part = drawn.slice(first, first + together).sort((a, b) => a - b);
    drawn.splice(first, part.length, ...part);
  }
  return Array.from({ length: windows }, (_, w) => Int32Array.from(drawn.slice(w * size, (w + 1) * size)));
}

/** Tokens of each completion that are in the loss. */
function countedLengths(rollouts: readonly TrainedRollout[], config: RunConfig): number[] {
  const isCounted = ({ end }: TrainedRollout) => !(config.mask_truncated_completions && end === "length");
  return rollouts.map((rollout) => isCounted(rollout) ? rollout.tokens.length : 0);
}

export interface BatchTotals {
  /** Optimizer steps that a pass over the batch makes. */
  windows: number;
  /** Ranks, each with as many completions. */
  worldSize: number;
  /** Tokens in the loss over all completions of all ranks. */
  totalTokens: number;
}

/** Weights of this rank's completions, by optimizer step; 0 for those left out of the loss. */
export function weightsOf(
  lengths: readonly number[],
  { windows, worldSize, totalTokens }: BatchTotals,
  config: RunConfig,
): Float32Array {
  const size = lengths.length / windows;
  const microBatchSizes = new Array(config.gradient_accumulation_steps).fill(
    config.per_device_train_batch_size,
  );
  const weights = Array.from(
    { length: windows },
    (_, w) =>
      sequenceWeights(config.loss_type, lengths.slice(w * size, (w + 1) * size), {
        microBatchSizes,
        maxCompletionLength: config.max_completion_length,
        worldSize,
        totalTokens: totalTokens / windows,
      }),
  );
  return Float32Array.from(
    weights.flatMap((list) => [...list]),
    (weight, b) => lengths[b] === 0 ? 0 : weight,
  );
}

/** A generation batch made ready: all that does not depend on its scores. */
export interface PreparedUpdate {
  /** Places of the rollouts in the order in which they are trained on. */
  order: Int32Array;
  /** Tokens of each, in that order, and of these such as are in the loss: all of a completion's, or none. */
  tokenCounts: number[];
  lengths: number[];
  /** One per optimizer step of an iteration. */
  steps: PreparedStep[];
}

/**
 * Uploads a generation batch and queues the log-probs that it is held against. The GPU can be busy with that while its
 * scores are waited for.
 * @param step number of the first of the optimizer steps; where there are several, they draw their completions by it
 * @param updates optimizer steps
 */
export function prepareUpdate(
  learner: Learner,
  rollouts: readonly TrainedRollout[],
  step: number,
  updates: number,
  config: RunConfig,
): PreparedUpdate {
  const draws = drawSteps(rollouts.length, updates / config.num_iterations, step, config);
  const order = Int32Array.from(draws.flatMap((draw) => [...draw]));
  const steps: PreparedStep[] = [];
  tf.tidy(() => {
    for (const draw of draws) {
      steps.push(prepareStep(learner, Array.from(draw, (i) => rollouts[i]), updates === 1, config));
    }
    tensorsOf(steps).forEach(tf.keep);
  });
  const ordered = Array.from(order, (i) => rollouts[i]);
  const tokenCounts = ordered.map(({ tokens }) => tokens.length);
  return { order, tokenCounts, lengths: countedLengths(ordered, config), steps };
}

export function disposeUpdate({ steps }: PreparedUpdate): void {
  tf.dispose(tensorsOf(steps));
}
