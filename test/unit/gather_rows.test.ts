import assert from "node:assert/strict";
import { test } from "node:test";
import { inverseRows } from "../../src/ops/rows/gather_rows.ts";

test("inverseRows() says where each row went, and -1 of those that nobody picked", () => {
  assert.deepEqual(Array.from(inverseRows([3, -1, 0], 5)), [2, -1, -1, 0, -1]);
});

test("a row that is picked twice is refused, also the first one: one of its gradients would be lost", () => {
  assert.throws(() => inverseRows([3, 0, 3], 5), /Cannot gather row 3 twice/);
  assert.throws(() => inverseRows([0, 0], 5), /Cannot gather row 0 twice/);
});
