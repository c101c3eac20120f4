/** Sums by which copies of a tensor are told apart without reading them back: 4 bytes for 32 KB. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { deviceFact, hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";

const WORD_BYTES = 4;
/** Words that a workgroup sums: 32 KB. */
const SUMMED_WORDS = 8192;
const lanes = deviceFact(() => hasNarrowSubgroups() ? 8 : 256);

/**
 * Sums of a tensor's words, mixed with their places; kernels/weight/word_sums.wgsl has the formula.
 * @param tensor of any shape and type
 * @returns i32 [ceil(words / 8192)], the caller's
 */
export function wordSums(tensor: TensorInfo): TensorInfo {
  const count = tensor.shape.reduce((product, n) => product * n, 1);
  const sums = newTensor([Math.ceil(count / SUMMED_WORDS)], "int32");
  for (const window of windowsOf(count, WORD_BYTES, SUMMED_WORDS)) {
    const parts = Math.ceil(window.count / SUMMED_WORDS);
    runKernel({
      kernel: "word_sums",
      constants: { WG: lanes(), SPAN: SUMMED_WORDS },
      bindings: { words: bindWindow(tensor, WORD_BYTES, window), sums },
      params: { count: window.count, parts, first: window.first },
      workgroups: foldGrid(parts),
    });
  }
  return sums;
}

function mix(word: number, place: number): number {
  let bits = word ^ Math.imul(place + 1, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

/** The kernel's twin: of the words of an array. @returns i32 sums of its parts */
export function wordSumsU32(words: Int32Array): Int32Array {
  const sums = new Int32Array(Math.ceil(words.length / SUMMED_WORDS));
  words.forEach((word, i) => sums[Math.floor(i / SUMMED_WORDS)] += mix(word, i));
  return sums;
}
