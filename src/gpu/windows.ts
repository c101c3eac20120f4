/**
 * Windows: tensors larger than one binding, cut into runs of items (rows, elements) that a kernel takes one after the
 * other. A weight of a large model is such a tensor: a GPU may hold buffers of 4 GiB and bind 128 MiB of one.
 */
import type { TensorInfo } from "@tensorflow/tfjs";
import { bindingLimit } from "./device_facts.ts";
import { type Binding, byteSize } from "./tensors.ts";

/** Items `first` .. `first + count` of a tensor. */
export interface Window {
  first: number;
  count: number;
}

/** Windows begin at multiples of so many items: from 2 bytes an item on, offsets are then multiples of WebGPU's 256. */
const ALIGNED_ITEMS = 128;

/**
 * Cuts `count` items into windows that one binding takes: a single one wherever they fit.
 * @param itemBytes bytes of an item, in the largest of the tensors that are cut alike
 * @param step windows begin at multiples of it; a multiple of 128 for items of 2 bytes, of 64 for more
 */
export function windowsOf(count: number, itemBytes: number, step = ALIGNED_ITEMS): Window[] {
  const limit = bindingLimit();
  if (count * itemBytes <= limit) return [{ first: 0, count }];
  // Where not even one step fits, the bridge says so.
  const most = Math.max(step, Math.floor(limit / (itemBytes * step)) * step);
  const windows: Window[] = [];
  for (let first = 0; first < count; first += most) {
    windows.push({ first, count: Math.min(most, count - first) });
  }
  return windows;
}

/** Binds a window of a tensor whose items are `itemBytes` long; the whole tensor as any other. */
export function bindWindow(tensor: TensorInfo, itemBytes: number, { first, count }: Window): Binding {
  if (count * itemBytes === byteSize(tensor)) return { tensor };
  return { tensor, offsetBytes: first * itemBytes, sizeBytes: count * itemBytes };
}

/** The binding without its first bytes. */
export function bindFrom(binding: Binding, bytes: number): Binding {
  if (bytes === 0) return binding;
  const { offsetBytes = 0, sizeBytes } = binding;
  return {
    ...binding,
    offsetBytes: offsetBytes + bytes,
    sizeBytes: sizeBytes === undefined ? undefined : sizeBytes - bytes,
  };
}
