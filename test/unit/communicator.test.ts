import assert from "node:assert/strict";
import { it } from "node:test";
import { singleProcess } from "../../src/parallel/communicator.ts";

it("one process is the first of one: its sums and maxima are what it brings, in lists of their own", async () => {
  const { rank, size, allReduceSum, allReduceMax, barrier } = singleProcess;
  assert.deepEqual([rank, size], [0, 1]);
  const values = [1, -2, 0.5];
  const sums = await allReduceSum(values);
  assert.deepEqual(sums, [1, -2, 0.5]);
  sums[0] = 9;
  assert.equal(values[0], 1);
  assert.equal(await allReduceMax(-3), -3);
  assert.equal(await barrier(), undefined);
});
