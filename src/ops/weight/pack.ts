/** Between f32 and the packed 16-bit formats of weights, on the GPU. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { emptyTensor } from "../../gpu/tensors.ts";
import { flatGrid } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { FORMAT_CODE, type Weight } from "./weight.ts";
import { refreshWeightShift } from "./weight_shift.ts";

const WORD_BYTES = 4;
/** Of the two f32 values of a word. */
const PAIR_BYTES = 8;

function assertPacked({ name, format }: Weight): void {
  if (format === "f32") throw new TypeError(`Weight "${name}" is f32: need one that is packed`);
}

/** Values of a weight, from the first to before the last. */
interface Part {
  /** A multiple of 128. */
  start: number;
  /** Even. */
  end: number;
}

const wholeOf = ({ tensor }: Weight): Part => ({ start: 0, end: 2 * tensor.size });

/** Runs pack.wgsl or unpack.wgsl: the weight's words and f32 values of a part of it, one way or the other. */
function convert(kernel: "pack" | "unpack", { tensor, format }: Weight, values: Tensor, part: Part): void {
  const before = part.start / 2;
  for (const window of windowsOf(part.end / 2 - before, PAIR_BYTES)) {
    // A vec4 of values is two words; an odd number of words goes one by one.
    const { conditions, constants, count, workgroups } = flatGrid(2 * window.count);
    runKernel({
      kernel,
      conditions,
      constants: { ...constants, FORMAT: FORMAT_CODE[format] },
      bindings: {
        words: bindWindow(tensor, WORD_BYTES, { first: before + window.first, count: window.count }),
        values: bindWindow(values, PAIR_BYTES, window),
      },
      params: { count: conditions.VEC4 ? count : window.count },
      workgroups,
    });
  }
}

/** weight.tensor = values, rounded to the weight's format (nearest even). @param values f32 [weight.shape] */
export function packWeight(values: Tensor, weight: Weight): void {
  assertPacked(weight);
  convert("pack", weight, values, wholeOf(weight));
  refreshWeightShift(weight);
}

/** The same for a part of it; refreshWeightShift is the caller's. @param values f32 of as many */
export function packPart(values: Tensor, weight: Weight, part: Part): void {
  assertPacked(weight);
  convert("pack", weight, values, part);
}

/** The values of a packed weight. @returns f32 [weight.shape] */
export function unpackWeight(weight: Weight): Tensor {
  assertPacked(weight);
  const values = emptyTensor(weight.shape);
  convert("unpack", weight, values, wholeOf(weight));
  return values;
}

/** Those of a part of it. @returns f32 [end - start] */
export function unpackPart(weight: Weight, part: Part): Tensor {
  assertPacked(weight);
  const values = emptyTensor([part.end - part.start]);
  convert("unpack", weight, values, part);
  return values;
}

const FORMATS = {
  bf16: { mantissa: 7, smallest: -126, largest: 127 },
  f16: { mantissa: 10, smallest: -14, largest: 15 },
};

/** The 16 bits of `value` in a format, rounded to nearest even: by arithmetic, not by bits. */
function bits16(value: number, format: "bf16" | "f16"): number {
  const { mantissa, smallest, largest } = FORMATS[format];
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const infinity = (largest - smallest + 2) << mantissa;
  if (Number.isNaN(value)) return infinity | (1 << (mantissa - 1));
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  const exponent = Math.max(smallest, Math.min(largest, Math.floor(Math.log2(magnitude))));
  const scaled = magnitude / 2 ** (exponent - mantissa);
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const units = below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0);
  // Units of a normal number begin at 2^mantissa, which is where its exponent field counts one up.
  return sign | Math.min(units + ((exponent - smallest) << mantissa), infinity);
}

/** Twin of pack.wgsl. @param values of even length */
export function packWords(values: ArrayLike<number>, format: "bf16" | "f16"): Int32Array {
  return Int32Array.from(
    { length: values.length / 2 },
    (_, i) => bits16(values[2 * i], format) | (bits16(values[2 * i + 1], format) << 16),
  );
}

/** Twin of unpack.wgsl. */
export function unpackWords(words: ArrayLike<number>, format: "bf16" | "f16"): Float64Array {
  const { mantissa, smallest } = FORMATS[format];
  return Float64Array.from({ length: words.length * 2 }, (_, i) => {
    const bits = (words[i >> 1] >>> (i % 2 * 16)) & 0xffff;
    const field = (bits & 0x7fff) >> mantissa;
    const fraction = bits & ((1 << mantissa) - 1);
    const sign = bits & 0x8000 ? -1 : 1;
    const units = field === 0 ? fraction : fraction + (1 << mantissa);
    return sign * units * 2 ** (Math.max(field, 1) - 1 + smallest - mantissa);
  });
}
