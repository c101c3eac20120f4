/** The trainee in stock tfjs ops: tape, composed AdamW. */
import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor, Variable } from "@tensorflow/tfjs";
import type { RunConfig } from "../../src/config/sweep.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { disposePlainModel, plainLogits, plainModel } from "./plain_llama.ts";
import type { PeerTask, Trainee } from "./task.ts";

interface Moments {
  first: Variable;
  second: Variable;
}

interface Update {
  grad: Tensor;
  /** That clips the gradient. */
  scale: Tensor;
  /** 1 at first. */
  step: number;
}

function adamStep(
  weight: Variable,
  { first, second }: Moments,
  { grad, scale, step }: Update,
  config: RunConfig,
): void {
  const { adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon, learning_rate: rate } = config;
  tf.tidy(() => {
    const clipped = tf.mul(grad, scale);
    first.assign(tf.add(tf.mul(first, beta1), tf.mul(clipped, 1 - beta1)));
    second.assign(tf.add(tf.mul(second, beta2), tf.mul(tf.square(clipped), 1 - beta2)));
    const mean = tf.div(first, 1 - beta1 ** step);
    const root = tf.sqrt(tf.div(second, 1 - beta2 ** step));
    weight.assign(tf.sub(weight, tf.mul(tf.div(mean, tf.add(root, epsilon)), rate)));
  });
}

/** Clips all gradients by their global norm, and takes a step. @returns the norm */
function clippedSteps(
  { weights, moments }: { weights: ReadonlyMap<string, Variable>; moments: ReadonlyMap<string, Moments> },
  grads: tf.NamedTensorMap,
  step: number,
  config: RunConfig,
): Tensor {
  const all = [...weights].map(([name, weight]) => ({ name, weight, grad: grads[weight.name] }));
  const squares = all.map(({ grad }) => tf.sum(tf.square(grad)));
  const norm = tf.sqrt(squares.reduce((sum, own) => tf.add(sum, own)));
  const scale = tf.minimum(tf.div(config.max_grad_norm, tf.add(norm, 1e-6)), 1);
  for (const { name, weight, grad } of all) {
    adamStep(weight, moments.get(name)!, { grad, scale, step }, config);
  }
  return norm;
}

export function plainTfjs(task: PeerTask): Promise<Trainee> {
  const model = plainModel(task);
  const { rows, length, shape: { vocab } } = task;
  const ids = tf.tensor1d(task.ids, "int32");
  const labels = tf.tensor1d(task.targets, "int32");
  const coefficients = tf.tensor1d(
    Float32Array.from({ length: rows * length }, (_, i) => task.coefficients[Math.floor(i / length)]),
  );
  const moments = new Map([...model.weights].map(([name, { shape }]): [string, Moments] => {
    const zeros = () => tf.tidy(() => tf.variable(tf.zeros(shape)));
    return [name, { first: zeros(), second: zeros() }];
  }));
  /** sum over tokens of weight * -log p(target) */
  const weightedLoss = (weights: Tensor) =>
    tf.losses.softmaxCrossEntropy(
      tf.oneHot(labels, vocab),
      plainLogits(model, ids),
      weights,
      0,
      tf.Reduction.SUM,
    ) as Scalar;
  let steps = 0;
  return Promise.resolve({
    name: "plain tfjs",
    async meanLogprob() {
      const loss = tf.tidy(() => weightedLoss(tf.ones([rows * length])));
      const [value] = await readFloats(loss);
      loss.dispose();
      return -value / (rows * length);
    },
    async step() {
      steps++;
      const norm = tf.tidy(() => {
        const { grads } = tf.variableGrads(() => weightedLoss(coefficients), [...model.weights.values()]);
        return clippedSteps({ weights: model.weights, moments }, grads, steps, task.config);
      });
      const [value] = await readFloats(norm);
      norm.dispose();
      return value;
    },
    dispose() {
      disposePlainModel(model);
      tf.dispose([ids, labels, coefficients]);
      for (const { first, second } of moments.values()) tf.dispose([first, second]);
      trimPool();
    },
  });
}
