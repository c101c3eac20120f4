/**
 * Runs our kernels on tfjs tensors: in tfjs's queue order, on tfjs's buffers, without copies. A call names what the
 * kernel's own text declares; what is missing or unknown there is an error at the first call.
 */
import type { TensorInfo } from "@tensorflow/tfjs";
import {
  type Backend,
  type CalledDispatch,
  type DispatchLabel,
  modes,
  type PlannedBuffer,
  type RecordedBinding,
  type RecordingMode,
  tfjsBackend,
} from "./backend.ts";
import { bindingLimit } from "./device_facts.ts";
import { assertGpuHealthy, kernelText, noteWork } from "./failure.ts";
import { type KernelPipeline, kernelPipeline, type KernelVariant } from "./kernel.ts";
import { flush } from "./queue.ts";
import { type Binding, byteSize, gpuBuffer } from "./tensors.ts";

export interface KernelCall extends KernelVariant {
  /** A tensor, or a window of one, for each storage binding of the kernel, by name; undefined counts as left out. */
  bindings: Readonly<Record<string, TensorInfo | Binding | undefined>>;
  /** The fields of the kernel's `struct Params`, by name. */
  params?: Readonly<Record<string, number>>;
  workgroups: [number, number, number];
}

/** Dispatches gathered in one submit. Larger batches save submits but free memory later. */
const DISPATCHES_PER_SUBMIT = 24;
const UNIFORM_CACHE_ENTRIES = 2048;
const UNIFORM_USAGE = 0x40 | 0x08; // UNIFORM | COPY_DST

/** By their words: those of kernels that ran at once, and those that plans are bound to. */
interface UniformCache {
  called: Map<string, GPUBuffer>;
  recorded: Map<string, GPUBuffer>;
}

const uniforms = new WeakMap<GPUDevice, UniformCache>();

/** @throws Error when a call leaves out a name that a kernel declares, or gives one that it does not */
function checkNames(
  what: string,
  file: string,
  declared: readonly { name: string }[],
  given: Readonly<Record<string, unknown>>,
): void {
  const names = Object.keys(given).filter((name) => given[name] !== undefined);
  if (names.length === declared.length && declared.every(({ name }) => given[name] !== undefined)) return;
  const wanted = declared.map(({ name }) => name);
  const missing = wanted.filter((name) => !names.includes(name));
  const unknown = names.filter((name) => !wanted.includes(name));
  throw new Error(
    `Cannot run ${file}: its ${what} are ${wanted.join(", ") || "none"}; missing: ${
      missing.join(", ") || "none"
    }; ` +
      `unknown: ${unknown.join(", ") || "none"}`,
  );
}

const RANGES = { u32: [0, 2 ** 32 - 1], i32: [-(2 ** 31), 2 ** 31 - 1] } as const;

/**
 * The words of a kernel's uniform.
 * @throws RangeError when a value is not of the type that the kernel declares
 */
function paramWords({ file, params }: KernelPipeline, values: Readonly<Record<string, number>>): Uint32Array {
  const fields = params?.fields ?? [];
  checkNames("params", file, fields, values);
  const words = new Uint32Array(Math.ceil(fields.length / 4) * 4);
  const floats = new Float32Array(words.buffer);
  fields.forEach(({ name, type }, i) => {
    const value = values[name];
    if (type === "f32") {
      floats[i] = value;
      return;
    }
    const [least, most] = RANGES[type];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new RangeError(`Cannot run ${file}: the param ${name} is ${type}, got ${value}`);
    }
    words[i] = value;
  });
  return words;
}

const asBinding = (given: TensorInfo | Binding): Binding => "tensor" in given ? given : { tensor: given };

/** What a call binds to one of the kernel's storage bindings. */
interface BoundTensor {
  name: string;
  binding: number;
  tensor: TensorInfo;
  buffer: GPUBuffer;
  offset: number;
  /** undefined: all of the tensor. */
  part: number | undefined;
  sizeBytes: number;
}

function boundTensors(backend: Backend, { file, storage }: KernelPipeline, call: KernelCall): BoundTensor[] {
  checkNames("bindings", file, storage, call.bindings);
  return storage.map(({ name, binding, isWritten }) => {
    const { tensor, offsetBytes: offset = 0, sizeBytes: part } = asBinding(call.bindings[name]!);
    const buffer = gpuBuffer(backend, tensor, isWritten);
    const sizeBytes = part ?? (modes.guardWords > 0 ? buffer.size : byteSize(tensor)) - offset;
    const limit = bindingLimit();
    if (sizeBytes > limit) {
      throw new RangeError(
        `Cannot run ${file}: ${name} of shape [${tensor.shape}] needs ${sizeBytes} bytes, this GPU binds at most ` +
          `${limit}; use a smaller batch, length or chunk`,
      );
    }
    return { name, binding, tensor, buffer, offset, part, sizeBytes };
  });
}

