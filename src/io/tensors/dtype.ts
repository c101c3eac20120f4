// Conversions between f32 and the 16-bit floats of model files, exact in their bits.
// 16-bit values travel as raw bits in a Uint16Array: Node 20 has no Float16Array.
// Rounding is to nearest, ties to even (IEEE 754-2019, 4.3.1). All loops work on the bits, never on JS numbers,
// because moving a signalling NaN through a JS number may change it.

import type { WeightFormat } from "../../ops/weight/weight.ts";

/** Element types of weights, which this project reads and writes in model files. */
export type FloatDtype = "F32" | "BF16" | "F16";

/** Weights that are converted as they are read (io/model/converted_weights.ts); the last holds scales alone. */
export type ConvertedDtype = "F64" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0";

/** What may lie beside the weights, as a score model's count or an attention mask; it is not read as weights. */
export type IntegerDtype = "I64" | "U64" | "I32" | "U32" | "I16" | "U16" | "I8" | "U8" | "BOOL";

export type StoredDtype = FloatDtype | ConvertedDtype | IntegerDtype;

/** What a file calls the type of a weight that the GPU holds in a format. */
export const DTYPE_OF_FORMAT: Readonly<Record<WeightFormat, FloatDtype>> = {
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
};

/** Bytes of one element. */
export const BYTES_PER_ELEMENT: Readonly<Record<StoredDtype, number>> = {
  F32: 4,
  BF16: 2,
  F16: 2,
  F64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

export function isFloatDtype(dtype: StoredDtype): dtype is FloatDtype {
  return dtype === "F32" || dtype === "BF16" || dtype === "F16";
}

/** bf16 is the upper half of an f32, so widening is a shift. */
export function bf16ToF32(bits: Uint16Array): Float32Array {
  const f32Bits = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) f32Bits[i] = bits[i] << 16;
  return new Float32Array(f32Bits.buffer);
}

/** Rounds to nearest even; a NaN stays a NaN and keeps the payload bits that fit; overflow becomes infinity. */
export function f32ToBf16(values: Float32Array): Uint16Array {
  const f32Bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const u = f32Bits[i];
    if ((u & 0x7fffffff) > 0x7f800000) {
      const upper = u >>> 16;
      bits[i] = (upper & 0x7f) === 0 ? upper | 0x40 : upper;
    } else {
      // 0x7fff plus the last kept bit carries just when the tail is above half, or half with an odd head.
      bits[i] = (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
    }
  }
  return bits;
}

/** IEEE binary16 (1 sign, 5 exponent, 10 mantissa bits) to binary32; exact. */
export function f16ToF32(bits: Uint16Array): Float32Array {
  const f32Bits = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const h = bits[i];
    const sign = (h & 0x8000) << 16;
    const exponent = (h >>> 10) & 0x1f;
    const mantissa = h & 0x3ff;
    if (exponent === 0x1f) f32Bits[i] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent !== 0) f32Bits[i] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else if (mantissa === 0) f32Bits[i] = sign;
    else {
      // Subnormal: mantissa * 2^-24. Move its leading bit to the hidden place (bit 10).
      const shift = Math.clz32(mantissa) - 21;
      f32Bits[i] = sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
    }
  }
  return new Float32Array(f32Bits.buffer);
}

/** Rounds to nearest even; |x| >= 65520 becomes infinity; subnormals stay; NaN keeps the payload that fits. */
export function f32ToF16(values: Float32Array): Uint16Array {
  const f32Bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = f16BitsOf(f32Bits[i]);
  return bits;
}

function f16BitsOf(u: number): number {
  const sign = (u >>> 16) & 0x8000;
  const magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff || 0x200);
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520, halfway from the largest f16 to 2^16
  if (magnitude >= 0x38800000) {
    // Normal in f16 (>= 2^-14): rebias the exponent by 127 - 15 and round off 13 bits.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign; // <= 2^-25: half of the smallest subnormal ties to zero
  const exponent = magnitude >>> 23;
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - exponent; // in units of 2^-24
  const kept = mantissa >>> shift;
  const tail = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (tail > half || (tail === half && (kept & 1) === 1) ? kept + 1 : kept);
}

/**
 * Elements of a tensor's raw little-endian bytes as f32; F32 bytes are viewed when aligned, else copied.
 * @throws RangeError when the byte count is no multiple of the element size
 */
export function bytesToF32(bytes: Uint8Array, dtype: StoredDtype): Float32Array {
  if (!isFloatDtype(dtype)) throw new TypeError(`Cannot read ${dtype} as f32: need F32, BF16 or F16`);
  const size = BYTES_PER_ELEMENT[dtype];
  if (bytes.byteLength % size !== 0) {
    throw new RangeError(`Cannot read ${bytes.byteLength} bytes as ${dtype}: need a multiple of ${size}`);
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const count = bytes.byteLength / size;
  if (dtype === "F32") return new Float32Array(aligned.buffer, aligned.byteOffset, count);
  const bits = new Uint16Array(aligned.buffer, aligned.byteOffset, count);
  return dtype === "BF16" ? bf16ToF32(bits) : f16ToF32(bits);
}

/** Raw little-endian bytes of f32 values stored as `dtype`; for F32 a view of the same memory. */
export function f32ToBytes(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = dtype === "BF16" ? f32ToBf16(values) : f32ToF16(values);
  return new Uint8Array(bits.buffer);
}
