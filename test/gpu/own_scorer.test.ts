/** The scorer that a run serves itself. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { openScorer } from "../../src/assembly/scorer.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { answers } from "../answers.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";

before(async () => void await openGpu());
after(closeGpu);

it("takes batches of any size, where a service for others refuses those over 256", async () => {
  const { scorer, close } = await openScorer({ ...defaultConfig(), scorer_url: null }, { device: "test" });
  try {
    const prompts = Array.from({ length: 257 }, (_, i) => `question ${i % 3}`);
    const { rewards, costs } = await scorer.score(answers(prompts, prompts.map(() => "yes")), {
      batchSize: 257,
    });
    assert.deepEqual([rewards.length, costs.length], [257, 257]);
    assert.equal(scorer.sharesGpu, true, "so that it waits for the completions");
    assert.deepEqual([rewards[3], rewards[256]], [rewards[0], rewards[1]]);
  } finally {
    await close();
  }
});
