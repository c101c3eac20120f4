import * as tf from "@tensorflow/tfjs";
import { disposeInfo } from "../../../src/gpu/tensors.ts";
import { withGpuLanes } from "../../../src/gpu/trial_modes.ts";
import {
  loraLowF64,
  loraShrinkF64,
  runHalvesShrink,
  runLoraLow,
  runLoraPull,
  runLoraShrink,
} from "../../../src/ops/linear/lora_shrink.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";
import { halfWordsF64 } from "./halves.ts";
import { joinColumns } from "./linear.ts";

/** The parts of all matrices side by side, then the sum of each. */
function loraShrinkCase(M: number, K: number, ranks: number[], format: WeightFormat = "f32"): OpCase {
  const inputs: OpCase["inputs"] = { x: uniform(1, [M, K]) };
  ranks.forEach((N, i) => inputs[`a${i}`] = uniformWeight(2 + i, [N, K], format));
  const count = Math.ceil(K / 256);
  const tensorOf = (info: tf.TensorInfo) => tf.engine().makeTensorFromTensorInfo(info);
  return {
    name: `lora_shrink ${M}x${K}x(${ranks}) ${format}`,
    inputs,
    run: ({ tensors, weights }) => {
      const parts = runLoraShrink(tensors.x, ranks.map((_, i) => weights[`a${i}`]));
      const lows = ranks.map((rank, i) => tensorOf(runLoraLow(parts, parts.firsts[i], rank)));
      return [tensorOf(parts.tensor), ...lows];
    },
    twin: (arrays) => {
      const made = ranks.map((N, i) => loraShrinkF64(arrays.x, arrays[`a${i}`], { M, K, N }));
      return [joinColumns(made, ranks, count * M), ...made.map((parts) => loraLowF64(parts, count))];
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 256 terms, and of the parts",
    bench: { flops: 2 * M * K * ranks.reduce((sum, rank) => sum + rank, 0) },
  };
}

/** Of the dispatch that makes halves beside the parts, as GPUs run it: the parts, or the halves' words and shifts. */
function halvesShrinkCase(M: number, K: number, ranks: number[], made: "parts" | "halves"): OpCase {
  const inputs: OpCase["inputs"] = { x: uniform(1, [M, K], 1000) };
  ranks.forEach((N, i) => inputs[`a${i}`] = uniformWeight(2 + i, [N, K]));
  const count = Math.ceil(K / 256);
  return {
    name: `lora_shrink ${M}x${K}x(${ranks}), ${made} of one dispatch`,
    inputs,
    run: ({ tensors, weights }) => {
      const matrices = ranks.map((_, i) => weights[`a${i}`]);
      const { halves, parts } = withGpuLanes(() => runHalvesShrink(tensors.x, matrices));
      const [kept, spare] = [[halves.values, halves.shift], [parts.tensor]];
      (made === "halves" ? spare : kept).forEach(disposeInfo);
      return (made === "halves" ? kept : spare).map((info) => tf.engine().makeTensorFromTensorInfo(info));
    },
    twin: (arrays) => {
      if (made === "halves") return halfWordsF64(arrays.x, [M, K, K]);
      return [
        joinColumns(
          ranks.map((N, i) => loraShrinkF64(arrays.x, arrays[`a${i}`], { M, K, N })),
          ranks,
          count * M,
        ),
      ];
    },
    tolerance: made === "halves" ? 0 : 1e-5,
    toleranceReason: made === "halves" ? "rounding is exact" : "f32 sums of up to 256 terms",
  };
}

/** What B passes back to the ranks; with `onGpu`, as GPUs run it. */
function loraPullCase(M: number, N: number, rank: number, format: WeightFormat, onGpu: boolean): OpCase {
  const scale = 1.75;
  return {
    name: `lora_shrink, back from ${M}x${N} to ${rank} ranks in ${format}${onGpu ? ", in tiles" : ""}`,
    inputs: { dy: uniform(1, [M, N]), b: uniformWeight(2, [N, rank], format) },
    run: ({ tensors, weights }) => {
      const run = () => runLoraPull(tensors.dy, weights.b, scale);
      return [tf.engine().makeTensorFromTensorInfo(onGpu ? withGpuLanes(run) : run())];
    },
    twin: ({ dy, b }) => {
      const a = Float64Array.from({ length: b.length }, (_, i) => b[i % N * rank + Math.floor(i / N)]);
      const parts = loraShrinkF64(dy, a, { M, K: N, N: rank });
      return [loraLowF64(parts, Math.ceil(N / 256)).map((sum) => scale * sum)];
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 256 terms, and of the parts",
  };
}

export const cases: OpCase[] = [
  loraShrinkCase(1, 1, [1]),
  loraShrinkCase(1, 255, [3]),
  loraShrinkCase(5, 257, [4, 1]),
  loraShrinkCase(17, 1028, [16, 5, 18]),
  loraShrinkCase(66, 516, [16, 16], "bf16"),
  loraShrinkCase(65, 520, [8], "f16"),
  loraShrinkCase(3, 522, [8, 2, 3], "bf16"),
  loraShrinkCase(12, 64, [8, 9, 7]), // three workgroups of a CPU
  loraPullCase(5, 257, 4, "f32", false),
  loraPullCase(17, 516, 18, "bf16", false),
  loraPullCase(1, 3, 2, "f16", false),
  loraPullCase(12, 64, 23, "f32", false), // three workgroups of a CPU
  loraPullCase(70, 516, 17, "f32", true),
  loraPullCase(33, 1028, 18, "bf16", true),
  halvesShrinkCase(5, 300, [4, 17], "parts"),
  halvesShrinkCase(70, 516, [16, 3, 2], "parts"),
  halvesShrinkCase(33, 1300, [5], "halves"),
];
