/** The part of tfjs's WebGPU backend (4.22) that gpu/ relies on. Only the files here that import this touch it. */
import * as tf from "@tensorflow/tfjs";
import type { DataType, TensorInfo } from "@tensorflow/tfjs";

export interface TensorRecord {
  dtype: DataType;
  shape: number[];
  values: unknown;
  resource: GPUBuffer | null;
  /** The buffer is not the pool's: tfjs leaves it alone when the tensor is freed. */
  external?: boolean;
}

export interface BufferPool {
  acquireBuffer(sizeBytes: number, usage: number): GPUBuffer;
  releaseBuffer(buffer: GPUBuffer): void;
  dispose(): void;
  freeBuffers: Map<string, GPUBuffer[]>;
  numFreeBuffers: number;
  numBytesUsed: number;
  numBytesAllocated: number;
}

export interface Backend {
  device: GPUDevice;
  queue: GPUQueue;
  tensorMap: { get(id: object): TensorRecord; has(id: object): boolean };
  bufferManager: BufferPool;
  commandQueueOwnedIds: WeakSet<object>;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  uploadToGPU(id: object): void;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  incRef(id: object): void;
  disposeData(id: object, force?: boolean): boolean;
  recordAndSubmit(...args: unknown[]): void;
}

/** What a profile says of a dispatch. */
export interface DispatchLabel {
  /** Its name, and the conditions that hold. */
  kernel: string;
  /** Bytes of its bindings: what it can read and write at the most. */
  boundBytes: number;
}

/** A kernel's call without its buffers. */
export interface CallFacts {
  /** Name of the file below kernels/ without .wgsl. */
  kernel: string;
  conditions: Readonly<Record<string, boolean>>;
  constants: Readonly<Record<string, number>>;
  params: Readonly<Record<string, number>>;
  /** Bytes that it binds, by the name of the binding. */
  bytes: Readonly<Record<string, number>>;
}

/** Memory of a tensor that a recorded plan makes: a buffer's place, which gets a buffer when the plan is bound. */
export interface PlannedBuffer extends GPUBuffer {
  /** Of the dispatches that use it. */
  first: number;
  last: number;
  actual: GPUBuffer | null;
}

/** What a recorded dispatch binds: part of the buffer that a tensor has when the plan is bound. */
export interface RecordedBinding {
  binding: number;
  record: TensorRecord;
  /** null: the tensor is not the plan's own. */
  planned: PlannedBuffer | null;
  offset: number;
  /** undefined: all of the tensor. */
  size: number | undefined;
}

/** A kernel's call, recorded or about to run: what profiles and predictions go by. */
export interface CalledDispatch extends DispatchLabel {
  workgroups: [number, number, number];
  /** How it was called, for those who reckon what it costs. */
  call: CallFacts;
}

/** One recorded kernel call: all that a replay needs. */
export interface RecordedDispatch extends CalledDispatch {
  compiled: { pipeline: GPUComputePipeline; layout: GPUBindGroupLayout };
  bound: RecordedBinding[];
  uniform: GPUBindGroupEntry | null;
}

/** A recording on its way. */
export interface RecordingMode {
  dispatches: RecordedDispatch[];
  /** Of the tensors that kernels write. */
  written: Set<TensorRecord>;
  /** Of the tensors that are made meanwhile. */
  made: Map<PlannedBuffer, TensorRecord>;
  marks: PlanMark[];
}

/** A place in a recorded plan where whoever replays it may do something. */
export interface PlanMark {
  /** Dispatches before it. */
  after: number;
  /** What it was called. */
  number: number;
}

export const STORAGE_USAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST

/** The facts of an adapter by which kernels are chosen. */
export interface StatedAdapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** Deno does not tell these two: undefined counts as wide. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
}

export const GUARD_BITS = 0x7fa0beef; // a NaN nobody computes

/** How kernels and tensors are treated for the moment; each mode's own file sets and clears it. */
export const modes = {
  /** Kernels are written down, not run (recording.ts). */
  recording: null as RecordingMode | null,
  /** The device only counts (rehearsal.ts). */
  rehearsing: false,
  /** Every dispatch goes into a timed pass of its own (profile.ts). */
  profiling: null as {
    beginPass(encoder: GPUCommandEncoder, dispatch: CalledDispatch): GPUComputePassEncoder;
  } | null,
  /** A backward pass frees what it has used (op.ts). */
  freesGradients: false,
  /** Words of GUARD_BITS behind every new tensor (trial_modes.ts). */
  guardWords: 0,
  /** Gives a new tensor the contents that it begins with (trial_modes.ts). */
  begin: null as ((tensor: TensorInfo) => void) | null,
  /** The plain kernels also where the device has better ones (trial_modes.ts). */
  plainKernels: false,
  /** What the adapter is taken for, whatever it is (trial_modes.ts). */
  statedAdapter: null as StatedAdapter | null,
  /** Workgroups that a grid takes in one dimension: WebGPU's limit, or less (trial_modes.ts). */
  foldLimit: 65535,
  /** Plans queue their kernels afresh each time (trial_modes.ts). */
  replaysAfresh: false,
  /** Bytes that one binding takes at the most, where that is below the device's limit (trial_modes.ts). */
  bindingLimit: Infinity,
  /** What products of linear layers round their inputs to (precision.ts). */
  matmulPrecision: "float32" as "float32" | "float16",
  /** Width of the matrices that kernels are made for, where not the device's (trial_modes.ts). */
  matrixUnit: null as 16 | 8 | null,
};

export function tfjsBackend(): Backend {
  return tf.backend() as unknown as Backend;
}
