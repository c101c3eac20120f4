/** Values that are no numbers stay so in 16 bits: a diverged weight must not look like a good one. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { readFloats, readTensor, uploadTensor, zeroTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { packWeight, unpackWeight } from "../../src/ops/weight/pack.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";

before(async () => void await openGpu());
after(closeGpu);

/** Quiet ones of both signs, and such as rounding would carry past infinity. */
const NANS = Uint32Array.of(0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff, 0x7f800001, 0x7fffffff);

for (const columns of [2, 4]) {
  it(`NaNs of any bits are NaNs in bf16, in rows of ${columns}`, async () => {
    const rows = NANS.length / 2;
    const values = new Float32Array(rows * columns).fill(1.5);
    const bits = new Uint32Array(values.buffer);
    for (let row = 0; row < rows; row++) bits.set(NANS.subarray(2 * row, 2 * row + 2), row * columns);
    const shape = [rows, columns];
    const words = zeroTensor([rows, columns / 2]);
    const weight: Weight = { name: "w", shape, format: "bf16", tensor: words, grad: null };
    packWeight(uploadTensor(values, shape), weight);
    await readTensor(words);
    const unpacked = Array.from(await readFloats(unpackWeight(weight)));
    assert.deepEqual(unpacked.map(Number.isNaN), Array.from(values, Number.isNaN));
    assert.ok(columns === 2 || unpacked.includes(1.5));
  });
}
