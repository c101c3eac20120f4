/** The decoding path of policy/generate.ts with given tokens in place of sampled ones, so that its logits show. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { copyTensor, emptyTensor, readFloats, writeTensor } from "../../src/gpu/bridge.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { attentionDecode } from "../../src/ops/attention_decode.ts";
import { kvAppend } from "../../src/ops/kv_append.ts";
import {
  causalAttend,
  headLogits,
  type Policy,
  trunkForward,
  uploadSequences,
} from "../../src/policy/llama.ts";
import { packSequences } from "../../src/policy/packing.ts";

interface LayerCache {
  kPrompt: Tensor;
  vPrompt: Tensor;
  k: Tensor;
  v: Tensor;
}

/** Prompts forward; their keys and values kept. @returns rows of each prompt, [R,2] */
function prefill(policy: Policy, prompts: readonly number[][], caches: LayerCache[]): Int32Array {
  const packed = packSequences(prompts);
  tf.tidy(() => {
    const sequences = uploadSequences(packed);
    const causal = causalAttend(policy, sequences);
    trunkForward(policy, sequences, (l, q, k, v) => {
      copyTensor(k, caches[l].kPrompt);
      copyTensor(v, caches[l].vPrompt);
      return causal(l, q, k, v);
    }, "many");
  });
  return Int32Array.from(prompts.flatMap((_, p) => [packed.starts[p], packed.starts[p + 1]]));
}

/**
 * Logits after each of the tokens, one token of every row at a time through one recorded plan over the KV cache.
 * @param tokens as many of each row
 * @returns one [R,V] per token
 */
export async function decodeLogits(
  policy: Policy,
  prompts: readonly number[][],
  tokens: readonly number[][],
): Promise<Float32Array[]> {
  const [rows, slots] = [prompts.length, tokens[0].length];
  const width = policy.config.kvHeads * policy.config.headDim;
  const promptRows = packSequences(prompts).ids.length;
  const caches = policy.weights.layers.map((): LayerCache => ({
    kPrompt: emptyTensor([promptRows, width]),
    vPrompt: emptyTensor([promptRows, width]),
    k: emptyTensor([rows, slots, width]),
    v: emptyTensor([rows, slots, width]),
  }));
  const i32 = (shape: number[]) => emptyTensor(shape, "int32");
  const [ids, positions, position, promptBounds] = [i32([rows]), i32([rows]), i32([1]), i32([rows, 2])];
  writeTensor(promptBounds, prefill(policy, prompts, caches));
  const made: { logits?: Tensor } = {};
  const plan = recordPlan(() => {
    const hidden_RD = trunkForward(policy, { ids, positions }, (l, q, k, v) => {
      const { kPrompt, vPrompt, k: kCache, v: vCache } = caches[l];
      kvAppend(kCache, k, position);
      kvAppend(vCache, v, position);
      const context = { kPrompt, vPrompt, promptBounds, kCache, vCache, position };
      return attentionDecode(q, context, policy.attentionShape);
    }, "few");
    made.logits = tf.keep(headLogits(policy, hidden_RD, "few"));
  });
  const logits: Tensor[] = [];
  for (let t = 0; t < slots; t++) {
    writeTensor(ids, Int32Array.from(tokens, (row) => row[t]));
    writeTensor(positions, Int32Array.from(prompts, (prompt) => prompt.length + t));
    writeTensor(position, Int32Array.of(t));
    plan.replay();
    logits.push(tf.add(made.logits!, 0));
  }
  const values = await Promise.all(logits.map(readFloats));
  plan.dispose();
  const owned: Tensor[] = caches.flatMap((cache) => Object.values(cache));
  tf.dispose([...logits, ...owned, ids, positions, position, promptBounds]);
  return values;
}
