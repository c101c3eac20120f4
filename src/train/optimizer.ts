/** AdamW over all weights of a model. Gradients are clipped by their global norm and cleared. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { zeroTensor } from "../gpu/tensors.ts";
import { adamw } from "../ops/optimizer/adamw.ts";
import { clipScale } from "../ops/optimizer/grad_norm.ts";
import { packPart, unpackPart, unpackWeight } from "../ops/weight/pack.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";
import { type Piece, sizeOfWeight } from "./zero_shares.ts";

export type OptimizerConfig = Pick<
  RunConfig,
  "adam_beta1" | "adam_beta2" | "adam_epsilon" | "weight_decay" | "max_grad_norm"
>;

/** What is updated of one weight, with its state: all of it, or the piece that this rank holds. */
export interface Slot extends Piece {
  /** f32: the weight's own tensor, or, where that is packed, the slot's values, which it is rounded from. */
  master: Tensor;
  /** f32 of the slot's values. */
  firstMoment: Tensor;
  secondMoment: Tensor;
}

/** Of a run with several ranks. */
export interface OptimizerShares {
  /** Of each rank; together all weights. */
  pieces: readonly Piece[][];
  /** The one whose state this is; null: every rank has all. */
  rank: number | null;
}

export interface Optimizer {
  /** Updates done. */
  updates: number;
  weights: readonly Weight[];
  slots: Slot[];
  /** null: there is one rank. */
  shares: OptimizerShares | null;
}

function wholeSlot(weight: Weight): Slot {
  return {
    weight,
    start: 0,
    end: sizeOfWeight(weight),
    master: weight.format === "f32" ? weight.tensor : unpackWeight(weight),
    firstMoment: zeroTensor(weight.shape),
    secondMoment: zeroTensor(weight.shape),
  };
}

function slotOf(piece: Piece): Slot {
  const { weight, start, end } = piece;
  return {
    ...piece,
    master: weight.format === "f32" ? weight.tensor : unpackPart(weight, piece),
    firstMoment: zeroTensor([end - start]),
    secondMoment: zeroTensor([end - start]),
  };
}

/** The state is all zeros; where it is shared out, no more than this rank's share is ever made. */
export function createOptimizer(
  weights: readonly Weight[],
  shares: OptimizerShares | null = null,
): Optimizer {
  const isShared = shares !== null && shares.rank !== null;
  const slots = isShared ? shares.pieces[shares.rank!].map(slotOf) : weights.map(wholeSlot);
  return { updates: 0, weights, slots, shares };
}

/** Names, or their parts between dots, of what transformers' Trainer does not decay: biases and norms. */
const NOT_DECAYED = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)/;

/** Whether a parameter gets weight decay, by its name, as in transformers' `Trainer.get_decay_parameter_names`. */
export function isDecayed(name: string): boolean {
  return !NOT_DECAYED.test(name.toLowerCase());
}

/**
 * One update from the gradients accumulated in the weights. A gradient norm that is not finite leaves weights and
 * moments as they are (the caller reads the norm and counts it).
 * @returns f32 [2]: gradient norm before clipping, and the scale applied; the caller disposes it
 */
export function optimizerStep(optimizer: Optimizer, learningRate: number, config: OptimizerConfig): Tensor {
  const clip = clipScale(optimizer.weights.map(({ grad }) => grad!), config.max_grad_norm);
  updateSlots(optimizer, clip, learningRate, config);
  optimizer.weights.forEach(refreshWeightShift);
  return clip;
}

/**
 * Updates what the slots hold of the weights and clears its gradient; refreshWeightShift is the caller's.
 * @param clip f32 [2] as of `clipScale`
 */
export function updateSlots(
  optimizer: Optimizer,
  clip: Tensor,
  learningRate: number,
  config: OptimizerConfig,
): void {
  optimizer.updates++;
  for (const slot of optimizer.slots) {
    const { weight, start, master, firstMoment, secondMoment } = slot;
    const before = { weight: master === weight.tensor ? start : 0, grad: start };
    adamw({ weight: master, firstMoment, secondMoment, grad: weight.grad!, before }, clip, {
      learningRate,
      beta1: config.adam_beta1,
      beta2: config.adam_beta2,
      epsilon: config.adam_epsilon,
      weightDecay: isDecayed(weight.name) ? config.weight_decay : 0,
      step: optimizer.updates,
    });
    if (master !== weight.tensor) packPart(master, weight, slot);
  }
}

export function disposeOptimizer(optimizer: Optimizer): void {
  for (const { weight, master, firstMoment, secondMoment } of optimizer.slots) {
    tf.dispose([firstMoment, secondMoment]);
    if (master !== weight.tensor) master.dispose();
  }
}
