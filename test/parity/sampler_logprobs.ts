/** What decoding keeps of the tokens that it samples, against what training makes of the same tokens. */
import * as tf from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { golden, goldenFamilies, type ModelCase, worstOf } from "./golden_models.ts";
import type { ParityLine } from "./line.ts";

/** Completions of a prompt; they share its keys, in decoding and in training. */
const GROUP = 2;
/** More than any window here. */
const NEW_TOKENS = 24;
const { temperature } = golden;

/** Largest difference of a sampled token's log-prob, nats; as far as can be where a token has none. */
export async function sampledError(policy: Policy, { greedy: { prompts } }: ModelCase): Promise<number> {
  const generator = createGenerator(policy, {
    temperature,
    topP: 1,
    topK: 0,
    eosIds: [],
    maxTokens: NEW_TOKENS,
    readbackEvery: 10,
    keepsLogprobs: true,
  });
  const completions = await generator.generate({ prompts, groupSize: GROUP, seed: 1, step: 0 });
  generator.dispose();
  const rollouts = completions.map(({ tokens }, i) => ({
    prompt: { ids: prompts[Math.floor(i / GROUP)] },
    tokens,
  }));
  const trained = tf.tidy(() => {
    const { sequences, picked, targets } = uploadMicroBatch(rollouts);
    return policyLogprobs(policy, sequences, { picked, targets, temperature })[0];
  });
  const values = await readFloats(trained);
  trained.dispose();
  const sampled = completions.flatMap(({ logprobs }) => logprobs ?? []);
  if (sampled.length !== prompts.length * GROUP * NEW_TOKENS) return Infinity;
  return Math.max(...sampled.map((logprob, i) => Math.abs(logprob - values[i])));
}

export const lines: ParityLine[] = [
  {
    what: `Log-probs of sampled tokens as decoding computed them, ${NEW_TOKENS} tokens, twice each of 4 ` +
      "unequal prompts at temperature 0.7: Llama 2 to Qwen3 of above",
    reference: "our training forward pass, the same tokens",
    measure: "largest difference, nats",
    limit: 0,
    worst: () => worstOf(golden, false, sampledError),
  },
  {
    what: "The same: OLMo 2 to Qwen2 of above",
    reference: "our training forward pass, the same tokens",
    measure: "largest difference, nats",
    limit: 0,
    worst: () => worstOf(goldenFamilies, false, sampledError),
  },
];
