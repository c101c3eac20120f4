/** The decoding path of policy/decode/generate.ts with given tokens, not sampled ones, so that its logits show. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { emptyTensor, readFloats, uploadTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import type { BlockTable } from "../../src/ops/attention/kv_append.ts";
import { BLOCK_TOKENS, blocksFor } from "../../src/policy/decode/kv_blocks.ts";
import {
  createKvCache,
  decodeAttend,
  type KvCache,
  prefillAttend,
} from "../../src/policy/decode/kv_cache.ts";
import { headLogits, trunkForward, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { packSequences } from "../../src/policy/packing.ts";
import type { WeightFormat } from "../../src/ops/weight/weight.ts";

/** A row of its own blocks for each prompt and `tokens` tokens after it. */
function blockTable(cache: KvCache, prompts: readonly number[][], tokens: number): BlockTable {
  const perRow = blocksFor(Math.max(...prompts.map(({ length }) => length)) + tokens, cache.blockTokens);
  cache.reserve(prompts.length * perRow, prompts.length * perRow);
  const rows = prompts.map(() => [0, ...cache.blocks.take(perRow)]);
  const table = uploadTensor(Int32Array.from(rows.flat()), [prompts.length, 1 + perRow]);
  return { table, blockShift: cache.blockShift };
}

/** Prompts forward; their keys and values kept. */
function prefill(policy: Policy, prompts: readonly number[][], cache: KvCache, table: BlockTable): void {
  const packed = packSequences(prompts);
  const owners = new Int32Array(packed.ids.length).fill(-1);
  prompts.forEach((_, p) => owners.fill(p, packed.starts[p], packed.starts[p + 1]));
  tf.tidy(() => {
    const sequences = uploadSequences(packed);
    const attend = prefillAttend(policy, cache, { sequences, table, owners: tf.tensor1d(owners, "int32") });
    trunkForward(policy, sequences, attend, "many");
  });
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
  format: WeightFormat = "f32",
): Promise<Float32Array[]> {
  const rows = prompts.length;
  const cache = createKvCache(policy.config, format, BLOCK_TOKENS);
  const table = blockTable(cache, prompts, tokens[0].length);
  prefill(policy, prompts, cache, table);
  const [ids, positions] = [emptyTensor([rows], "int32"), emptyTensor([rows], "int32")];
  const attend = decodeAttend(policy, cache, table, positions);
  const made: { logits?: Tensor } = {};
  const plan = recordPlan(() => {
    const hidden_RD = trunkForward(policy, { ids, positions }, attend, "few");
    made.logits = tf.keep(headLogits(policy, hidden_RD, "few"));
  });
  const logits = tokens[0].map((_, t) => {
    writeTensor(ids, Int32Array.from(tokens, (row) => row[t]));
    writeTensor(positions, Int32Array.from(prompts, (prompt) => prompt.length + t));
    plan.replay();
    return tf.add(made.logits!, 0);
  });
  const values = await Promise.all(logits.map(readFloats));
  plan.dispose();
  cache.dispose();
  tf.dispose([...logits, ids, positions, table.table]);
  return values;
}
