/** Prompts computed once for all their completions: the same numbers as prompts computed with each. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { readFloats, zeroTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { policyLogprobs, uploadSequences } from "../../src/policy/llama.ts";
import { clearGradients, disposeKeys, prefixBackward, prefixKeys } from "../../src/policy/shared_prefix.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { sharePrompts, type TokenizedRollout, uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { tinyPolicy } from "./tiny_policy.ts";

/** Prompts of 7, 1 and 4 tokens with 3, 2 and 1 completions of different lengths. */
const ROLLOUTS: TokenizedRollout[] = [
  { ids: [1, 60, 3, 3, 8, 21, 40], completions: [[5, 9, 2], [7], [33, 4, 12, 50, 18, 2]] },
  { ids: [1], completions: [[14, 2], [6, 6, 6, 2]] },
  { ids: [1, 5, 9, 33], completions: [[22, 23, 24, 2]] },
].flatMap(({ ids, completions }) => {
  const prompt = { ids };
  return completions.map((tokens) => ({ prompt, tokens }));
});

/** Log-probs of all completion tokens in order, and the gradients of their weighted sum. */
async function trainedOn(isShared: boolean, rowsPerPass: number, { recomputesLayers = false } = {}) {
  const policy = { ...await tinyPolicy("float32"), recomputesLayers };
  const shared = isShared ? sharePrompts(ROLLOUTS) : null;
  const logprobs: tf.Tensor[] = [];
  tf.tidy(() => {
    const prompts = shared && uploadSequences(shared.packed);
    const keys = prompts && prefixKeys(policy, prompts, true);
    if (keys) clearGradients(keys);
    for (let start = 0; start < ROLLOUTS.length; start += rowsPerPass) {
      const batch = uploadMicroBatch(ROLLOUTS.slice(start, start + rowsPerPass), shared);
      const prefix = batch.prefixRows && keys ? { ...batch.prefixRows, keys } : undefined;
      const forward = () => {
        const sequences = { ...batch.sequences, prefix };
        const [made] = policyLogprobs(policy, sequences, batch.picked, batch.targets, 1);
        logprobs.push(tf.keep(made.clone()));
        return made;
      };
      // A weight that depends on the token alone, as the rows of a pass do not.
      const weights = tf.cast(tf.add(batch.targets, 3), "float32").mul(0.01) as tf.Tensor;
      tf.engine().gradients(forward, [policy.root], weights, false);
    }
    if (prompts && keys) {
      prefixBackward(policy, prompts, keys, zeroTensor([prompts.ids.size, policy.config.hiddenSize]));
    }
    disposeKeys(keys);
  });
  const values: number[] = [];
  for (const [pass, tensor] of logprobs.entries()) {
    const own = ROLLOUTS.slice(pass * rowsPerPass, (pass + 1) * rowsPerPass);
    values.push(
      ...(await readFloats(tensor)).slice(0, own.reduce((sum, { tokens }) => sum + tokens.length, 0)),
    );
  }
  const gradients = await Promise.all(listWeights(policy.weights).map(({ grad }) => readFloats(grad!)));
  return { values, gradients };
}

describe("shared prompts", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("give log-probs the same bits as prompts computed with each completion", async () => {
    const apart = await trainedOn(false, ROLLOUTS.length);
    assert.deepEqual((await trainedOn(true, ROLLOUTS.length)).values, apart.values);
  });

  it("give the gradients of prompts computed with each completion", async () => {
    const [apart, shared] = [await trainedOn(false, ROLLOUTS.length), await trainedOn(true, ROLLOUTS.length)];
    apart.gradients.forEach((gradient, w) => {
      const largest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      gradient.forEach((value, i) => {
        // f32 sums of the same terms in another order
        assert.ok(Math.abs(shared.gradients[w][i] - value) <= 1e-5 * largest, `weight ${w}[${i}]`);
      });
    });
  });

  it("give the same bits however the completions are split into passes", async () => {
    const whole = await trainedOn(true, ROLLOUTS.length);
    for (const rowsPerPass of [1, 2, 4]) assert.deepEqual(await trainedOn(true, rowsPerPass), whole);
  });

  it("give the same bits where layers are run again in backward", async () => {
    const kept = await trainedOn(true, 3);
    assert.deepEqual(await trainedOn(true, 3, { recomputesLayers: true }), kept);
  });

  it("are left alone where each prompt has one completion, or no token before its last", () => {
    const firsts = [ROLLOUTS[0], ROLLOUTS[3], ROLLOUTS[5]];
    assert.equal(sharePrompts(firsts), null);
    assert.equal(sharePrompts(ROLLOUTS.slice(3, 5)), null);
  });
});
