/** The transformer, forward, backward and decoding, against transformers (golden/make/models.py and families.py). */
import * as tf from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { listWeights } from "../../src/policy/weights.ts";
import type { WeightFormat } from "../../src/ops/weight/weight.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { decodeLogits } from "./decode_logits.ts";
import {
  accumulateGradients,
  type Compare,
  expectedOf,
  type Golden,
  golden,
  goldenFamilies,
  logitsOf,
  type ModelCase,
  sequencesOf,
  withPolicy,
  worstOf,
} from "./golden_models.ts";
import { differences, type ParityLine, relativeFrobenius, worstOfRowMax, worstRelative } from "./line.ts";

const LLAMAS =
  "Llama 2, Llama 3 (llama3 rope, tied), Llama with biases (width 21, linear rope, eps 0.05), Mistral, " +
  "Qwen2 (tied), Qwen3 (eps 0.02)";

const FAMILIES =
  "OLMo 2 (eps 0.02), Granite (biases, all four scales), SmolLM3 (5 layers), Phi-3 (half of a head rotated, window 20), " +
  "Gemma 2 (window 11, caps 3 and 5), Gemma 3 (window 13, two ropes), Mistral (window 16), Qwen2 (window 15)";

const logitsError: Compare = async (policy, one, expected) =>
  worstOfRowMax(await logitsOf(policy, sequencesOf(one)), expected.get("logits")!, policy.config.vocabSize);

const batchOf = ({ prompts, completions }: ModelCase) =>
  uploadMicroBatch(prompts.map((ids, i) => ({ prompt: { ids }, tokens: completions[i] })));

const logprobsError: Compare = async (policy, one, expected) => {
  const [logprobs] = tf.tidy(() => {
    const { sequences, picked, targets } = batchOf(one);
    return policyLogprobs(policy, sequences, { picked, targets, temperature: golden.temperature });
  });
  const wanted = expected.get("logprobs")!;
  const error = worstRelative((await readFloats(logprobs)).subarray(0, wanted.length), wanted, 1);
  logprobs.dispose();
  return error;
};

/** Largest relative error of a parameter's gradient; every parameter of the reference must be there, and no other. */
const gradientsError: Compare = async (policy, one, expected) => {
  accumulateGradients(policy, one, expected.get("token_weights")!);
  const weights = listWeights(policy.weights);
  const named = [...expected.keys()].filter((name) => name.startsWith("grad."));
  let worst = named.length === weights.length ? 0 : Infinity;
  for (const { name, grad } of weights) {
    const wanted = expected.get(`grad.${name}`)!;
    worst = Math.max(worst, relativeFrobenius(await readFloats(grad!), wanted));
  }
  return worst;
};

const NEW_TOKENS = 64;
/** Completions of a prompt, all the same; they share its keys. */
const GROUP = 2;

async function greedyTokens(policy: Policy, prompts: number[][], eosIds: number[]): Promise<number[][]> {
  const options = { temperature: 0, topP: 1, topK: 0, eosIds, maxTokens: NEW_TOKENS, readbackEvery: 16 };
  const generator = createGenerator(policy, options);
  const completions = await generator.generate({ prompts, groupSize: GROUP, seed: 1, step: 0 });
  generator.dispose();
  return completions.map(({ tokens }) => tokens);
}

const rowDifferences = (actual: number[][], wanted: number[][]) =>
  actual.reduce((sum, tokens, i) => sum + differences(tokens, wanted[Math.floor(i / GROUP)]), 0) +
  differences([actual.length], [GROUP * wanted.length]);

const greedyError: Compare = async (policy, { greedy }) =>
  rowDifferences(await greedyTokens(policy, greedy.prompts, []), greedy.free);

const endedError: Compare = async (policy, { greedy }) =>
  rowDifferences(await greedyTokens(policy, greedy.prompts, [greedy.eosId]), greedy.ended);

/**
 * Decoded logits against those of one pass over prompt and tokens, which the logits line holds to the reference.
 * @param format of the KV cache
 */
