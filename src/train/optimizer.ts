/** AdamW over all weights of a model. Gradients are clipped by their global norm and cleared. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { type Words, zeroTensor } from "../gpu/tensors.ts";
import { adamw } from "../ops/optimizer/adamw.ts";
import { clipScale } from "../ops/optimizer/grad_norm.ts";
import { packPart, unpackPart, unpackWeight } from "../ops/weight/pack.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";
import { gradientWords, type Piece, sizeOfWeight } from "./zero_shares.ts";

export type OptimizerConfig = Pick<
  RunConfig,
  "adam_beta1" | "adam_beta2" | "adam_epsilon" | "weight_decay" | "max_grad_norm"
>;

/** A layer's gradients as the ranks share them out. */
export interface SharedLayer {
  /** Of every rank. */
  pieces: readonly Piece[][];
  /** Where this rank sums its own, in their order. */
  sums: readonly Words[];
}

/** What is updated of one weight, with its state: all of it, or the piece that this rank holds. */
export interface Slot extends Piece {
  /** f32: the weight's own tensor, or, where that is packed, the slot's values, which it is rounded from. */
  master: Tensor;
  /** f32 of the slot's values. */
  firstMoment: Tensor;
  secondMoment: Tensor;
  /** Of the slot's values: the weight's own, or where they are summed apart. */
  gradient: Words;
}

/** Of a run with several ranks. */
export interface OptimizerShares {
  /** Of each rank; together all weights. */
  pieces: readonly Piece[][];
  /** The one whose state this is; null: every rank has all. */
  rank: number | null;
  /** Whose gradients are summed layer by layer, amid backward; null: none. */
  layers: readonly (readonly Weight[])[] | null;
}

export interface Optimizer {
  /** Updates done. */
  updates: number;
  weights: readonly Weight[];
  slots: Slot[];
  /** null: there is one rank. */
  shares: OptimizerShares | null;
  /** As of `shares`. */
  layers: readonly SharedLayer[] | null;
}

function wholeSlot(weight: Weight): Slot {
  const piece = { weight, start: 0, end: sizeOfWeight(weight) };
  return {
    ...piece,
    gradient: gradientWords(piece),
    master: weight.format === "f32" ? weight.tensor : unpackWeight(weight),
    firstMoment: zeroTensor(weight.shape),
    secondMoment: zeroTensor(weight.shape),
  };
}

/** @param isSummedApart its gradient has a place of its own */
function slotOf(piece: Piece, isSummedApart: boolean): Slot {
  const { weight, start, end } = piece;
  const own = () => ({ tensor: zeroTensor([end - start]), first: 0, count: end - start });
  return {
    ...piece,
    gradient: isSummedApart ? own() : gradientWords(piece),
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
  if (shares === null || shares.rank === null) {
    return { updates: 0, weights, slots: weights.map(wholeSlot), shares, layers: null };
  }
  const apart = new Set(shares.layers?.flat());
  const slots = shares.pieces[shares.rank].map((piece) => slotOf(piece, apart.has(piece.weight)));
  const layerOf = (layer: readonly Weight[]): SharedLayer => ({
    pieces: shares.pieces.map((own) => own.filter(({ weight }) => layer.includes(weight))),
    sums: slots.filter(({ weight }) => layer.includes(weight)).map(({ gradient }) => gradient),
  });
  return { updates: 0, weights, slots, shares, layers: shares.layers && shares.layers.map(layerOf) };
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
    const { weight, start, master, firstMoment, secondMoment, gradient } = slot;
    const before = { weight: master === weight.tensor ? start : 0, grad: gradient.first };
    adamw({ weight: master, firstMoment, secondMoment, grad: gradient.tensor, before }, clip, {
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
  for (const { weight, master, firstMoment, secondMoment, gradient } of optimizer.slots) {
    tf.dispose([firstMoment, secondMoment]);
    if (master !== weight.tensor) master.dispose();
    if (gradient.tensor !== weight.grad) gradient.tensor.dispose();
  }
}
