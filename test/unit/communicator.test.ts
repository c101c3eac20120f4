import assert from "node:assert/strict";
import { test } from "node:test";
import { singleProcess } from "../../src/parallel/communicator.ts";

test("a single process is rank 0 of 1, and what it says to itself comes back as it is", async () => {
  assert.deepEqual([singleProcess.rank, singleProcess.size], [0, 1]);
  const values = [1.5, -2];
  const sum = await singleProcess.allReduceSum(values);
  assert.deepEqual(sum, [1.5, -2]);
  assert.notEqual(sum, values, "the caller may write into it");
  assert.equal(await singleProcess.allReduceMax(-3), -3);
  assert.equal(await singleProcess.barrier(), undefined);
});