function calledAs(
  { kernel, conditions = {}, constants = {}, params = {}, workgroups }: KernelCall,
  bound: readonly BoundTensor[],
): Pick<CalledDispatch, "call" | "workgroups"> {
  const bytes = Object.fromEntries(bound.map(({ name, sizeBytes }) => [name, sizeBytes]));
  return { call: { kernel, conditions, constants, params, bytes }, workgroups };
}

function recordedBinding(
  { tensorMap }: Backend,
  { made }: RecordingMode,
  { binding, tensor, buffer, offset, part, sizeBytes }: BoundTensor,
): RecordedBinding {
  const record = tensorMap.get(tensor.dataId);
  const planned = made.has(buffer as PlannedBuffer) ? buffer as PlannedBuffer : null;
  return { binding, record, planned, offset, size: modes.guardWords > 0 ? sizeBytes : part };
}

/**
 * Uniforms are cached by content: the same shapes come back every step, and an immutable buffer needs no write. Those
 * that change with each step (AdamW's) push others out, which are given back unless a plan may hold them.
 */
function uniformBuffer(backend: Backend, words: Uint32Array): GPUBuffer {
  let cache = uniforms.get(backend.device);
  if (!cache) uniforms.set(backend.device, cache = { called: new Map(), recorded: new Map() });
  const isRecorded = modes.recording !== null;
  const kept = isRecorded ? cache.recorded : cache.called;
  const key = words.join();
  const found = kept.get(key);
  if (found) return found;
  if (kept.size >= UNIFORM_CACHE_ENTRIES) {
    const [[oldest, unused]] = kept;
    kept.delete(oldest);
    if (!isRecorded) {
      flush(); // what is queued reads it
      unused.destroy();
    }
  }
  const buffer = backend.device.createBuffer({ size: words.byteLength, usage: UNIFORM_USAGE });
  backend.queue.writeBuffer(buffer, 0, words as Uint32Array<ArrayBuffer>);
  kept.set(key, buffer);
  return buffer;
}

/**
 * Queues one kernel (or, while a plan is being recorded, only records it).
 * @throws RangeError when a tensor is over the device's binding limit, or a param is not of its type
 * @throws Error when the call does not fit the kernel's text
 * @throws GpuError when the device has failed
 */
export function runKernel(call: KernelCall): void {
  assertGpuHealthy();
  const backend = tfjsBackend();
  const compiled = kernelPipeline(backend.device, call);
  const { params } = compiled;
  const bound = boundTensors(backend, compiled, call);
  const words = paramWords(compiled, call.params ?? {});
  const uniform = params &&
    { binding: params.binding, resource: { buffer: uniformBuffer(backend, words) } };
  const boundBytes = bound.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const label: DispatchLabel = { kernel: compiled.name, boundBytes };
  if (modes.recording) {
    modes.recording.dispatches.push({
      ...label,
      ...calledAs(call, bound),
      compiled,
      bound: bound.map((each) => recordedBinding(backend, modes.recording!, each)),
      uniform,
    });
    return;
  }
  noteWork(() => kernelText(label.kernel, bound.map(({ tensor }) => tensor.shape)));
  const entries: GPUBindGroupEntry[] = bound.map(({ binding, buffer, offset, sizeBytes: size }) => {
    return { binding, resource: { buffer, offset, size } };
  });
  if (uniform) entries.push(uniform);
  const { pipeline, layout } = compiled;
  const bindGroup = backend.device.createBindGroup({ layout, entries });
  for (const { tensor } of bound) backend.commandQueueOwnedIds.add(tensor.dataId);
  backend.ensureCommandEncoderReady();
  if (modes.profiling) {
    backend.endComputePassEncoder();
    const called = { ...label, ...calledAs(call, bound) };
    backend.computePassEncoder = modes.profiling.beginPass(backend.commandEncoder!, called);
  }
  const pass = backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...call.workgroups);
  if (++backend.dispatchCountInPass >= DISPATCHES_PER_SUBMIT) flush();
}
