/** Times one case: its kernels by the GPU's clock, and the op as a program calls it by the wall clock. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { awaitGpu } from "../src/gpu/device.ts";
import { assertGpuHealthy } from "../src/gpu/failure.ts";
import { tfjsBackend } from "../src/gpu/backend.ts";
import { trimPool } from "../src/gpu/pool.ts";
import { flush } from "../src/gpu/queue.ts";
import { recordPlan } from "../src/gpu/plan.ts";
import { timePlan } from "../src/gpu/timing.ts";
import type { CaseInput, OpCase, Operands } from "../test/cases/case.ts";
import { randomFloats } from "../test/cases/case.ts";
import { checkAgainstTfjs } from "./correctness.ts";
import { measure, type MeasureOptions, type Timing } from "./measure.ts";
import { disposeRotation, rotatedOperands, type Rotation } from "./rotation.ts";

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
  /** The same in other libraries that were asked for, by name. */
  peers: Record<string, Timing>;
  flops: number | null;
  bytes: number | null;
  /** Copies of the operands that were used in turn, and what a round over them moves. */
  copies: number;
  rotatedBytes: number;
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
async function queuedSeconds(run: () => void, times: number): Promise<number> {
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
  { operands }: Rotation,
  options: MeasureOptions,
): Promise<OpTiming["kernels"]> {
  // A round over all copies; their outputs, too, lie apart, since all of them are there at the end.
  const plan = recordPlan(() => operands.map((own) => opCase.run(own)));
  const copies = operands.length;
  let source: "gpu timestamps" | "wall clock" = "wall clock";
  try {
    const timing = await measure(async (times) => {
      const taken = await timePlan(plan, times);
      source = taken.source;
      return taken.seconds / copies;
    }, options);
    assertGpuHealthy();
    return { ...timing, source, dispatches: plan.dispatches.length / copies };
  } finally {
    plan.dispose();
  }
}

/** Forward and backward of a case as a function of its operands; null for an op without gradient. */
function backwardRun(
  opCase: OpCase,
  first: Operands,
): { run: (operands: Operands) => void; dy: Tensor } | null {
  if (!opCase.gradient) return null;
  const { wrt, output = 0 } = opCase.gradient;
  const names = wrt.filter((name) => !opCase.inputs[name].weight);
  const shape = tf.tidy(() => opCase.run(first)[output].shape);
  const size = shape.reduce((product, n) => product * n, 1);
  const dy = tf.tensor(Float32Array.from(randomFloats(99, size)), shape);
  const run = (operands: Operands) => {
    const inputs = names.map((name) => operands.tensors[name]);
    tf.engine().gradients(() => opCase.run(operands)[output], inputs, dy, false);
  };
  return { dy, run };
}

/** A library's forward of a case: operands of its own, checked against ours before it is timed. */
export interface CasePeer {
  name: string;
  /** Runs it once over the operands of that index; null for a case that it does not have. */
  prepare(op: string, opCase: OpCase, copies: number): Promise<PeerRun | null>;
}

export interface PeerRun {
  /** Seconds of so many runs, by the wall clock. */
  seconds(times: number): Promise<number>;
  dispose(): void;
}

export interface OpTimingOptions {
  repeats: number;
  /** Whether to time the case's plain composition in stock tfjs, too. */
  withTfjs?: boolean;
  peers?: readonly CasePeer[];
}

/**
 * Times a case; its operands and intermediates are freed before it returns.
 * @throws Error when a peer's results are not ours
 */
export async function timeOp(
  op: string,
  opCase: OpCase,
  { repeats, withTfjs = true, peers = [] }: OpTimingOptions,
): Promise<OpTiming> {
  const wall: MeasureOptions = { repeats, sampleSeconds: WALL_SAMPLE_SECONDS, budgetSeconds: BUDGET_SECONDS };
  const { flops = null, bytes = null } = opCase.bench ?? {};
  const plainTfjs = withTfjs ? opCase.bench?.plainTfjs : undefined;
  if (plainTfjs) await checkAgainstTfjs(op, opCase, plainTfjs);
  const rotation = rotatedOperands(opCase);
  const copies = rotation.operands.length;
  let turn = 0;
  const timeWall = (run: (operands: Operands) => void) =>
    measure((times) => queuedSeconds(() => run(rotation.operands[turn++ % copies]), times), wall);
  try {
    // The first calls upload the operands and compile the pipelines, which a plan needs done.
    const forward = await timeWall((operands) => void opCase.run(operands));
    const kernels = await timeKernels(opCase, rotation, {
      ...wall,
      sampleSeconds: KERNEL_SAMPLE_SECONDS,
      isWarm: true,
    });
    const isQuick = forward.seconds <= LONGEST_FORWARD_SECONDS;
    const backward = isQuick ? backwardRun(opCase, rotation.operands[0]) : null;
    const forwardBackward = backward && await timeWall(backward.run);
    backward?.dy.dispose();
    const plainForward = plainTfjs ? await timeWall((operands) => void plainTfjs(operands)) : null;
    const peerTimings: Record<string, Timing> = {};
    for (const peer of peers) {
      const run = await peer.prepare(op, opCase, copies);
      if (!run) continue;
      peerTimings[peer.name] = await measure((times) => run.seconds(times), wall);
      run.dispose();
    }
    const timed = { kernels, forward, forwardBackward, plainForward, peers: peerTimings };
    return { op, name: opCase.name, ...timed, flops, bytes, copies, rotatedBytes: rotation.bytes };
  } finally {
    disposeRotation(rotation);
    trimPool();
  }
}
