/** Times one case: its kernels by the GPU's clock, and the op as a program calls it by the wall clock. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { assertGpuHealthy, awaitGpu } from "../src/gpu/device.ts";
import { tfjsBackend } from "../src/gpu/backend.ts";
import { flush, trimPool } from "../src/gpu/bridge.ts";
import { recordPlan } from "../src/gpu/plan.ts";
import { timePlan } from "../src/gpu/timing.ts";
import type { CaseInput, OpCase, Operands } from "./case.ts";
import { randomFloats } from "./case.ts";
import { measure, type MeasureOptions, type Timing } from "./measure.ts";
import { caseOperands, disposeOperands } from "./operands.ts";

export interface OpTiming {
  op: string;
  name: string;
  /** Kernels alone, forward, from a recorded plan. */
  kernels: Timing & { source: "gpu timestamps" | "wall clock"; dispatches: number };
  /** A call of the op and its share of the wait until the GPU is done. */
  forward: Timing;
  /** Forward and backward through tfjs's tape; null without a gradient, or where forward takes too long. */
  forwardBackward: Timing | null;
  /** The same forward maths in stock tfjs ops; null where none is given. */
  plainForward: Timing | null;
  flops: number | null;
  bytes: number | null;
}

const KERNEL_SAMPLE_SECONDS = 0.01;
/** Long against the 10 ms that Deno takes to notice that a queue is done. */
const WALL_SAMPLE_SECONDS = 0.08;
const BUDGET_SECONDS = 1;
/** Backward takes two to three times a forward pass: it is left out where one call takes longer than this. */
export const LONGEST_FORWARD_SECONDS = 2;

/** What keeps a case from running on a device; null when its inputs fit. */
export function unfitReason(inputs: Record<string, CaseInput>, maxBindingBytes: number): string | null {
  for (const [name, { shape, weight }] of Object.entries(inputs)) {
    const bytesPerElement = weight === "bf16" || weight === "f16" ? 2 : 4;
    const sizeBytes = shape.reduce((product, n) => product * n, bytesPerElement);
    if (sizeBytes > maxBindingBytes) {
      return `input ${name} has ${sizeBytes} bytes, this device binds at most ${maxBindingBytes}`;
    }
  }
  return null;
}

/** Wall-clock seconds of `times` runs, tensors freed, until the GPU is done with all of them. */
async function wallSeconds(run: () => void, times: number): Promise<number> {
  const { queue } = tfjsBackend();
  const begin = performance.now();
  for (let i = 0; i < times; i++) tf.tidy(run);
  flush();
  await awaitGpu(queue.onSubmittedWorkDone());
  assertGpuHealthy();
  return (performance.now() - begin) / 1000;
}

async function timeKernels(
  opCase: OpCase,
  operands: Operands,
  options: MeasureOptions,
): Promise<OpTiming["kernels"]> {
  const plan = recordPlan(() => void opCase.run(operands));
  let source: "gpu timestamps" | "wall clock" = "wall clock";
  try {
    const timing = await measure(async (times) => {
      const taken = await timePlan(plan, times);
      source = taken.source;
      return taken.seconds;
    }, options);
    assertGpuHealthy();
    return { ...timing, source, dispatches: plan.dispatchCount };
  } finally {
    plan.dispose();
  }
}

/** One forward and backward of a case as a function; null for an op without gradient. */
function backwardRun(opCase: OpCase, operands: Operands): { run: () => void; dy: Tensor } | null {
  if (!opCase.gradient) return null;
  const output = opCase.gradient.output ?? 0;
  const inputs = opCase.gradient.wrt.filter((name) => !opCase.inputs[name].weight).map((name) =>
    operands.tensors[name]
  );
  const shape = tf.tidy(() => opCase.run(operands)[output].shape);
  const size = shape.reduce((product, n) => product * n, 1);
  const dy = tf.tensor(Float32Array.from(randomFloats(99, size)), shape);
  return { dy, run: () => void tf.engine().gradients(() => opCase.run(operands)[output], inputs, dy, false) };
}

/** Times a case; its operands and intermediates are freed before it returns. */
export async function timeOp(op: string, opCase: OpCase, repeats: number): Promise<OpTiming> {
  const wall: MeasureOptions = { repeats, sampleSeconds: WALL_SAMPLE_SECONDS, budgetSeconds: BUDGET_SECONDS };
  const timeWall = (run: () => void) => measure((times) => wallSeconds(run, times), wall);
  const { flops = null, bytes = null, plainTfjs } = opCase.bench ?? {};
  const operands = caseOperands(opCase);
  try {
    // The first calls upload the operands and compile the pipelines, which a plan needs done.
    const forward = await timeWall(() => void opCase.run(operands));
    const kernels = await timeKernels(opCase, operands, {
      ...wall,
      sampleSeconds: KERNEL_SAMPLE_SECONDS,
      isWarm: true,
    });
    const isQuick = forward.seconds <= LONGEST_FORWARD_SECONDS;
    const backward = isQuick ? backwardRun(opCase, operands) : null;
    const forwardBackward = backward && await timeWall(backward.run);
    backward?.dy.dispose();
    const plainForward = plainTfjs ? await timeWall(() => void plainTfjs(operands)) : null;
    return { op, name: opCase.name, kernels, forward, forwardBackward, plainForward, flops, bytes };
  } finally {
    disposeOperands(operands);
    trimPool();
  }
}
