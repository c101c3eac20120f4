import * as tf from "@tensorflow/tfjs";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { shiftF64, weightShift } from "../../../src/ops/weight/weight_shift.ts";
import { type OpCase, uniformWeight } from "../case.ts";

/** A weight whose largest value is about 2^order and lies in the middle, at a row's end. */
function shiftCase(N: number, K: number, format: WeightFormat, order: number, benchOnly = false): OpCase {
  const input = uniformWeight(1, [N, K], format);
  const most = (N >> 1) * K + K - 1;
  const w = {
    shape: input.shape,
    weight: format,
    get values() {
      const scale = order === -Infinity ? 0 : 2 ** order;
      return Float64Array.from(input.values.map((value, i) => scale * (i === most ? -1.5 : value)));
    },
  };
  return {
    name: `weight_shift ${N}x${K} ${format}, largest 2^${order}`,
    inputs: { w },
    run: ({ weights }) => {
      const copy = tf.engine().makeTensorFromTensorInfo(weightShift(weights.w));
      return [copy.clone()];
    },
    twin: ({ w }) => [[shiftF64(w)]],
    tolerance: 0,
    toleranceReason: "exact",
    benchOnly,
    bench: { bytes: (format === "f32" ? 4 : 2) * N * K },
  };
}

export const cases: OpCase[] = [
  shiftCase(1, 4, "f32", 0),
  shiftCase(7, 8, "bf16", -20),
  shiftCase(130, 264, "f16", 3),
  shiftCase(301, 200, "f32", 100),
  shiftCase(33, 4, "f32", -125),
  shiftCase(9, 8, "bf16", -Infinity),
  shiftCase(512, 520, "bf16", 17),
  shiftCase(4096, 4096, "bf16", 0, true),
  shiftCase(4096, 4096, "f32", 0, true),
];
