/** A recorded sequence of kernels over fixed tensors, replayed without building anything again. */
import * as tf from "@tensorflow/tfjs";
import { type Arena, bufferMoves, createArena } from "./arena.ts";
import { modes, type RecordedBinding, type RecordedDispatch, tfjsBackend } from "./backend.ts";
import { assertGpuHealthy, kernelText, noteWork } from "./failure.ts";
import { compileKernels } from "./kernel.ts";
import { sumOf } from "./lifetimes.ts";
import { flush } from "./queue.ts";
import { recordKernels } from "./recording.ts";

export interface Plan {
  /** What a replay runs, in order. */
  readonly dispatches: readonly RecordedDispatch[];
  /** GPU memory that the plan's own tensors need, in an arena that other plans may share. */
  readonly sizeBytes: number;
  /** Compiles its kernels side by side, where a replay would one after the other. */
  compile(): Promise<void>;
  /** Queues the whole sequence `times` times, in order, after everything queued before. */
  replay(times?: number, timestampWrites?: GPUComputePassTimestampWrites): void;
  /** As replay() once, in parts: each time one is queued up to a mark, the mark's number. */
  replayParts(): Iterable<number>;
  /** Frees what the plan holds. Tensors that the caller made stay the caller's. */
  dispose(): void;
}

export interface RecordedPlan<Inputs, Outputs> extends Plan {
  /** Tensors in the places of those given, to be written after prepare() and before a replay. */
  readonly inputs: Inputs;
  /**
   * What `build` returned; each replay writes it anew. The tensors are the plan's own, and gone with it. Other plans
   * of the same arena write over what they hold.
   */
  readonly outputs: Outputs;
  /** Gives the plan's tensors their memory, which may have moved. A replay does so too. */
  prepare(): void;
}

interface PlanOptions<Inputs> {
  /** Tensors of the shapes of those that are written before each replay. */
  inputs?: Inputs;
  /** Where the plan's own tensors lie; in one of its own unless given. */
  arena?: Arena;
}

/**
 * Records the kernels that `build` runs. `build` may only use our ops, and reads and writes tensors that exist
 * before the call and outlive the plan. What changes from replay to replay (position, tokens) lives in such tensors,
 * or in the inputs.
 */
export function recordPlan<Outputs, Inputs = null>(
  build: (inputs: Inputs) => Outputs,
  { inputs: given = null as Inputs, arena = createArena() }: PlanOptions<Inputs> = {},
): RecordedPlan<Inputs, Outputs> {
  if (modes.replaysAfresh) return unrecorded(given, build);
  const { marks, inputs, outputs, memory, invalidateWritten, dispose, ...recorded } = recordKernels(
    given,
    build,
  );
  const { dispatches } = recorded;
  arena.enter();
  const calls = dispatches.map((dispatch): BoundCall => ({
    dispatch,
    buffers: [],
    pipeline: null,
    bindGroup: null,
  }));
  let [placedAt, boundAt] = [-1, -1];
  const prepare = () => {
    if (placedAt === bufferMoves()) return;
    arena.fit(memory.sizes);
    memory.place(arena.buffer);
    placedAt = bufferMoves();
  };
  prepare();
  /** @returns whether there is something to encode */
  const begin = () => {
    assertGpuHealthy();
    flush();
    prepare();
    // A plan of a rehearsal has said what it takes; those who ask for its kernels get them each time.
    if (modes.rehearsing && !modes.profiling) return false;
    if (boundAt !== placedAt) calls.forEach(bind);
    boundAt = placedAt;
    invalidateWritten();
    return true;
  };
  return {
    inputs,
    outputs,
    dispatches,
    sizeBytes: sumOf(memory.sizes),
    compile: () => compileKernels(dispatches.map(({ call }) => call)),
    prepare,
    replay(times = 1, timestampWrites) {
      if (begin()) encode(calls, times, timestampWrites);
    },
    *replayParts() {
      let from = 0;
      for (const { after, number } of [...marks, { after: calls.length, number: null }]) {
        if (begin() && after > from) encode(calls.slice(from, after), 1, undefined);
        from = after;
        if (number !== null) yield number;
      }
    },
    dispose() {
      dispose();
      arena.leave();
    },
  };
}

