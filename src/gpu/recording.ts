/** Writes kernels down instead of running them: what gpu/plan.ts replays. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import {
  type Backend,
  type BufferPool,
  modes,
  type RecordedDispatch,
  type TensorRecord,
  tfjsBackend,
} from "./backend.ts";
import { flush } from "./queue.ts";
import { tensorsOf } from "./tensor_tree.ts";

/** What a recording leaves behind: the calls, and the private pool that owns every buffer they made. */
export interface Recording<Outputs> {
  dispatches: RecordedDispatch[];
  /** What `build` returned; its tensors live until dispose(). */
  outputs: Outputs;
  /** Forgets the CPU copies that tfjs holds of the tensors that the recorded kernels write. */
  invalidateWritten(): void;
  /** Bytes of the buffers made. */
  sizeBytes: number;
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
 * Runs `build` with kernels recorded instead of executed. Buffers made meanwhile come from a private pool, so that
 * nothing else can be given them between replays; inside the recording they are reused freely, because replays keep
 * the order. A stock tfjs op inside is an error: it could not be replayed.
 */
export function recordKernels<Outputs>(build: () => Outputs): Recording<Outputs> {
  if (modes.recording) throw new Error("Cannot record a plan inside another plan");
  const backend = tfjsBackend();
  const shared = backend.bufferManager;
  const PoolClass = shared.constructor as new (device: GPUDevice) => BufferPool;
  const pool = new PoolClass(backend.device);
  const stockPath = backend.recordAndSubmit;
  const made = { dispatches: [] as RecordedDispatch[], written: new Set<TensorRecord>() };
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
    modes.recording = made;
    backend.bufferManager = pool;
    backend.recordAndSubmit = () => {
      throw new Error("Cannot record a stock tfjs op in a plan: use one of our ops");
    };
    pause = leave;
  };
  enter();
  try {
    const outputs = tf.tidy(() => {
      const built = build();
      tensorsOf(built).forEach(tf.keep);
      return built as tf.TensorContainer;
    }) as Outputs;
    return {
      dispatches: made.dispatches,
      outputs,
      invalidateWritten: () => made.written.forEach((record) => record.values = null),
      sizeBytes: pool.numBytesAllocated,
      dispose: () => disposeWithPool(backend, pool, tensorsOf(outputs)),
    };
  } catch (error) {
    pool.dispose();
    throw error;
  } finally {
    leave();
  }
}

/** Frees tensors whose buffers came from a private pool, and the pool. */
function disposeWithPool(backend: Backend, pool: BufferPool, tensors: Tensor[]): void {
  flush(); // or tfjs would free them later, into the shared pool
  const shared = backend.bufferManager;
  backend.bufferManager = pool;
  tf.dispose(tensors);
  backend.bufferManager = shared;
  pool.dispose();
}
