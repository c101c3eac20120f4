/** Log-probs that nothing is trained on: several micro-batches in a pass, with the bits of each alone. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { defaultConfig } from "../../src/config/schema.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { uploadSequences } from "../../src/policy/transformer.ts";
import { passesAtOnce } from "../../src/train/frozen_passes.ts";
import { disposeLearner, makeLearner } from "../../src/train/learner.ts";
import { sharePrompts, uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { frozenLogprobs } from "../../src/train/passes.ts";
import { disposeUpdate, prepareUpdate } from "../../src/train/prepared_update.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { ROLLOUTS } from "./training_passes.ts";

const CONFIG = { ...defaultConfig(), beta: 0.1, max_completion_length: 8, max_prompt_length: 8 };

describe("passes without gradients", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("take up to four micro-batches, as long as they are not full before", () => {
    const sizes = { max_prompt_length: 256, max_completion_length: 512 };
    assert.deepEqual([1, 2, 3, 4, 5].map((rows) => passesAtOnce(rows, true, sizes)), [4, 2, 1, 1, 1]);
    assert.deepEqual([1, 2, 3].map((rows) => passesAtOnce(rows, false, sizes)), [2, 1, 1]);
    assert.equal(passesAtOnce(1, true, { ...sizes, max_completion_length: 8 }), 4);
  });

  it("give each micro-batch the log-probs, to the bit, that it has alone", async () => {
    const policy = await tinyPolicy("float32");
    const learner = makeLearner(policy, CONFIG, { rowsPerPass: 1 });
    const rollouts = ROLLOUTS.map(({ prompt, tokens }) => ({
      prompt,
      tokens: [...tokens],
      logprobs: null,
      end: "eos" as const,
    }));
    assert.ok(rollouts.length > 4, "a last pass that is not full");
    const { steps: [step], ...update } = prepareUpdate(learner, rollouts, 0, 1, CONFIG);
    const together = await Promise.all(step.batches.map(({ refLogprobs }) => readFloats(refLogprobs!)));
    const shared = sharePrompts(rollouts)!;
    const alone = tf.tidy(() => {
      const batches = rollouts.map((rollout) => uploadMicroBatch([rollout], shared));
      const prompts = uploadSequences(shared.packed);
      return frozenLogprobs(learner, learner.reference!, prompts, batches, CONFIG);
    });
    for (const [i, { tokens }] of rollouts.entries()) {
      const own = (await readFloats(alone[i])).slice(0, tokens.length);
      assert.ok(own.every((value) => value < 0), "log-probs");
      assert.deepEqual(together[i].slice(0, tokens.length), own, `completion ${i}`);
      assert.ok(
        together[i].slice(tokens.length).every((value) => value === 0),
        "nothing where there is no token",
      );
    }
    tf.dispose(alone);
    disposeUpdate({ steps: [step], ...update });
    disposeLearner(learner);
  });
});
