// Floats of 8 bits, and of 64, as f32. An 8-bit float has 256 values, so a table is all there is to it.

import { f16ToF32 } from "./dtype.ts";

/** Weights of 8 bits. */
export type Float8Dtype = "F8_E4M3" | "F8_E5M2";

/** Sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinity, and only 0x7f and 0xff are NaN (arXiv:2209.05433). */
function e4m3Value(bits: number): number {
  const [exponent, mantissa] = [(bits >>> 3) & 15, bits & 7];
  const magnitude = exponent === 15 && mantissa === 7
    ? NaN
    : exponent === 0
    ? mantissa * 2 ** -9
    : (8 + mantissa) * 2 ** (exponent - 10);
  return bits & 0x80 ? -magnitude : magnitude;
}

const bytes = Array.from({ length: 256 }, (_, bits) => bits);

/** The value of each byte. E5M2 is the upper half of an f16. */
export const F8_VALUES: Readonly<Record<Float8Dtype, Float32Array>> = {
  F8_E4M3: Float32Array.from(bytes, e4m3Value),
  F8_E5M2: f16ToF32(Uint16Array.from(bytes, (bits) => bits << 8)),
};

/** 2^(byte - 127), the scales of F8_E8M0; 255 is NaN. */
export const E8M0_VALUES = Float32Array.from(bytes, (bits) => bits === 255 ? NaN : 2 ** (bits - 127));

/** Rounds to nearest, ties to even. @param raw little-endian */
export function f64ToF32(raw: Uint8Array): Float32Array {
  const aligned = raw.byteOffset % 8 === 0 ? raw : raw.slice();
  return Float32Array.from(new Float64Array(aligned.buffer, aligned.byteOffset, raw.byteLength / 8));
}
