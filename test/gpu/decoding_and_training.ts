/**
 * What decoding computes and what training computes of the same tokens are the same bits, so that the ratio of policy
 * and sampler is 1 where no step lies between: over sequences of one, two and three splits of keys.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { disposeKeys, packRests, prefixKeys, uploadPrefixRows } from "../../src/policy/shared_prefix.ts";
import { causalAttend, headLogits, trunkForward, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy, SequenceTensors } from "../../src/policy/trunk.ts";
import { decodeLogits } from "../parity/decode_logits.ts";
import { familyPolicy } from "./family_policies.ts";
import { type Family, TINY_CONFIG } from "./tiny_policy.ts";

const LONG: Family = { max_position_embeddings: 640 };
const POLICIES: Record<string, Family> = {
  "grouped heads of 8": LONG,
  "heads of 20, no groups": { ...LONG, model_type: "qwen3", head_dim: 20, num_key_value_heads: 4 },
  "four heads of 36 to a key head": { ...LONG, model_type: "qwen3", head_dim: 36, num_key_value_heads: 1 },
  "a window of 270, half of a head turned": {
    ...LONG,
    model_type: "phi3",
    sliding_window: 270,
    partial_rotary_factor: 0.5,
  },
  "windows of 12 and none, capped scores": {
    ...LONG,
    model_type: "gemma2",
    head_dim: 12,
    sliding_window: 12,
  },
  "scaled streams": { ...LONG, model_type: "granite", residual_multiplier: 0.5, attention_multiplier: 0.3 },
};
/** Tokens that are decoded; the first of them is the last of a prompt, as a completion's rows begin with it. */
const TOKENS = 12;
/** Before them: none of a split's ends, one at the first token, and some on the way. */
const PROMPTS = [9, 248, 256, 505];

type Mode = <R>(body: () => R) => R;

const ids = (seed: number, count: number) =>
  Array.from({ length: count }, (_, t) => (seed * 31 + t * t * 7 + t * 13) % TINY_CONFIG.vocab_size);
const prompts = PROMPTS.map((count, p) => ids(p + 1, count));
const completions = PROMPTS.map((_, p) => ids(p + 11, TOKENS));

/** Logits of every row, computed under a tape as training does. */
async function tapedLogits(policy: Policy, sequences: SequenceTensors): Promise<Float32Array> {
  const { value, grads } = tf.engine().gradients(
    () =>
      headLogits(policy, trunkForward(policy, sequences, causalAttend(policy, sequences), "many"), "many"),
    [policy.root],
    undefined,
    true,
  );
  const values = await readFloats(value);
  tf.dispose([value, ...grads as Tensor[]]);
  return values;
}

/** The rows of the completions' tokens, from logits of rows in which sequence s begins at starts[s]. */
function completionRows(logits: Float32Array, starts: ArrayLike<number>, skipped: number[]): Float32Array[] {
  const V = TINY_CONFIG.vocab_size;
  return skipped.map((count, s) => logits.slice((starts[s] + count) * V, (starts[s] + count + TOKENS) * V));
}

async function wholeLogits(policy: Policy): Promise<Float32Array[]> {
  const packed = packSequences(prompts.map((prompt, p) => [...prompt, ...completions[p]]));
  return completionRows(await tapedLogits(policy, uploadSequences(packed)), packed.starts, PROMPTS);
}

async function sharedLogits(policy: Policy): Promise<Float32Array[]> {
  const prefixes = packSequences(prompts);
  const packed = packRests(completions, prompts.map((_, p) => p), prefixes);
  const keys = prefixKeys(policy, uploadSequences(prefixes), false);
  const prefix = { keys, ...uploadPrefixRows(packed) };
  const logits = await tapedLogits(policy, { ...uploadSequences(packed), prefix });
  disposeKeys(keys);
  return completionRows(logits, packed.starts, prompts.map(() => 0));
}

/** By sequence, the logits behind each decoded token. */
async function sampledLogits(policy: Policy): Promise<Float32Array[]> {
  const V = TINY_CONFIG.vocab_size;
  const steps = await decodeLogits(policy, prompts, completions);
  return prompts.map((_, p) =>
    Float32Array.from(steps.flatMap((rows) => [...rows.subarray(p * V, (p + 1) * V)]))
  );
}

function assertSameBits(actual: Float32Array[], expected: Float32Array[], what: string): void {
  expected.forEach((values, p) => {
    const [found, wanted] = [actual[p], values].map((floats) => new Uint32Array(floats.slice().buffer));
    const first = wanted.findIndex((word, i) => word !== found[i]);
    const place = Math.floor(first / TINY_CONFIG.vocab_size) + PROMPTS[p];
    assert.equal(first, -1, `${what}, token ${place}: ${actual[p][first]}, not ${values[first]}`);
    assert.ok(values.length === TOKENS * TINY_CONFIG.vocab_size && values.every(Number.isFinite), what);
  });
}

/** @param modes of which kernels, each by its name */
export function describeDecodingAndTraining(modes: readonly [string, Mode][]): void {
  describe("decoding and training", () => {
    before(async () => void await openGpu());
    after(closeGpu);

    for (const [name, family] of Object.entries(POLICIES)) {
      for (const [kernels, mode] of modes) {
        it(`have the same logits, bit for bit: ${name}, with ${kernels} kernels`, () =>
          mode(async () => {
            const policy = await familyPolicy(family);
            const sampled = await sampledLogits(policy);
            assertSameBits(sampled, await wholeLogits(policy), "against whole sequences");
            assertSameBits(sampled, await sharedLogits(policy), "against prompts computed once");
          }));
      }
    }
  });
}
