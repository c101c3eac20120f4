/** Ways to run kernels that only tests and benchmarks need. */
import type { Tensor } from "@tensorflow/tfjs";
import { GUARD_BITS, modes } from "./backend.ts";
import { readTensor } from "./bridge.ts";

/**
 * Runs `body` with guard words behind every tensor made in it, which `readGuarded` looks at.
 */
export function withGuardWords<R>(words: number, body: () => R): R {
  modes.guardWords = words;
  try {
    return body();
  } finally {
    modes.guardWords = 0;
  }
}

/** Reads a tensor made under withGuardWords: its values, and whether the words after them are untouched. */
export async function readGuarded(
  tensor: Tensor,
): Promise<{ values: Float32Array | Int32Array; intact: boolean }> {
  const all = await readTensor(tensor);
  const words = new Uint32Array(all.buffer, all.byteOffset, all.length);
  const intact = words.subarray(tensor.size).every((word) => word === GUARD_BITS);
  return { values: all.subarray(0, tensor.size), intact };
}

/** Runs `body` with the plain kernels on a device that has better ones. */
export function withPlainKernels<R>(body: () => R): R {
  modes.plainKernels = true;
  try {
    return body();
  } finally {
    modes.plainKernels = false;
  }
}

/** Runs `body` as on a device that binds at most so many bytes of a buffer. */
export function withBindingLimit<R>(bytes: number, body: () => R): R {
  modes.bindingLimit = bytes;
  try {
    return body();
  } finally {
    modes.bindingLimit = Infinity;
  }
}

/** Runs `body` with linear layers on matrix units, also on a device that cannot: its kernels are made and not run. */
export function withFloat16Matmuls<R>(body: () => R): R {
  modes.matmulPrecision = "float16";
  try {
    return body();
  } finally {
    modes.matmulPrecision = "float32";
  }
}

/** Runs `body` with plans that record nothing: a replay queues every kernel as if it were called for the first time. */
export async function withoutReplay<R>(body: () => Promise<R>): Promise<R> {
  modes.replaysAfresh = true;
  try {
    return await body();
  } finally {
    modes.replaysAfresh = false;
  }
}
