/** Forward and backward passes over a few completions, with their prompts computed once or with each. */
import * as tf from "@tensorflow/tfjs";
import { readFloats, zeroTensor } from "../../src/gpu/tensors.ts";
import { trainableWeights } from "../../src/policy/adapters.ts";
import { policyLogprobs, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { clearGradients, disposeKeys, prefixBackward, prefixKeys } from "../../src/policy/shared_prefix.ts";
import { sharePrompts, type TokenizedRollout, uploadMicroBatch } from "../../src/train/micro_batch.ts";

/** Prompts of 7, 1 and 4 tokens with 3, 2 and 1 completions of different lengths. */
export const ROLLOUTS: TokenizedRollout[] = [
  { ids: [1, 60, 3, 3, 8, 21, 40], completions: [[5, 9, 2], [7], [33, 4, 12, 50, 18, 2]] },
  { ids: [1], completions: [[14, 2], [6, 6, 6, 2]] },
  { ids: [1, 5, 9, 33], completions: [[22, 23, 24, 2]] },
].flatMap(({ ids, completions }) => {
  const prompt = { ids };
  return completions.map((tokens) => ({ prompt, tokens }));
});

/**
 * Log-probs of all completion tokens of ROLLOUTS in order, and the gradients of their weighted sum, by weight name.
 * @param policy a new one, with gradients of 0
 */
export async function trainedOn(policy: Policy, isShared: boolean, rowsPerPass: number) {
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
        const [made] = policyLogprobs(policy, sequences, { ...batch, temperature: 1 });
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
  const gradients: Record<string, Float32Array> = {};
  for (const { name, grad } of trainableWeights(policy)) gradients[name] = await readFloats(grad!);
  return { values, gradients };
}

/** @throws Error when a value differs from what was expected by more than `tolerance` of the largest expected */
export function assertNear(
  actual: Record<string, Float32Array>,
  expected: Record<string, Float32Array>,
  tolerance: number,
): void {
  for (const [name, wanted] of Object.entries(expected)) {
    const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    wanted.forEach((value, i) => {
      const isNear = Math.abs(actual[name][i] - value) <= tolerance * largest;
      if (!isNear) {
        throw new Error(`${name}[${i}] is ${actual[name][i]}, expected ${value} of at most ${largest}`);
      }
    });
  }
}
