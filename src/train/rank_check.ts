/** Whether all ranks still hold the same weights: they must, or each of them trains a model of its own. */
import { createHash } from "node:crypto";
import * as tf from "@tensorflow/tfjs";
import { readTensor } from "../gpu/tensors.ts";
import { wordSums } from "../ops/weight/word_sums.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherTexts } from "../parallel/gather.ts";

/** What ranks hold is not the same, so that none of it is worth keeping. */
export class WeightsDifferError extends Error {
  override readonly name = "WeightsDifferError";
}

/** A hash of weights, in their order; 12 hex digits of a SHA-256 over sums that the GPU makes. */
async function hashOf(weights: readonly Weight[]): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, tensor } of weights) {
    const sums = tf.engine().makeTensorFromTensorInfo(wordSums(tensor));
    hash.update(name).update(await readTensor(sums).finally(() => sums.dispose()));
  }
  return hash.digest("hex").slice(0, 12);
}

/**
 * Compares the weights of all ranks.
 * @param step after which it is
 * @throws WeightsDifferError when they differ, on every rank; it names the ranks and their hashes
 */
export async function assertSameWeights(
  communicator: Communicator,
  weights: readonly Weight[],
  step: number,
): Promise<void> {
  if (communicator.size === 1) return;
  const hashes = await gatherTexts(communicator, [await hashOf(weights)]);
  if (hashes.every((hash) => hash === hashes[0])) return;
  const named = hashes.map((hash, rank) => `rank ${rank} ${hash}`).join(", ");
  throw new WeightsDifferError(
    `The ranks hold different weights after step ${step} (${named}): a device computes otherwise than the others, or ` +
      "lost memory. The same command goes on from the last checkpoint; leave out the rank that stands alone",
  );
}
