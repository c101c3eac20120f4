import * as tf from "@tensorflow/tfjs";
import { adamw, adamwF64, type AdamwOptions } from "../../../src/ops/optimizer/adamw.ts";
import { type OpCase, uniform } from "../case.ts";

const OPTIONS: AdamwOptions = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 3,
};

interface AdamwCase {
  benchOnly?: boolean;
  /** No moments yet, so that 1 - beta shows in every digit. */
  first?: boolean;
  /** 1e-8 shows nowhere; 0.5 is as much as what it is added to. */
  epsilon?: number;
}

export function adamwCase(count: number, scale: number, options: AdamwCase = {}): OpCase {
  const { benchOnly, first, epsilon = OPTIONS.epsilon } = options;
  const settings = { ...OPTIONS, epsilon };
  const secondMoment = uniform(3, [count], first ? 0 : 1);
  return {
    name: `adamw ${count} scale ${scale}${first ? " first step" : ""}${
      epsilon > 0.1 ? ` epsilon ${epsilon}` : ""
    }`,
    inputs: {
      weight: uniform(1, [count]),
      m: uniform(2, [count], first ? 0 : 0.1),
      v: { shape: [count], values: secondMoment.values.map((value) => value * value) as Float64Array },
      grad: uniform(4, [count]),
      clip: { shape: [2], values: Float64Array.from([1, scale]) },
    },
    run: ({ tensors: { weight, m, v, grad, clip } }) => {
      adamw({ weight, firstMoment: m, secondMoment: v, grad }, clip, settings);
      return [weight, m, v, grad].map((tensor) => tensor.clone());
    },
    twin: ({ weight, m, v, grad, clip }) => {
      const after = adamwF64({ weight, m, v, grad }, clip[1], settings);
      return [after.weight, after.m, after.v, new Float64Array(count)];
    },
    tolerance: 2e-6,
    toleranceReason: "f32 sqrt, divisions and the f32 bias corrections",
    benchOnly,
    bench: {
      bytes: 8 * count * 4,
      plainTfjs: ({ tensors: { weight, m, v, grad, clip } }) => {
        const g = tf.mul(grad, tf.slice(clip, 1, 1));
        const newM = tf.add(tf.mul(m, 0.9), tf.mul(g, 0.1));
        const newV = tf.add(tf.mul(v, 0.999), tf.mul(tf.square(g), 0.001));
        const step = tf.div(tf.div(newM, 0.271), tf.add(tf.sqrt(tf.div(newV, 0.002997)), 1e-8));
        return [tf.sub(tf.mul(weight, 0.999), tf.mul(step, 0.01)), newM, newV];
      },
    },
  };
}

export const cases: OpCase[] = [
  adamwCase(1, 1),
  adamwCase(67, 0.25),
  adamwCase(1156, 0.25),
  adamwCase(65, 0),
  adamwCase(68, 0),
  adamwCase(33, 1, { first: true }),
  adamwCase(35, 1, { epsilon: 0.5 }),
  adamwCase(36, 1, { epsilon: 0.5 }),
  adamwCase(515, 0.25),
  adamwCase(2056, 0.25),
  adamwCase(49152, 1, { benchOnly: true }),
  adamwCase(4_194_304, 1, { benchOnly: true }),
];
