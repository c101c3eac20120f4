import { windowRanges, windowRangesF64 } from "../../../src/ops/attention/attention_window.ts";
import * as tf from "@tensorflow/tfjs";
import { type OpCase } from "../case.ts";
import { packedBounds, prefixRanges } from "./attention.ts";

/** Completions of prompts, and rows at the end that belong to neither. */
function windowCase(window: number, prompts: number[] | null, completions: number[][], spare = 0): OpCase {
  const bounds = packedBounds(completions.flat(), spare);
  const ranges = prompts && prefixRanges(prompts, completions, spare).ranges;
  const shape = [bounds.length / 2, 2];
  return {
    name: `attention_window of ${window} over [${completions.flat().join("+")}] after ${
      prompts ?? "nothing"
    }`,
    inputs: {
      bounds: { shape, values: bounds },
      ...ranges ? { ranges: { shape, values: ranges } } : {},
    },
    run: ({ tensors: { bounds, ranges } }) => {
      const { own, before, walk } = windowRanges(bounds, ranges ?? null, window);
      return [own, before, walk].flatMap((made) => made ? tf.engine().makeTensorFromTensorInfo(made) : []);
    },
    twin: ({ bounds, ranges }) => {
      const { own, before, walk } = windowRangesF64(bounds, ranges ?? null, window);
      return [own, before, walk].flatMap((made) => made ?? []);
    },
    tolerance: 0,
    toleranceReason: "integers",
    bench: { bytes: 8 * shape[0] * (ranges ? 5 : 2) },
  };
}

export const cases: OpCase[] = [
  windowCase(1, null, [[1]]),
  windowCase(2, null, [[5, 1, 17, 9]], 3),
  windowCase(16, null, [[129, 16]], 3),
  windowCase(2 ** 30, null, [[64, 1]]),
  windowCase(1, [3, 9], [[4, 2], [5]]),
  windowCase(7, [13, 0, 6, 9, 2], [[5, 1, 17], [4, 9], [3], [], [8]], 3),
  windowCase(20, [33, 20], [[70, 8], [60]]),
];
