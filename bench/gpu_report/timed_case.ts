/** Times our ops as cases of a GPU report: recorded as a plan, run on the GPU, held against what was predicted. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { assertGpuHealthy } from "../../src/gpu/failure.ts";
import { type Plan, recordPlan } from "../../src/gpu/plan.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { emptyTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { timePlan } from "../../src/gpu/timing.ts";
import { messageOf } from "../../src/io/files/errors.ts";
import { f32ToBytes } from "../../src/io/tensors/dtype.ts";
import type { Weight, WeightFormat } from "../../src/ops/weight/weight.ts";
import { randomFloats } from "../../test/cases/case.ts";
import { measure } from "../measure.ts";
import type { Seen } from "../predict/work.ts";
import { predictPlan } from "./predicted.ts";
import type { ArithmeticUnit, MeasuredLine, Say } from "./report_line.ts";

/** A second of samples at the most: there are some two hundred cases. */
const MEASURE = { repeats: 5, sampleSeconds: 0.02, budgetSeconds: 0.6 };
/** Values are repeated after so many: what is multiplied must not be zeros, which take less power. */
const BLOCK = 1 << 18;
const random = Float32Array.from(randomFloats(7, BLOCK, 1));
const BLOCKS: Readonly<Record<WeightFormat, ArrayBufferView>> = {
  f32: random,
  bf16: f32ToBytes(random, "BF16"),
  f16: f32ToBytes(random, "F16"),
};

function filled(tensor: Tensor, block: ArrayBufferView): Tensor {
  const sizeBytes = tensor.size * 4;
  for (let at = 0; at < sizeBytes; at += block.byteLength) {
    const count = Math.min(block.byteLength, sizeBytes - at);
    writeTensor(tensor, new Uint8Array(block.buffer, block.byteOffset, count), at);
  }
  return tensor;
}

/** Random numbers about 1. */
export const randomTensor = (shape: number[]): Tensor => filled(emptyTensor(shape), BLOCKS.f32);

/** A frozen matrix of random numbers. */
export function randomWeight([N, K]: [number, number], format: WeightFormat): Weight {
  const tensor = format === "f32" ? emptyTensor([N, K]) : emptyTensor([N, K / 2], "int32");
  return { name: "random", shape: [N, K], format, tensor: filled(tensor, BLOCKS[format]), grad: null };
}

/** i32 on the GPU. */
export function intTensor(values: ArrayLike<number>, shape: number[]): Tensor {
  const tensor = emptyTensor(shape, "int32");
  writeTensor(tensor, Int32Array.from(values));
  return tensor;
}

export interface TimedCase {
  name: string;
  flops?: number;
  unit?: ArithmeticUnit;
  bytes?: number;
  /** Whom the tokens see, where it is attention. */
  seen?: Seen;
  /** Makes the operands, and says what is recorded. All tensors made here are freed after the case. */
  make(): () => unknown;
}

/**
 * Times a case and says it; one that fails is left out, and the rest goes on.
 * @returns its seconds; Infinity where it failed
 */
export async function timeCase({ make, seen, ...facts }: TimedCase, say: Say): Promise<number> {
  let plan: Plan | null = null;
  tf.engine().startScope();
  try {
    const run = make();
    const made = recordPlan(() => void tf.tidy(() => void run()));
    plan = made;
    made.replay(); // compiles
    const { seconds } = await measure(async (times) => (await timePlan(made, times)).seconds, MEASURE);
    assertGpuHealthy();
    const predictedSeconds = predictPlan(made, seen);
    const line: MeasuredLine = { kind: "measured", seconds, ...facts };
    say(predictedSeconds === undefined ? line : { ...line, predictedSeconds });
    return seconds;
  } catch (error) {
    say({ kind: "left out", name: facts.name, reason: messageOf(error).split("\n")[0] });
    return Infinity;
  } finally {
    plan?.dispose();
    tf.engine().endScope();
    trimPool();
  }
}
