/** Ops: our kernels as tfjs knows them, so that its tape differentiates what is made of them. */
import * as tf from "@tensorflow/tfjs";
import type { NamedAttrMap, Tensor, TensorInfo } from "@tensorflow/tfjs";
import { modes } from "./backend.ts";
import { markPlace } from "./recording.ts";
import { tensorsOf } from "./tensor_tree.ts";

/** An op: a kernel registered with tfjs so that its tape differentiates it. */
export interface OpDefinition<Inputs extends string, Attrs> {
  name: string;
  /** Runs on the GPU; returns one or several new tensors. */
  forward(inputs: Record<Inputs, TensorInfo>, attrs: Attrs): TensorInfo | TensorInfo[];
  /** What backward needs: input names, and which outputs. Saved in the order inputs, outputs. */
  saves?: { inputs?: Inputs[]; outputs?: boolean[] };
  /** Gradient of each differentiable input given dy (an array when there are several outputs). */
  gradient?(dy: Tensor | Tensor[], saved: Tensor[], attrs: Attrs): Partial<Record<Inputs, () => Tensor>>;
}

/** Runs a registered op; always a list of its outputs. */
export type Op<Inputs extends string, Attrs> = (inputs: Record<Inputs, Tensor>, attrs: Attrs) => Tensor[];

/** Registers an op with tfjs and returns the function that runs it. */
export function defineOp<Inputs extends string, Attrs>(op: OpDefinition<Inputs, Attrs>): Op<Inputs, Attrs> {
  tf.registerKernel({
    kernelName: op.name,
    backendName: "webgpu",
    kernelFunc: ({ inputs, attrs }) =>
      op.forward(inputs as Record<Inputs, TensorInfo>, attrs as unknown as Attrs),
  });
  if (op.gradient) {
    const gradient = op.gradient;
    tf.registerGradient({
      kernelName: op.name,
      inputsToSave: op.saves?.inputs ?? [],
      outputsToSave: op.saves?.outputs ?? [],
      gradFunc: (dy, saved, attrs) =>
        freeAfter(gradient(dy, saved, attrs as unknown as Attrs) as Record<string, () => Tensor>, [
          dy,
          saved,
        ]),
    });
  }
  return (inputs, attrs) => {
    const made = tf.engine().runKernel(op.name, inputs, attrs as unknown as NamedAttrMap) as
      | Tensor
      | Tensor[];
    return Array.isArray(made) ? made : [made];
  };
}

/**
 * The gradients as they are, after the last of which `spent` is freed, in a backward pass that frees as it goes: what
 * an op was pulled by and what it saved serve nobody else.
 */
function freeAfter(gradients: Record<string, () => Tensor>, spent: unknown): Record<string, () => Tensor> {
  if (!modes.freesGradients) return gradients;
  let left = Object.keys(gradients).length;
  const counted = (gradient: () => Tensor) => () => {
    const made = gradient();
    if (--left === 0) tf.dispose(tensorsOf(spent));
    return made;
  };
  return Object.fromEntries(Object.entries(gradients).map(([name, gradient]) => [name, counted(gradient)]));
}

/**
 * Value of f and its backward pass from dy to xs, where tfjs's own would hold every gradient and every saved tensor
 * until its end: here each is freed as soon as the ops that need it have run.
 * @param f made of our ops, each of whose outputs one op reads
 * @param dy is left as it is
 */
export function backpropagate(f: () => Tensor, xs: Tensor[], dy: Tensor): { value: Tensor; grads: Tensor[] } {
  const before = modes.freesGradients;
  modes.freesGradients = true;
  try {
    return tf.engine().gradients(f, xs, dy.clone(), false) as { value: Tensor; grads: Tensor[] };
  } finally {
    modes.freesGradients = before;
  }
}

/** Runs `body`, which may start a tape of its own, amid the backward pass of another: tfjs keeps only one. */
function withOwnTape<R>(body: () => R): R {
  const { state } = tf.engine() as unknown as { state: { activeTape: unknown } };
  const outer = state.activeTape;
  try {
    return body();
  } finally {
    state.activeTape = outer;
  }
}

/** Whether what runs now is being written down to be differentiated. */
export function isTapeOn(): boolean {
  return (tf.engine() as unknown as { isTapeOn(): boolean }).isTapeOn();
}

/**
 * y = f(x), of which the tape keeps x alone: backward runs f again (activation checkpointing, arXiv:1604.06174). The
 * kernels being deterministic, the second run gives the same bits.
 */
export function recomputed(f: (x: Tensor) => Tensor, x: Tensor): Tensor {
  const op = tf.customGrad((input, save) => {
    (save as tf.GradSaveFunc)([input as Tensor]);
    const gradFunc = (dy: Tensor, [saved]: Tensor[]) => {
      const [dx] = withOwnTape(() => tf.engine().gradients(() => f(saved), [saved], dy.clone()).grads);
      if (modes.freesGradients) tf.dispose([dy, saved]);
      return dx;
    };
    return { value: f(input as Tensor), gradFunc };
  });
  return op(x);
}

/**
 * y = x, without a kernel or a copy. A recording of its backward pass is marked where all that comes before dx has been
 * recorded: what is made of y adds no more to any gradient.
 */
export function marked(x: Tensor, number: number): Tensor {
  const op = tf.customGrad((input) => ({
    value: (input as Tensor).clone(),
    gradFunc: (dy: Tensor) => {
      markPlace(number);
      const dx = dy.clone();
      if (modes.freesGradients) dy.dispose();
      return dx;
    },
  }));
  return op(x);
}

/**
 * Gradients of several inputs that one kernel computes together. tfjs asks for each inside a tidy of its own, which
 * would dispose the others; so they are computed at once and handed out one by one.
 */
export function jointGradients<Names extends string>(
  names: Names[],
  made: Tensor[],
): Record<Names, () => Tensor> {
  const hand = (tensor: Tensor) => () => {
    const handed = tensor.clone();
    tensor.dispose();
    return handed;
  };
  return Object.fromEntries(names.map((name, i) => [name, hand(made[i])])) as Record<Names, () => Tensor>;
}
