/**
 * Runs our kernels on tfjs tensors: in tfjs's queue order, on tfjs's buffers, without copies.
 */
import { type Backend, type DispatchLabel, modes, tfjsBackend } from "./backend.ts";
import { assertGpuHealthy } from "./device.ts";
import { bindingLimit } from "./device_facts.ts";
import { type KernelConstants, kernelPipeline } from "./kernel.ts";
import { flush } from "./queue.ts";
import { type Binding, byteSize, gpuBuffer } from "./tensors.ts";

export interface KernelCall {
  /** File name in kernels/ without .wgsl. */
  kernel: string;
  constants?: KernelConstants;
  /** In @binding order of group 0; the uniform, when there is one, comes after them. */
  bindings: Binding[];
  /** Fields of the uniform struct, in order, each made with u32(), i32() or f32(). */
  params?: number[];
  workgroups: [number, number, number];
}

/** Dispatches gathered in one submit. Larger batches save submits but free memory later. */
const DISPATCHES_PER_SUBMIT = 24;
const UNIFORM_CACHE_ENTRIES = 4096;
const UNIFORM_USAGE = 0x40 | 0x08; // UNIFORM | COPY_DST

const uniforms = new WeakMap<GPUDevice, Map<string, GPUBuffer>>();
const floatBits = new Float32Array(1);
const wordBits = new Uint32Array(floatBits.buffer);

export const u32 = (value: number): number => value >>> 0;
export const i32 = (value: number): number => value >>> 0;
export function f32(value: number): number {
  floatBits[0] = value;
  return wordBits[0];
}

function storageEntry(
  backend: Backend,
  call: KernelCall,
  binding: Binding,
  index: number,
): GPUBindGroupEntry {
  const buffer = gpuBuffer(backend, binding);
  const offset = binding.offsetBytes ?? 0;
  const size = binding.sizeBytes ?? (modes.guardWords > 0 ? buffer.size : byteSize(binding.tensor)) - offset;
  const limit = bindingLimit();
  if (size > limit) {
    throw new RangeError(
      `Cannot run ${call.kernel}: binding ${index} of shape [${binding.tensor.shape}] needs ${size} bytes, this GPU binds at most ` +
        `${limit}; use a smaller batch, length or chunk`,
    );
  }
  return { binding: index, resource: { buffer, offset, size } };
}

/** Uniforms are cached by content: the same shapes come back every step, and an immutable buffer needs no write. */
function uniformBuffer(backend: Backend, params: number[]): GPUBuffer {
  let cache = uniforms.get(backend.device);
  if (!cache) uniforms.set(backend.device, cache = new Map());
  const key = params.join();
  let buffer = cache.get(key);
  if (buffer) return buffer;
  if (cache.size >= UNIFORM_CACHE_ENTRIES) cache.delete(cache.keys().next().value!);
  const words = new Uint32Array(Math.ceil(params.length / 4) * 4);
  words.set(params);
  buffer = backend.device.createBuffer({ size: words.byteLength, usage: UNIFORM_USAGE });
  backend.queue.writeBuffer(buffer, 0, words);
  cache.set(key, buffer);
  return buffer;
}

function labelOf(kernel: string, entries: readonly GPUBindGroupEntry[]): DispatchLabel {
  const sizes = entries.map(({ resource }) => (resource as GPUBufferBinding).size ?? 0);
  return { kernel, boundBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/**
 * Queues one kernel (or, while a plan is being recorded, only records it).
 * @throws RangeError when a tensor is over the device's binding limit.
 * @throws Error when the device has failed.
 */
export function runKernel(call: KernelCall): void {
  assertGpuHealthy();
  const backend = tfjsBackend();
  const pipeline = kernelPipeline(backend.device, call.kernel, call.constants);
  const entries = call.bindings.map((binding, index) => storageEntry(backend, call, binding, index));
  if (call.params) {
    entries.push({ binding: entries.length, resource: { buffer: uniformBuffer(backend, call.params) } });
  }
  const bindGroup = backend.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  if (modes.recording) {
    modes.recording.dispatches.push({
      ...labelOf(call.kernel, entries),
      pipeline,
      bindGroup,
      workgroups: call.workgroups,
    });
    return;
  }
  for (const { tensor } of call.bindings) backend.commandQueueOwnedIds.add(tensor.dataId);
  backend.ensureCommandEncoderReady();
  if (modes.profiling) {
    backend.endComputePassEncoder();
    const label = labelOf(call.kernel, entries);
    backend.computePassEncoder = modes.profiling.beginPass(backend.commandEncoder!, label);
  }
  const pass = backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...call.workgroups);
  if (++backend.dispatchCountInPass >= DISPATCHES_PER_SUBMIT) flush();
}
