/** Writes kernels down instead of running them: what gpu/plan.ts replays. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import {
  type BufferPool,
  modes,
  type PlanMark,
  type PlannedBuffer,
  type RecordedDispatch,
  type RecordingMode,
  type TensorRecord,
  tfjsBackend,
} from "./backend.ts";
import { isSoftwareDevice } from "./device_facts.ts";
import { type Rest, shareSlotsApart } from "./lifetimes.ts";
import { flush } from "./queue.ts";
import { sameShaped, tensorsOf } from "./tensor_tree.ts";

/** Memory of a recorded plan's own tensors, as slots of an arena. */
export interface PlanMemory {
  /** Bytes of each slot, falling. */
  sizes: number[];
  /** Gives every tensor of the plan the buffer of its slot. */
  place(bufferOf: (slot: number) => GPUBuffer): void;
}

/** What a recording leaves behind. */
export interface Recording<Inputs, Outputs> {
  dispatches: RecordedDispatch[];
  /** In their order. */
  marks: PlanMark[];
  /** Tensors in the places of those given, to be written before each replay. */
  inputs: Inputs;
  /** What `build` returned; its tensors live until dispose(). */
  outputs: Outputs;
  memory: PlanMemory;
  /** Forgets the CPU copies that tfjs holds of the tensors that the recorded kernels write. */
  invalidateWritten(): void;
  dispose(): void;
}

/** How to leave the recording that is under way for a moment, and come back; null outside of one. */
let pause: (() => () => void) | null = null;

/**
 * Runs `body` at once, also while a plan is being recorded: what it makes is there before the first replay, belongs to
 * no plan, and is read by any.
 */
export function beforePlan<R>(body: () => R): R {
  const resume = pause?.();
  try {
    return body();
  } finally {
    resume?.();
  }
}

/**
 * Dispatches after its last use until a buffer is written again: Dawn waits for all that was queued where a kernel
 * writes what one before it reads, so that neighbours which could run side by side would run in turn. A software GPU
 * runs them in turn anyway, and has the buffer in its cache.
 */
const REST: Rest = { dispatches: 4, share: 1 / 8, bytes: 2 ** 26 };
const NO_REST: Rest = { ...REST, dispatches: 0 };

/** A buffer that is none yet. tfjs asks whether it is a GPUBuffer; own properties hide those of the prototype. */
function plannedBuffer(size: number, usage: number): PlannedBuffer {
  const values = { size, usage, first: Infinity, last: -Infinity, actual: null };
  const buffer = Object.create(GPUBuffer.prototype);
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(buffer, name, { value, writable: true });
  }
  return buffer;
}

/** Hands out buffers that are none yet, for tfjs in the place of its own pool. */
function planningPool(): BufferPool {
  return {
    acquireBuffer: plannedBuffer,
    releaseBuffer() {},
    dispose() {},
    freeBuffers: new Map(),
    numFreeBuffers: 0,
    numBytesUsed: 0,
    numBytesAllocated: 0,
  };
}

/** Notes how long every tensor lives. @param records of the tensors that are there before, and after */
function noteLifetimes(
  dispatches: readonly RecordedDispatch[],
  inputs: readonly TensorRecord[],
  made: RecordingMode["made"],
): void {
  dispatches.forEach(({ bound }, d) => {
    for (const { planned } of bound) {
      if (!planned) continue;
      planned.first = Math.min(planned.first, d);
      planned.last = Math.max(planned.last, d);
    }
  });
  for (const [planned, record] of made) {
    if (inputs.includes(record)) [planned.first, planned.last] = [-1, Math.max(planned.last, -1)];
    else if (record.resource) {
      [planned.first, planned.last] = [Math.min(planned.first, dispatches.length), Infinity];
    }
  }
}

function planMemory(made: RecordingMode["made"]): PlanMemory {
  const used = [...made].filter(([{ last }]) => last >= -1);
  const lifetimes = used.map(([{ size, first, last }]) => ({ sizeBytes: size, first, last }));
  const { slotOf, sizes } = shareSlotsApart(lifetimes, isSoftwareDevice() ? NO_REST : REST);
  return {
    sizes,
    place(bufferOf) {
      used.forEach(([planned, record], i) => {
        planned.actual = bufferOf(slotOf[i]);
        if (record.resource) record.resource = planned.actual;
      });
    },
  };
}

/** Marks the place that a recording has come to; does nothing outside of one. */
export function markPlace(number: number): void {
  const { recording } = modes;
  recording?.marks.push({ after: recording.dispatches.length, number });
}

/**
 * Runs `build` with kernels recorded instead of executed. Tensors made meanwhile have no memory yet: when all is
 * written down, those that do not live at the same time are given the same. So the buffers hold nothing between
 * replays, but for what `build` returns or keeps. A stock tfjs op inside is an error: it could not be replayed.
 * @param given `build` gets tensors of the shapes of these
 */
export function recordKernels<Inputs, Outputs>(
  given: Inputs,
  build: (inputs: Inputs) => Outputs,
): Recording<Inputs, Outputs> {
  if (modes.recording) throw new Error("Cannot record a plan inside another plan");
  const backend = tfjsBackend();
  const shared = backend.bufferManager;
  const stockPath = backend.recordAndSubmit;
  const pool = planningPool();
  const recording: RecordingMode = { dispatches: [], written: new Set(), made: new Map(), marks: [] };
  const leave = () => {
    flush(); // buffers that were freed meanwhile go back to the pool that they came from
    modes.recording = null;
    backend.bufferManager = shared;
    backend.recordAndSubmit = stockPath;
    pause = null;
    return enter;
  };
  const enter = () => {
    flush();
    modes.recording = recording;
    backend.bufferManager = pool;
    backend.recordAndSubmit = () => {
      throw new Error("Cannot record a stock tfjs op in a plan: use one of our ops");
    };
    pause = leave;
  };
  enter();
  const recordsOf = (tensors: readonly Tensor[]) =>
    tensors.map(({ dataId }) => backend.tensorMap.get(dataId));
  let inputs: Inputs | undefined;
  try {
    inputs = inputsLike(given);
    const outputs = tf.tidy(() => {
      const built = build(inputs!);
      tensorsOf(built).forEach(tf.keep);
      return built as tf.TensorContainer;
    }) as Outputs;
    const { dispatches, written, made, marks } = recording;
    noteLifetimes(dispatches, recordsOf(tensorsOf(inputs)), made);
    for (const record of made.values()) record.external = true;
    return {
      dispatches,
      marks,
      inputs,
      outputs,
      memory: planMemory(made),
      invalidateWritten: () => written.forEach((record) => record.values = null),
      dispose: () => tf.dispose([...tensorsOf(inputs), ...tensorsOf(outputs)]),
    };
  } catch (error) {
    tf.dispose(tensorsOf(inputs));
    throw error;
  } finally {
    leave();
  }
}

/** Tensors for what is written before each replay: they begin as that, in no trial mode. */
function inputsLike<Inputs>(given: Inputs): Inputs {
  const { begin } = modes;
  modes.begin = null;
  try {
    const inputs = sameShaped(given);
    tensorsOf(inputs).forEach(tf.keep);
    return inputs;
  } finally {
    modes.begin = begin;
  }
}
