/**
 * The power of two that brings a weight into the range of f16, for products on matrix units: one for the whole matrix.
 * It lies on the GPU beside the weight, found when a product first asks for it and again whenever the weight is
 * written, so that neither a forward pass nor a token of decoding reads the weight for it.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { deviceFact, hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { beforePlan } from "../../gpu/recording.ts";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { FORMAT_CODE, type Weight } from "./weight.ts";

type ShiftedWeight = Pick<Weight, "tensor" | "format">;

/** By the weight's tensor, which a copy of a Weight shares and a copy of its values does not. */
const shifts = new WeakMap<Tensor, TensorInfo>();

const VEC4_BYTES = 16;
/** vec4s of words whose largest magnitude a workgroup finds: 32 KB. */
const SPAN = 2048;
const lanes = deviceFact(() => hasNarrowSubgroups() ? 8 : 256);

/** shift[0] = that of the weight as it is now. */
function runWeightShift({ tensor, format }: ShiftedWeight, shift: TensorInfo): void {
  const vec4s = tensor.size * 4 / VEC4_BYTES;
  if (!Number.isInteger(vec4s)) {
    throw new RangeError(`Cannot shift a weight of ${tensor.size} words: need a multiple of 4`);
  }
  const windows = windowsOf(vec4s, VEC4_BYTES, SPAN);
  const largest = newTensor([Math.ceil(vec4s / SPAN)], "int32");
  const parts = windows.map(({ first, count }) => ({ first: first / SPAN, count: Math.ceil(count / SPAN) }));
  windows.forEach((window, i) => {
    runKernel({
      kernel: "weight_largest",
      constants: { WG: lanes(), SPAN, FORMAT: FORMAT_CODE[format] },
      bindings: { w: bindWindow(tensor, VEC4_BYTES, window), largest },
      params: { count: window.count, parts: parts[i].count, first: parts[i].first },
      workgroups: foldGrid(parts[i].count),
    });
  });
  runKernel({
    kernel: "weight_shift",
    constants: { WG: lanes() },
    bindings: { largest, shift },
    params: { count: largest.shape[0] },
    workgroups: [1, 1, 1],
  });
  disposeInfo(largest);
}

/** The weight's shift, i32 [1]; see kernels/weight/weight_shift.wgsl. It stays the weight's: nobody disposes it. */
export function weightShift(weight: ShiftedWeight): TensorInfo {
  const known = shifts.get(weight.tensor);
  if (known) return known;
  return beforePlan(() => {
    const shift = newTensor([1], "int32");
    runWeightShift(weight, shift);
    shifts.set(weight.tensor, shift);
    return shift;
  });
}

/** To be called where a weight's values have changed: products that were recorded read its new shift. */
export function refreshWeightShift(weight: ShiftedWeight): void {
  const shift = shifts.get(weight.tensor);
  if (shift) runWeightShift(weight, shift);
}

/** To be called before a weight's tensor is disposed. */
export function disposeWeightShift({ tensor }: Pick<Weight, "tensor">): void {
  const shift = shifts.get(tensor);
  if (!shift) return;
  shifts.delete(tensor);
  disposeInfo(shift);
}

/** The power that puts the largest of these magnitudes into [2^14, 2^15), as f16_range.wgsl has it. */
export function shiftF64(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  const order = Math.floor(Math.log2(most));
  return order < -126 ? 126 : Math.max(-126, Math.min(126, 14 - order));
}
