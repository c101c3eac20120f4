/** An optimizer step of several ranks: gradients summed, clipped by the norm of all, weights updated and gathered. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { clearTensor, emptyTensor } from "../gpu/tensors.ts";
import { clipOfSums, squareSumCount, squareSums } from "../ops/optimizer/grad_norm.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { type Optimizer, type OptimizerConfig, updateSlots } from "./optimizer.ts";
import { type ExchangeConfig, gatherWeights, sumGradients, sumOwnGradients } from "./zero_exchange.ts";
import { gradientWords } from "./zero_shares.ts";

/** Whether ranks share out the optimizer's state. */
export function sharesState(config: Pick<RunConfig, "zero_stage" | "use_peft">, size: number): boolean {
  return size > 1 && (config.zero_stage === "auto" ? !config.use_peft : config.zero_stage === 2);
}

/**
 * As clipScale, of the gradients of all ranks' pieces. The sums of each piece are the same whoever makes them, and are
 * added in rank order: the same bits on every rank, and whether or not the state is shared out.
 */
async function clipOfRanks(
  communicator: Communicator,
  { slots, shares }: Optimizer,
  maxNorm: number,
): Promise<Tensor> {
  const { pieces, rank } = shares!;
  const parts = pieces.map((own) => own.map(gradientWords));
  if (rank !== null) parts[rank] = slots.map(({ gradient }) => gradient);
  const width = parts.reduce((most, own) => Math.max(most, squareSumCount(own)), 0);
  const sums = tf.tidy(() => tf.keep(emptyTensor([parts.length * width])));
  clearTensor(sums); // ranks may have fewer sums than `width`
  parts.forEach((own, of) => (rank === null || rank === of) && squareSums(own, sums, of * width));
  if (rank !== null) await communicator.allGather(sums);
  const clip = clipOfSums(sums, maxNorm);
  sums.dispose();
  return clip;
}

/**
 * As optimizerStep, from the gradients that all ranks have accumulated.
 * @throws Error when the ranks cannot reach each other any more
 */
export async function optimizerStepOfRanks(
  communicator: Communicator,
  optimizer: Optimizer,
  learningRate: number,
  config: OptimizerConfig & ExchangeConfig,
): Promise<Tensor> {
  const { weights } = optimizer;
  const shares = optimizer.shares!;
  const isShared = shares.rank !== null;
  const summed = new Set(shares.layers?.flat());
  const left = shares.pieces.map((own) => own.filter(({ weight }) => !summed.has(weight)));
  await (isShared ? sumOwnGradients : sumGradients)(communicator, left, config);
  const clip = await clipOfRanks(communicator, optimizer, config.max_grad_norm);
  updateSlots(optimizer, clip, learningRate, config);
  if (isShared) {
    // Of what is left of them: the values that other ranks hold.
    for (const weight of weights) if (!summed.has(weight)) clearTensor(weight.grad!);
    await gatherWeights(communicator, shares.pieces, config);
  }
  weights.forEach(refreshWeightShift);
  return clip;
}
