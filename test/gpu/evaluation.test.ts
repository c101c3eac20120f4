/** Evaluations of a run come again and again: each gives back what it took. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { evaluatePolicy } from "../../src/evaluate/evaluate.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { tinyConfig } from "./tiny_run.ts";
import { tinyPolicy } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

it("an evaluation frees its cache of keys and its plans", async () => {
  const policy = await tinyPolicy();
  const { memory } = await openGpu();
  const evaluate = () =>
    evaluatePolicy({
      policy,
      tokenizer: { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer,
      scorer: {
        score: (asked) => Promise.resolve({ rewards: asked.map(() => 1), costs: asked.map(() => 0) }),
      },
      prompts: [[1, 5, 9], [1, 7], [1, 60, 3]]
        .map((ids) => ({ user: "a", ids, messages: [], columns: {}, layout: "none" })),
      config: tinyConfig({ eval_batch_size: 2 }),
    }, 1);
  const bytesAfter = async () => {
    assert.equal((await evaluate()).completions.length, 3);
    trimPool();
    return memory().liveBytes;
  };
  const first = await bytesAfter(); // with the device's few cached uniforms
  assert.deepEqual([await bytesAfter(), await bytesAfter()], [first, first]);
});
