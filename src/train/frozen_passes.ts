/** Passes that keep nothing for backward: several micro-batches go through the model at once, which fills a GPU. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { gatherRows, inverseRows } from "../ops/rows/gather_rows.ts";
import {
  type MicroBatch,
  type SharedPrompts,
  type TokenizedRollout,
  uploadMicroBatch,
} from "./micro_batch.ts";

/** Tokens that fill a GPU's matrix units. */
export const FULL_TOKENS = 2048;
/**
 * Passes that are made one. A layer's activations in backward take more than four times those of the forward pass
 * alone, so that no run takes more memory by it.
 */
const MOST_PASSES = 4;

/** How many passes of `rowsPerPass` completions are made one, where none is longer than it may be. */
export function passesAtOnce(
  rowsPerPass: number,
  isShared: boolean,
  { max_prompt_length, max_completion_length }: Pick<
    RunConfig,
    "max_prompt_length" | "max_completion_length"
  >,
): number {
  const tokens = rowsPerPass * (max_completion_length + (isShared ? 0 : max_prompt_length));
  return Math.min(MOST_PASSES, Math.max(1, Math.floor(FULL_TOKENS / tokens)));
}

/** Micro-batches that are one pass. */
interface FrozenPass {
  batch: MicroBatch;
  parts: readonly MicroBatch[];
}

const tokensOf = (rollouts: readonly TokenizedRollout[]) =>
  rollouts.reduce((sum, { tokens }) => sum + tokens.length, 0);

/** The log-probs of each part, from those of all. @returns f32 [M] of each */
function splitLogprobs(logprobs: Tensor, { parts }: FrozenPass, counts: readonly number[]): Tensor[] {
  const column = tf.reshape(logprobs, [-1, 1]);
  let first = 0;
  return parts.map(({ targets }, i) => {
    const rows = Int32Array.from({ length: targets.size }, (_, m) => m < counts[i] ? first + m : -1);
    first += counts[i];
    const inverse = inverseRows(rows, logprobs.size);
    const i32 = (values: Int32Array) => tf.tensor1d(values, "int32");
    return tf.reshape(gatherRows(column, i32(rows), i32(inverse)), [-1]);
  });
}

/**
 * Runs micro-batches several at once; the bits are those of one by one. All tensors belong to the surrounding tidy.
 * @param rollouts of each micro-batch
 * @param batches what was uploaded of them
 * @param atOnce of `passesAtOnce`
 * @returns what makes log-probs of each micro-batch, f32 [M], by a function that makes those of any
 */
export function frozenPasses(
  rollouts: readonly (readonly TokenizedRollout[])[],
  batches: readonly MicroBatch[],
  shared: SharedPrompts | null,
  atOnce: number,
): (logprobsOf: (batches: readonly MicroBatch[]) => Tensor[]) => Tensor[] {
  if (atOnce === 1) return (logprobsOf) => logprobsOf(batches);
  const counts = rollouts.map(tokensOf);
  const passes: FrozenPass[] = [];
  for (let first = 0; first < batches.length; first += atOnce) {
    const batch = uploadMicroBatch(rollouts.slice(first, first + atOnce).flat(), shared);
    passes.push({ batch, parts: batches.slice(first, first + atOnce) });
  }
  return (logprobsOf) =>
    logprobsOf(passes.map(({ batch }) => batch)).flatMap((logprobs, p) =>
      splitLogprobs(logprobs, passes[p], counts.slice(p * atOnce, (p + 1) * atOnce))
    );
}
