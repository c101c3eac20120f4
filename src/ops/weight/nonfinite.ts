/** Finds values of weights that are no numbers, without reading the weights back: 8 bytes for 32 KB. */
import * as tf from "@tensorflow/tfjs";
import type { TensorInfo } from "@tensorflow/tfjs";
import { deviceFact, hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor, readTensor } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { FORMAT_CODE, type Weight } from "./weight.ts";

const WORD_BYTES = 4;
/** Words that a workgroup looks through: 32 KB. */
const SPAN = 8192;
const lanes = deviceFact(() => hasNarrowSubgroups() ? 8 : 256);

type LookedAt = Pick<Weight, "tensor" | "format">;

/** @returns i32 [ceil(words / 8192), 2] as kernels/weight/nonfinite.wgsl has it, the caller's */
export function nonfiniteParts({ tensor, format }: LookedAt): TensorInfo {
  const found = newTensor([Math.ceil(tensor.size / SPAN), 2], "int32");
  for (const window of windowsOf(tensor.size, WORD_BYTES, SPAN)) {
    const parts = Math.ceil(window.count / SPAN);
    runKernel({
      kernel: "nonfinite",
      constants: { WG: lanes(), SPAN, FORMAT: FORMAT_CODE[format] },
      bindings: { words: bindWindow(tensor, WORD_BYTES, window), found },
      params: { count: window.count, parts, first: window.first },
      workgroups: foldGrid(parts),
    });
  }
  return found;
}

/** Values of a weight that are infinite or no numbers. */
export interface Nonfinite<W> {
  weight: W;
  count: number;
  /** Place of the first of them among the weight's values. */
  first: number;
}

/** Those of the weights that hold such values. One read-back for all. */
export async function nonfiniteOf<W extends LookedAt>(weights: readonly W[]): Promise<Nonfinite<W>[]> {
  if (weights.length === 0) return [];
  const all = tf.tidy(() =>
    tf.concat(weights.map((weight) => tf.engine().makeTensorFromTensorInfo(nonfiniteParts(weight))))
  );
  const words = await readTensor(all).finally(() => all.dispose());
  const found: Nonfinite<W>[] = [];
  let at = 0;
  for (const weight of weights) {
    const end = at + 2 * Math.ceil(weight.tensor.size / SPAN);
    let count = 0;
    let first = Infinity;
    for (; at < end; at += 2) {
      if (words[at] === 0) continue;
      count += words[at];
      first = Math.min(first, words[at + 1] >>> 0);
    }
    if (count > 0) found.push({ weight, count, first });
  }
  return found;
}

/** The kernel's twin, of a weight's values. @param perWord values of a word @returns i32, two for each part */
export function nonfiniteF64(values: ArrayLike<number>, perWord: 1 | 2): Int32Array {
  const span = SPAN * perWord;
  const found = new Int32Array(2 * Math.ceil(values.length / span)).map((_, i) => i % 2 === 0 ? 0 : -1);
  for (let i = values.length - 1; i >= 0; i--) {
    if (Number.isFinite(values[i])) continue;
    const part = 2 * Math.floor(i / span);
    found[part]++;
    found[part + 1] = i;
  }
  return found;
}