/** A recorded dispatch with the buffers that its tensors have now. */
interface BoundCall {
  dispatch: RecordedDispatch;
  buffers: GPUBuffer[];
  pipeline: GPUComputePipeline | null;
  bindGroup: GPUBindGroup | null;
}

function bufferNow({ planned, record }: RecordedBinding): GPUBuffer {
  const buffer = planned ? planned.actual : record.resource;
  if (buffer) return buffer;
  throw new Error("Cannot replay a plan: a tensor that it was recorded over is gone; record it again");
}

/** Binds a call to the buffers that its tensors have now, where these are others than before. */
function bind(call: BoundCall): void {
  const { bound, uniform, compiled } = call.dispatch;
  const buffers = bound.map(bufferNow);
  if (call.bindGroup && buffers.every((buffer, i) => buffer === call.buffers[i])) return;
  const entries: GPUBindGroupEntry[] = bound.map(({ binding, record, offset, size }, i) => {
    const all = record.shape.reduce((product, n) => product * n, 4);
    return { binding, resource: { buffer: buffers[i], offset, size: size ?? all - offset } };
  });
  if (uniform) entries.push(uniform);
  call.buffers = buffers;
  call.pipeline = compiled.pipeline;
  call.bindGroup = tfjsBackend().device.createBindGroup({ layout: compiled.layout, entries });
}

/** A replay in words. */
function planText(calls: readonly BoundCall[]): string {
  const textOf = ({ dispatch: { kernel, bound } }: BoundCall) =>
    kernelText(kernel, bound.map(({ record }) => record.shape));
  const ends = [calls[0], calls[calls.length - 1]].filter(Boolean).map(textOf);
  return `a plan of ${calls.length} kernels, ${ends.join(" to ")}`;
}

/** Dispatches that are handed to the GPU at once: it begins with them while JavaScript encodes the next. */
const DISPATCHES_PER_SUBMIT = 1024;

/** Encodes calls and submits them. @param timestampWrites for all of them, which are then one pass */
function encode(
  calls: readonly BoundCall[],
  times: number,
  timestampWrites: GPUComputePassTimestampWrites | undefined,
): void {
  noteWork(() => planText(calls));
  const { device } = tfjsBackend();
  const most = timestampWrites ? Infinity : DISPATCHES_PER_SUBMIT;
  const { profiling } = modes;
  let encoder = device.createCommandEncoder();
  let pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
  let current: GPUComputePipeline | null = null;
  let encoded = 0;
  for (let round = 0; round < times; round++) {
    for (const { dispatch, pipeline, bindGroup } of calls) {
      if (encoded++ === most) {
        pass.end();
        device.queue.submit([encoder.finish()]);
        encoder = device.createCommandEncoder();
        pass = encoder.beginComputePass();
        [encoded, current] = [1, null];
      }
      if (profiling) {
        pass.end();
        pass = profiling.beginPass(encoder, dispatch);
        current = null;
      }
      if (pipeline !== current) pass.setPipeline((current = pipeline)!);
      pass.setBindGroup(0, bindGroup);
      const { workgroups } = dispatch;
      pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
    }
  }
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** The same kernels in the same order, without a recording, for what writes into tensors of the caller's. */
function unrecorded<Inputs, Outputs>(
  inputs: Inputs,
  build: (inputs: Inputs) => Outputs,
): RecordedPlan<Inputs, Outputs> {
  return {
    inputs,
    outputs: undefined as Outputs,
    dispatches: [],
    sizeBytes: 0,
    compile: () => Promise.resolve(),
    prepare() {},
    replay(times = 1) {
      for (let round = 0; round < times; round++) tf.tidy(() => void build(inputs));
      flush();
    },
    replayParts() {
      this.replay();
      return [];
    },
    dispose() {},
  };
}
