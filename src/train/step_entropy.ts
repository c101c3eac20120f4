/** What of an optimizer step depends on its tokens' entropies: which of them count, and the weight of the bonus. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { readFloats } from "../gpu/tensors.ts";
import type { PrefixKeys } from "../ops/attention/attention.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherParts } from "../parallel/gather.ts";
import { entropyThreshold, hasEntropyBonus } from "../rl/entropy.ts";
import type { Learner } from "./learner.ts";
import { frozenEntropies, type PreparedBatch } from "./passes.ts";

export interface StepEntropy {
  /** f32 [M] of each micro-batch: 1 for tokens that count, else 0; null: all do. */
  tokenMasks: Tensor[] | null;
  /** f32 [completions of this rank]; null: the loss has no bonus. */
  bonusWeights: Tensor | null;
  /** Mean over the tokens that count of all ranks, nats; null where no pass looked at them. */
  mean: number | null;
}

export interface EntropyRequest {
  batches: readonly PreparedBatch[];
  keys: readonly PrefixKeys[] | null;
  /** Tokens of each completion of this rank. */
  tokenCounts: readonly number[];
  /** Tokens that are in the loss: all of a completion's, or none; of this rank's completions, and of all ranks'. */
  lengths: readonly number[];
  allLengths: readonly number[];
  /** What the mean entropy is taken from the loss with. */
  coef: number;
  communicator: Communicator;
  config: RunConfig;
}

const sumOf = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Whether a step looks at its tokens' entropies before it trains on any. */
const looksAhead = ({ top_entropy_quantile, use_adaptive_entropy }: RunConfig) =>
  top_entropy_quantile < 1 || use_adaptive_entropy;

/** Entropies of all ranks' tokens, end to end in rank order. @param own of this rank's tokens */
async function ofAllRanks(own: Float32Array, { communicator, allLengths }: EntropyRequest) {
  const { size } = communicator;
  if (size === 1) return own;
  const perRank = allLengths.length / size;
  const counts = Array.from(
    { length: size },
    (_, rank) => sumOf(allLengths.slice(rank * perRank, (rank + 1) * perRank)),
  );
  const most = Math.max(...counts);
  const padded = new Float32Array(most);
  padded.set(own);
  const gathered = await gatherParts(communicator, padded);
  const all = new Float32Array(sumOf(counts));
  let first = 0;
  counts.forEach((count, rank) => {
    all.set(gathered.subarray(rank * most, rank * most + count), first);
    first += count;
  });
  return all;
}

/** Entropies of a micro-batch's tokens that are in the loss, and where these stand. */
function countedIn(entropies: Float32Array, counts: readonly number[], lengths: readonly number[]) {
  const places: number[] = [];
  let first = 0;
  counts.forEach((count, b) => {
    if (lengths[b] > 0) { for (let t = 0; t < count; t++) places.push(first + t); }
    first += count;
  });
  return { places, size: entropies.length, values: places.map((place) => entropies[place]) };
}

/**
 * Looks at the entropies of an optimizer step under the policy as it is, over all of its completions on all ranks, so
 * that no split of the batch decides which tokens count. (TRL does so for each micro-batch.)
 */
export async function stepEntropy(learner: Learner, request: EntropyRequest): Promise<StepEntropy> {
  const { batches, keys, tokenCounts, lengths, allLengths, coef, config } = request;
  const bonusOver = (tokens: number) =>
    hasEntropyBonus(config)
      ? tf.tensor1d(lengths.map((length) => length === 0 ? 0 : coef / Math.max(tokens, 1)))
      : null;
  if (!looksAhead(config)) {
    return { tokenMasks: null, bonusWeights: bonusOver(sumOf(allLengths)), mean: null };
  }
  const made = tf.tidy(() => frozenEntropies(learner, keys, batches.map(({ tokens }) => tokens), config));
  const read = await Promise.all(made.map(readFloats)).finally(() => tf.dispose(made));
  const size = tokenCounts.length / batches.length;
  const parts = read.map((entropies, i) => {
    const own = [i * size, (i + 1) * size] as const;
    return countedIn(entropies, tokenCounts.slice(...own), lengths.slice(...own));
  });
  const all = await ofAllRanks(Float32Array.from(parts.flatMap(({ values }) => values)), request);
  const threshold = config.top_entropy_quantile < 1
    ? entropyThreshold(all, config.top_entropy_quantile)
    : -Infinity;
  const kept = all.filter((entropy) => entropy >= threshold);
  const tokenMasks = parts.map(({ places, size, values }) => {
    const mask = new Float32Array(size);
    places.forEach((place, i) => mask[place] = values[i] >= threshold ? 1 : 0);
    return tf.tensor1d(mask);
  });
  const mean = kept.reduce((sum, entropy) => sum + entropy, 0) / Math.max(kept.length, 1);
  return { tokenMasks, bonusWeights: bonusOver(kept.length), mean };
}
