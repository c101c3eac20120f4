/** A model's parameter as the ops see it. */
import type { Tensor } from "@tensorflow/tfjs";

export type WeightFormat = "f32" | "bf16" | "f16";

/**
 * A parameter on the GPU. `tensor` is f32 of `shape`, or, packed two to a word (the even column in the low half),
 * int32 with half as many columns.
 *
 * Ops that read a weight add its gradient into `grad` while they go backward, in row order. So micro-batches
 * accumulate in place: no gradient tensor per micro-batch, and the same bits however a batch is split.
 * `grad` null: frozen.
 */
export interface Weight {
  name: string;
  shape: number[];
  format: WeightFormat;
  tensor: Tensor;
  grad: Tensor | null;
}

/** The `override FORMAT` of kernels that read weights in any format. */
export const FORMAT_CODE: Record<WeightFormat, number> = { f32: 0, bf16: 1, f16: 2 };

const words = new Uint32Array(1);
const asFloat = new Float32Array(words.buffer);

/** Nearest bf16 (ties to even) of an f32, as 16 bits. NaN stays NaN. */
export function toBf16(value: number): number {
  asFloat[0] = value;
  const bits = words[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBf16(bits: number): number {
  words[0] = bits << 16;
  return asFloat[0];
}

/** Nearest f16 (ties to even) of an f32, as 16 bits. Overflow goes to infinity, NaN stays NaN. */
export function toF16(value: number): number {
  asFloat[0] = value;
  const bits = words[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to >= 65536
  if (magnitude < 0x38800000) { // subnormal f16: a multiple of 2^-24
    const steps = Math.abs(value) * 2 ** 24;
    const floor = Math.floor(steps);
    const rest = steps - floor;
    return sign | (floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0));
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Values in the words a kernel reads: f32 as they are, bf16 and f16 two to an i32 (even index low). */
export function packWeight(values: Float32Array, format: WeightFormat): Float32Array | Int32Array {
  if (format === "f32") return values;
  if (values.length % 2) throw new RangeError(`Cannot pack ${values.length} values two to a word: need an even number`);
  const encode = format === "bf16" ? toBf16 : toF16;
  return Int32Array.from({ length: values.length / 2 }, (_, i) => encode(values[2 * i]) | (encode(values[2 * i + 1]) << 16));
}

/** Inverse of packWeight. */
export function unpackWeight(packed: Float32Array | Int32Array, format: WeightFormat): Float32Array {
  if (format === "f32") return packed as Float32Array;
  const decode = format === "bf16" ? fromBf16 : fromF16;
  const values = new Float32Array(packed.length * 2);
  packed.forEach((word, i) => {
    values[2 * i] = decode(word & 0xffff);
    values[2 * i + 1] = decode(word >>> 16);
  });
  return values;
}
