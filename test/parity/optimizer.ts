/** Learning rates, clipping, AdamW and what is decayed, against transformers and torch (golden/make/optimizer.py). */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { readFloats, uploadTensor, writeTensor, zeroTensor } from "../../src/gpu/tensors.ts";
import { adamwF64 } from "../../src/ops/optimizer/adamw.ts";
import { gradNormF64 } from "../../src/ops/optimizer/grad_norm.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { learningRate, type ScheduleConfig } from "../../src/rl/schedules.ts";
import { createOptimizer, disposeOptimizer, isDecayed, optimizerStep } from "../../src/train/optimizer.ts";
import { differences, type ParityLine, relativeFrobenius, worstRelative } from "./line.ts";

/** Values by the parameter's name. */
type Values = Record<string, number[]>;

interface OptimizerCase extends Pick<ScheduleConfig, "lr_scheduler_type" | "warmup_steps"> {
  weight_decay: number;
  max_grad_norm: number;
  /** Parameters after each step. */
  f32: Values[];
  /** Parameters after some steps, by the step's number from 1. */
  f64: Record<string, Values>;
}

interface OptimizerGolden {
  learning_rate: number;
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  shapes: Record<string, number[]>;
  starts: Values;
  /** Of each step. */
  gradients: Values[];
  cases: OptimizerCase[];
  /** By model type and parameter. */
  decays: Record<string, Record<string, boolean>>;
}

interface ScheduleGolden {
  learning_rate: number;
  cases: (Omit<ScheduleConfig, "learning_rate"> & { rates: number[] })[];
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../golden/${name}`, import.meta.url), "utf8"));
const golden: OptimizerGolden = read("optimizer.json");
// An f32 is written in the fewest decimals that round to it; the numbers compared are the f32 themselves.
for (const values of [golden.starts, ...golden.gradients, ...golden.cases.flatMap(({ f32 }) => f32)]) {
  for (const name of Object.keys(values)) values[name] = values[name].map(Math.fround);
}
const schedules: ScheduleGolden = read("schedules.json");
const NAMES = Object.keys(golden.shapes);
const STEPS = golden.gradients.length;

/** Largest error of a parameter, as a share of how far it has moved from its start. */
function worstOfChange(actual: Record<string, ArrayLike<number>>, expected: Values): number {
  return Math.max(...NAMES.map((name) => {
    const start = golden.starts[name];
    const change = (values: ArrayLike<number>) => start.map((value, i) => values[i] - value);
    return relativeFrobenius(change(actual[name]), change(expected[name]));
  }));
}

const rateOf = (one: OptimizerCase, step: number) =>
  learningRate(step, { ...one, learning_rate: golden.learning_rate, total_steps: STEPS });

async function worstOnGpu(one: OptimizerCase): Promise<number> {
  const weights = NAMES.map((name): Weight => {
    const shape = golden.shapes[name];
    const tensor = uploadTensor(Float32Array.from(golden.starts[name]), shape);
    return { name, shape, format: "f32", tensor, grad: zeroTensor(shape) };
  });
  const optimizer = createOptimizer(weights);
  const all = tf.tidy(() =>
    tf.concat(golden.gradients.map((gradients, step) => {
      for (const { name, grad } of weights) writeTensor(grad!, Float32Array.from(gradients[name]));
      optimizerStep(optimizer, rateOf(one, step), { ...golden, ...one });
      return tf.concat(weights.map(({ tensor }) => tensor.flatten()));
    }))
  );
  const values = await readFloats(all);
  disposeOptimizer(optimizer);
  tf.dispose([all, ...weights.flatMap(({ tensor, grad }) => [tensor, grad!])]);
  let at = 0;
  return Math.max(...one.f32.map((expected) => {
    const actual = NAMES.map((name) => [name, values.subarray(at, at += golden.starts[name].length)]);
    return worstOfChange(Object.fromEntries(actual), expected);
  }));
}

function worstTwin(one: OptimizerCase): number {
  const states = NAMES.map((name) => {
    const weight = Float64Array.from(golden.starts[name]);
    return { name, weight, m: new Float64Array(weight.length), v: new Float64Array(weight.length) };
  });
  let worst = 0;
  for (let step = 0; step < STEPS; step++) {
    const grads = golden.gradients[step];
    const { scale } = gradNormF64(Object.values(grads), one.max_grad_norm);
    for (const state of states) {
      const { weight, m, v, name } = state;
      Object.assign(
        state,
        adamwF64({ weight, m, v, grad: grads[name] }, scale, {
          learningRate: rateOf(one, step),
          beta1: golden.adam_beta1,
          beta2: golden.adam_beta2,
          epsilon: golden.adam_epsilon,
          weightDecay: isDecayed(name) ? one.weight_decay : 0,
          step: step + 1,
        }),
      );
    }
    const expected = one.f64[step + 1];
    if (!expected) continue;
    for (const { name, weight } of states) worst = Math.max(worst, worstRelative(weight, expected[name], 1));
  }
  return worst;
}

const worstRate = () =>
  Math.max(...schedules.cases.map(({ rates, ...schedule }) => {
    const config = { ...schedule, learning_rate: schedules.learning_rate };
    // cos(pi) leaves a zero at the end of a schedule as some 1e-17 of the peak.
    return worstRelative(rates.map((_, step) => learningRate(step, config)), rates, 1e-12);
  }));

const decays = Object.values(golden.decays).flatMap((names) => Object.entries(names));

export const lines: ParityLine[] = [
  {
    what: "Learning rates of every lr_scheduler_type, with arguments, warm-up and past the end",
    reference: "transformers get_scheduler",
    measure: "relative",
    limit: 1e-13,
    worst: worstRate,
  },
  {
    what: "Parameters after each of 20 steps on the GPU: clipping, AdamW, weight decay, schedule",
    reference: "torch.optim.AdamW and clip_grad_norm_, f32",
    measure: "relative Frobenius, of the change since the start",
    limit: 5e-6,
    worst: async () => {
      let worst = 0;
      for (const one of golden.cases) worst = Math.max(worst, await worstOnGpu(one));
      return worst;
    },
  },
  {
    what: "The same in f64",
    reference: "torch.optim.AdamW and clip_grad_norm_, f64",
    measure: "relative to max(|w|, 1)",
    limit: 3e-16,
    worst: () => Math.max(...golden.cases.map(worstTwin)),
  },
  {
    what: "Which parameters of Llama, Mistral, Qwen2 and Qwen3 get weight decay",
    reference: "transformers Trainer.get_decay_parameter_names",
    measure: "parameters that differ",
    limit: 0,
    worst: () => differences(decays.map(([name]) => isDecayed(name)), decays.map(([, decayed]) => decayed)),
  },
];
