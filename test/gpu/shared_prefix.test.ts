/** Prompts computed once for all their completions: the same numbers as prompts computed with each. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { sharePrompts } from "../../src/train/micro_batch.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { assertNear, ROLLOUTS, trainedOn } from "./training_passes.ts";

async function passes(isShared: boolean, rowsPerPass: number, { recomputesLayers = false } = {}) {
  return await trainedOn({ ...await tinyPolicy("float32"), recomputesLayers }, isShared, rowsPerPass);
}

describe("shared prompts", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("give log-probs the same bits as prompts computed with each completion", async () => {
    const apart = await passes(false, ROLLOUTS.length);
    assert.deepEqual((await passes(true, ROLLOUTS.length)).values, apart.values);
  });

  it("give the gradients of prompts computed with each completion", async () => {
    const [apart, shared] = [await passes(false, ROLLOUTS.length), await passes(true, ROLLOUTS.length)];
    assertNear(shared.gradients, apart.gradients, 1e-5); // f32 sums of the same terms in another order
  });

  it("give the same bits however the completions are split into passes", async () => {
    const whole = await passes(true, ROLLOUTS.length);
    for (const rowsPerPass of [1, 2, 4]) assert.deepEqual(await passes(true, rowsPerPass), whole);
  });

  it("give the same bits where layers are run again in backward", async () => {
    const kept = await passes(true, 3);
    assert.deepEqual(await passes(true, 3, { recomputesLayers: true }), kept);
  });

  it("are left alone where each prompt has one completion, or no token before its last", () => {
    const firsts = [ROLLOUTS[0], ROLLOUTS[3], ROLLOUTS[5]];
    assert.equal(sharePrompts(firsts), null);
    assert.equal(sharePrompts(ROLLOUTS.slice(3, 5)), null);
  });
});
