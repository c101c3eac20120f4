/** The tiny checkpoints of golden/make/models.py and families.py, and our logits for their sequences. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { loadTrunk } from "../../src/assembly/models.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import {
  causalAttend,
  disposeTrunk,
  headLogits,
  policyLogprobs,
  trunkForward,
  uploadSequences,
} from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { disposeWeights, listWeights } from "../../src/policy/weights.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";

/** One family of cases.json. */
export interface ModelCase {
  name: string;
  /** The folder that its folder is in. */
  root: URL;
  prompts: number[][];
  completions: number[][];
  greedy: { prompts: number[][]; free: number[][]; eosId: number; ended: number[][] };
}

export interface Golden {
  temperature: number;
  cases: ModelCase[];
  bf16: { name: string; folder: string; gap: number }[];
}

const ROOT = new URL("../golden/models/", import.meta.url);

/** The cases of a folder of test/golden. */
function readGolden(root: URL): Golden {
  const read: Golden = JSON.parse(readFileSync(new URL("cases.json", root), "utf8"));
  return { ...read, cases: read.cases.map((one) => ({ ...one, root })) };
}

export const golden = readGolden(ROOT);
export const goldenFamilies = readGolden(new URL("../golden/families/", import.meta.url));

/** Loads a checkpoint by the program's own loader, runs `body` and frees it. */
export async function withPolicy<R>(
  name: string,
  trainable: boolean,
  body: (policy: Policy) => Promise<R>,
  root = ROOT,
): Promise<R> {
  const { policy } = await loadTrunk(fileURLToPath(new URL(name, root)), trainable ? "float32" : "frozen");
  try {
    return await body(policy);
  } finally {
    disposeTrunk(policy);
    disposeWeights(listWeights(policy.weights));
  }
}

/** All expected tensors of a checkpoint, by name. */
export async function expectedOf(name: string, root = ROOT): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(fileURLToPath(new URL(`${name}/expected.safetensors`, root)));
  const values = new Map<string, Float32Array>();
  for (const [tensor, { dtype }] of file.tensors) {
    values.set(tensor, bytesToF32(await file.read(tensor), dtype));
  }
  await file.close();
  return values;
}

/** The error of a model's numbers. */
export type Compare = (
  policy: Policy,
  one: ModelCase,
  expected: Map<string, Float32Array>,
) => Promise<number>;

/** Worst error over all models of a folder. */
export async function worstOf({ cases }: Golden, trainable: boolean, compare: Compare): Promise<number> {
  const errors: number[] = [];
  for (const one of cases) {
    const expected = await expectedOf(one.name, one.root);
    errors.push(
      await withPolicy(one.name, trainable, (policy) => compare(policy, one, expected), one.root),
    );
  }
  return Math.max(...errors);
}

/** Prompts with their completions. */
export const sequencesOf = ({ prompts, completions }: ModelCase): number[][] =>
  prompts.map((ids, i) => [...ids, ...completions[i]]);

/** Logits after every token of the sequences, laid end to end. @returns [tokens, V] */
export async function logitsOf(policy: Policy, sequences: readonly number[][]): Promise<Float32Array> {
  const packed = packSequences(sequences);
  const logits = tf.tidy(() => {
    const tensors = uploadSequences(packed);
    const hidden_ND = trunkForward(policy, tensors, causalAttend(policy, tensors), "many");
    return headLogits(policy, hidden_ND, "many");
  });
  const values = await readFloats(logits);
  logits.dispose();
  return values.subarray(0, packed.starts[sequences.length] * policy.config.vocabSize);
}

/**
 * Adds the gradient of a weighted sum of the completion tokens' log-probs into the weights, in two micro-batches: an op
 * that overwrites what is there leaves the second one's alone.
 * @param tokenWeights of all completion tokens, end to end
 */
export function accumulateGradients(
  policy: Policy,
  { prompts, completions }: ModelCase,
  tokenWeights: Float32Array,
): void {
  const rollouts = prompts.map((ids, i) => ({ prompt: { ids }, tokens: completions[i] }));
  const half = Math.floor(rollouts.length / 2);
  let first = 0;
  for (const part of [rollouts.slice(0, half), rollouts.slice(half)]) {
    const end = part.reduce((sum, { tokens }) => sum + tokens.length, first);
    tf.tidy(() => {
      const { sequences, picked, targets } = uploadMicroBatch(part);
      const dLogprobs = new Float32Array(targets.size);
      dLogprobs.set(tokenWeights.subarray(first, end));
      const forward = () =>
        policyLogprobs(policy, sequences, { picked, targets, temperature: golden.temperature })[0];
      tf.engine().gradients(forward, [policy.root], tf.tensor1d(dLogprobs), false);
    });
    first = end;
  }
}
