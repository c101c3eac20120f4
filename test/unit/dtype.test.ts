import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  bf16ToF32,
  bytesToF32,
  f16ToF32,
  f32ToBf16,
  f32ToBytes,
  f32ToF16,
} from "../../src/io/tensors/dtype.ts";

const every16 = Uint16Array.from({ length: 65536 }, (_, i) => i);
const f32Of = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer);

test("every bf16, NaNs included, comes back through f32 with the same bits", () => {
  assert.deepEqual(f32ToBf16(bf16ToF32(every16)), every16);
});

test("every f16, NaNs and subnormals included, comes back through f32 with the same bits", () => {
  assert.deepEqual(f32ToF16(f16ToF32(every16)), every16);
});

test("every f16 widens to sign * 2^(e-15) * (1 + m/1024), subnormals to m * 2^-24", () => {
  const widened = f16ToF32(every16);
  for (const h of every16) {
    const [sign, e, m] = [h & 0x8000 ? -1 : 1, (h >> 10) & 31, h & 1023];
    const value = e === 31 ? (m ? NaN : Infinity) : e === 0 ? m * 2 ** -24 : 2 ** (e - 15) * (1 + m / 1024);
    assert.ok(
      Object.is(widened[h], sign * value) || (Number.isNaN(value) && Number.isNaN(widened[h])),
      `${h}`,
    );
  }
});

test("f32ToF16() picks the nearest f16 and on a tie the even one, between all neighbours", () => {
  const values = f16ToF32(every16.subarray(0, 0x7c00)); // finite, ascending
  for (let h = 0; h + 1 < values.length; h++) {
    const middle = (values[h] + values[h + 1]) / 2; // exact: f32 has 13 more bits
    const middleBits = new Uint32Array(Float32Array.of(middle).buffer)[0];
    const around = Float32Array.of(f32Of(middleBits - 1)[0], middle, f32Of(middleBits + 1)[0]);
    const even = h % 2 === 0 ? h : h + 1;
    assert.deepEqual([...f32ToF16(around)], [h, even, h + 1]);
  }
});

test("f32ToBf16() picks the nearest bf16 and on a tie the even one, between all neighbours", () => {
  for (let b = 0; b < 0x7f80; b++) {
    const middle = (b << 16) + 0x8000;
    const around = new Float32Array(Uint32Array.of(middle - 1, middle, middle + 1).buffer);
    assert.deepEqual([...f32ToBf16(around)], [b, b % 2 === 0 ? b : b + 1, b + 1]);
  }
});

test("values past the range become infinity: f16 from 65520, bf16 above its largest", () => {
  assert.deepEqual([...f32ToF16(Float32Array.of(65504, 65519.996, 65520, -1e30, Infinity))], [
    0x7bff,
    0x7bff,
    0x7c00,
    0xfc00,
    0x7c00,
  ]);
  assert.deepEqual([...f32ToBf16(Float32Array.of(3.4028234663852886e38, -Infinity))], [0x7f80, 0xff80]);
});

test("a NaN whose payload does not fit stays a NaN", () => {
  const signalling = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
  assert.deepEqual([...f32ToBf16(signalling)], [0x7fc0, 0xffc0]);
  assert.deepEqual([...f32ToF16(signalling)], [0x7e00, 0xfe00]);
});

test("bytesToF32() undoes f32ToBytes() up to rounding, at any byte alignment", () => {
  fc.assert(fc.property(
    fc.float32Array({ noNaN: true, maxLength: 40 }),
    fc.constantFrom("F32", "BF16", "F16"),
    fc.nat(3),
    (values, dtype, shift) => {
      const bytes = f32ToBytes(values, dtype);
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      const back = bytesToF32(moved.subarray(shift), dtype);
      assert.deepEqual(f32ToBytes(back, dtype), new Uint8Array(bytes));
    },
  ));
  assert.throws(() => bytesToF32(new Uint8Array(3), "F16"), /3 bytes as F16: need a multiple of 2/);
});
