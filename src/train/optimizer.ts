/** AdamW over all weights of a model. Gradients are clipped by their global norm and cleared. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { RunConfig } from "../config/sweep.ts";
import { zeroTensor } from "../gpu/tensors.ts";
import { adamw } from "../ops/optimizer/adamw.ts";
import { clipScale } from "../ops/optimizer/grad_norm.ts";
import { packWeight, unpackWeight } from "../ops/weight/pack.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";

export type OptimizerConfig = Pick<
  RunConfig,
  "adam_beta1" | "adam_beta2" | "adam_epsilon" | "weight_decay" | "max_grad_norm"
>;

interface Slot {
  weight: Weight;
  /** f32: the weight's own tensor, or, where that is packed, the values that it is rounded from. */
  master: Tensor;
  firstMoment: Tensor;
  secondMoment: Tensor;
}

export interface Optimizer {
  /** Updates done. */
  updates: number;
  slots: Slot[];
}

export function createOptimizer(weights: readonly Weight[]): Optimizer {
  const slots = weights.map((weight) => ({
    weight,
    master: weight.format === "f32" ? weight.tensor : unpackWeight(weight),
    firstMoment: zeroTensor(weight.shape),
    secondMoment: zeroTensor(weight.shape),
  }));
  return { updates: 0, slots };
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
  const clip = clipScale(optimizer.slots.map(({ weight }) => weight.grad!), config.max_grad_norm);
  optimizer.updates++;
  for (const { weight, master, firstMoment, secondMoment } of optimizer.slots) {
    adamw({ weight: master, firstMoment, secondMoment, grad: weight.grad! }, clip, {
      learningRate,
      beta1: config.adam_beta1,
      beta2: config.adam_beta2,
      epsilon: config.adam_epsilon,
      weightDecay: isDecayed(weight.name) ? config.weight_decay : 0,
      step: optimizer.updates,
    });
    if (weight.format === "f32") refreshWeightShift(weight);
    else packWeight(master, weight);
  }
  return clip;
}

export function disposeOptimizer(optimizer: Optimizer): void {
  for (const { weight, master, firstMoment, secondMoment } of optimizer.slots) {
    tf.dispose([firstMoment, secondMoment]);
    if (master !== weight.tensor) master.dispose();
  }
}