export const decodeError =
  (format: WeightFormat): Compare => async (policy, { greedy: { prompts, free } }) => {
    const V = policy.config.vocabSize;
    const decoded = await decodeLogits(policy, prompts, free, format);
    const whole = await logitsOf(policy, prompts.map((prompt, r) => [...prompt, ...free[r]]));
    let start = 0, worst = 0;
    prompts.forEach((prompt, r) => {
      start += prompt.length;
      for (let t = 0; t < NEW_TOKENS; t++, start++) {
        const row = whole.subarray(start * V, (start + 1) * V);
        worst = Math.max(worst, worstOfRowMax(decoded[t].subarray(r * V, (r + 1) * V), row, V));
      }
    });
    return worst;
  };

/** Largest error of the bf16 checkpoints' logits, each divided by `unit` of its case. */
async function worstOfBf16(unit: (gap: number) => number): Promise<number> {
  let worst = 0;
  for (const { name, folder, gap } of golden.bf16) {
    const one = golden.cases.find((other) => other.name === name)!;
    const expected = await expectedOf(folder);
    const error = await withPolicy(folder, false, (policy) => {
      if (policy.weights.embedding.format !== "bf16") throw new Error(`${folder}: bf16 was not kept packed`);
      return logitsError(policy, one, expected);
    });
    worst = Math.max(worst, error / unit(gap));
  }
  return worst;
}

const GAPS = golden.bf16.map(({ name, gap }) => `${name} ${gap.toPrecision(2)}`).join(", ");

type Limits = Record<"logits" | "logprobs" | "gradients", number>;

/** The lines of the models of a folder. @param models which those are */
function linesOf(models: string, those: Golden, limits: Limits): ParityLine[] {
  return [
    {
      what: `Logits of a left-padded batch: ${models}`,
      reference: "transformers, f32, eager attention",
      measure: "of the row's max",
      limit: limits.logits,
      worst: () => worstOf(those, false, logitsError),
    },
    {
      what: "Log-probs of the completion tokens at temperature 0.7, the same models",
      reference: "log_softmax of transformers' logits",
      measure: "relative, of at least 1 nat",
      limit: limits.logprobs,
      worst: () => worstOf(those, false, logprobsError),
    },
    {
      what:
        "Gradient of a token-weighted sum of log-probs for every parameter, from two micro-batches, the same models",
      reference: "torch autograd through transformers",
      measure: "relative Frobenius, worst parameter",
      limit: limits.gradients,
      worst: () => worstOf(those, true, gradientsError),
    },
    {
      what: `Greedy completions, ${NEW_TOKENS} tokens, twice each of 4 unequal prompts, the same models`,
      reference: "transformers generate, f32",
      measure: "tokens that differ",
      limit: 0,
      worst: () => worstOf(those, false, greedyError),
    },
    {
      what: "Greedy completions that an end token ends row by row, the same models",
      reference: "transformers generate, f32",
      measure: "tokens that differ",
      limit: 0,
      worst: () => worstOf(those, false, endedError),
    },
    {
      what: "Logits of decoding over the KV cache, the same models and tokens",
      reference: "our full forward pass",
      measure: "of the row's max",
      limit: 0,
      worst: () => worstOf(those, false, decodeError("f32")),
    },
  ];
}

const bf16Lines: ParityLine[] = [
  {
    what: "Logits with bf16 weights, kept packed (Mistral, Qwen2)",
    reference: "transformers, the same weights in f32 arithmetic",
    measure: "of the row's max",
    limit: 2e-5,
    worst: () => worstOfBf16(() => 1),
  },
  {
    what: "The same error as a share of what transformers loses by bf16 arithmetic",
    reference: "transformers, bf16 against f32 arithmetic on the same weights",
    measure: "share of its bf16-f32 gap",
    limit: 1,
    reason: `that gap, of the row's max: ${GAPS}; our arithmetic on bf16 weights is f32`,
    worst: () => worstOfBf16((gap) => gap),
  },
];

export const lines: ParityLine[] = [
  ...linesOf(LLAMAS, golden, { logits: 3e-5, logprobs: 2e-5, gradients: 5e-5 }),
  ...bf16Lines,
  ...linesOf(FAMILIES, goldenFamilies, { logits: 2e-5, logprobs: 1e-5, gradients: 5e-5 }),
];
