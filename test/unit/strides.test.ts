import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { gatherStrided, isRowMajor, rowMajorStrides, spanOf } from "../../src/io/tensors/strides.ts";
import { checkedLength, unknownTensor } from "../../src/io/tensors/tensor_reader.ts";

test("rowMajorStrides() are products of the sizes behind, a size of 0 counting as 1", () => {
  assert.deepEqual(rowMajorStrides([]), []);
  assert.deepEqual(rowMajorStrides([2, 3, 4]), [12, 4, 1]);
  assert.deepEqual(rowMajorStrides([2, 0, 4]), [4, 4, 1]);
});

test("isRowMajor() asks of every axis but those of one element, and nothing of an empty tensor", () => {
  assert.ok(isRowMajor([2, 3], [3, 1]));
  assert.ok(!isRowMajor([2, 3], [1, 2]));
  assert.ok(!isRowMajor([2, 3], [4, 1]));
  assert.ok(isRowMajor([1, 3], [99, 1]) && isRowMajor([3, 1], [1, 7]));
  assert.ok(!isRowMajor([2, 1], [2, 1]));
  assert.ok(isRowMajor([0, 3], [9, 9]) && isRowMajor([], []));
});

test("spanOf() is the last element's place and one", () => {
  assert.equal(spanOf([], []), 1);
  assert.equal(spanOf([2, 3], [3, 1]), 6);
  assert.equal(spanOf([2, 3], [10, 2]), 15);
  assert.equal(spanOf([2, 3], [0, 0]), 1);
  assert.equal(spanOf([2, 0], [3, 1]), 0);
});

test("gatherStrided() puts element [i, j, ...] where row-major order has it, for every element size", () => {
  const axis = fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 7 }));
  fc.assert(
    fc.property(fc.array(axis, { maxLength: 4 }), fc.constantFrom(1, 2, 4, 8), (axes, elementBytes) => {
      const [shape, strides] = [axes.map(([size]) => size), axes.map(([, stride]) => stride)];
      const source = Uint8Array.from({ length: spanOf(shape, strides) * elementBytes }, (_, i) => i * 37);
      const expected: number[] = [];
      const visit = (axis: number, at: number) => {
        if (axis === shape.length) {
          expected.push(...source.subarray(at * elementBytes, (at + 1) * elementBytes));
          return;
        }
        for (let i = 0; i < shape[axis]; i++) visit(axis + 1, at + i * strides[axis]);
      };
      visit(0, 0);
      assert.deepEqual([...gatherStrided(source, elementBytes, shape, strides)], expected);
    }),
  );
});

test("checkedLength() is the rest of the tensor unless given, and takes no byte outside", () => {
  const info = { dtype: "F32" as const, shape: [2], byteLength: 8 };
  assert.deepEqual([0, 3, 8].map((offset) => checkedLength("w", info, offset)), [8, 5, 0]);
  assert.deepEqual([checkedLength("w", info, 4, 4), checkedLength("w", info, 8, 0)], [4, 0]);
  for (const [offset, length] of [[-1, 1], [0, 9], [8, 1], [9, undefined], [0, -1], [0.5, 1], [0, 1.5]]) {
    assert.throws(() => checkedLength("w", info, offset!, length), RangeError, `${length} at ${offset}`);
  }
});

test("an unknown tensor is told with five of those that there are", () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  assert.match(
    unknownTensor("x", "file", names).message,
    /tensor "x": 'file' has "a", "b", "c", "d", "e", \.\.\./,
  );
  assert.match(unknownTensor("x", "file", []).message, /has no tensors/);
});
