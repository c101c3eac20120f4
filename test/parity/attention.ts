/** Sliding windows, bounded scores and logits, heads of 256, against torch and transformers (golden/make/attention.py). */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { packedBounds, prefixRanges } from "../cases/attention/attention.ts";
import { readFloats, uploadTensor, zeroTensor } from "../../src/gpu/tensors.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { attention, type AttentionShape } from "../../src/ops/attention/attention.ts";
import { attentionDecode } from "../../src/ops/attention/attention_decode.ts";
import { kvAppend, type KvPool } from "../../src/ops/attention/kv_append.ts";
import { type FinalLogits, finalLogits } from "../../src/ops/head/final_logits.ts";
import { lmHeadLogprobs } from "../../src/ops/head/lm_head_logprobs.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { type ParityLine, relativeFrobenius } from "./line.ts";

/** What is null there is left out here. */
type Nullable<T> = { [K in keyof T]: T[K] | null };

interface AttentionCase extends Nullable<AttentionShape> {
  /** Of each sequence, and how many of them are its prompt's. */
  rows: number[];
  prompts: number[];
}

type HeadCase = Nullable<FinalLogits> & { temperature: number };

const pathOf = (name: string) => fileURLToPath(new URL(`../golden/${name}`, import.meta.url));
const golden: { attention: AttentionCase[]; heads: HeadCase[] } = JSON.parse(
  readFileSync(pathOf("attention.json"), "utf8"),
);

/** The tensors of a case, by name. */
async function tensorsOf(prefix: string): Promise<Record<string, Tensor>> {
  const reader = await openSafetensors(pathOf("attention.safetensors"));
  const made: Record<string, Tensor> = {};
  for (const [name, { shape }] of reader.tensors) {
    if (!name.startsWith(`${prefix}.`)) continue;
    const { buffer } = (await reader.read(name)).slice();
    const key = name.slice(prefix.length + 1);
    made[key] = uploadTensor(key === "tokens" ? new Int32Array(buffer) : new Float32Array(buffer), [
      ...shape,
    ]);
  }
  await reader.close();
  return made;
}

const shapeOf = ({ rows: _rows, prompts: _prompts, softcap, window, ...rest }: AttentionCase) =>
  ({ ...rest, softcap: softcap ?? undefined, window: window ?? undefined }) as AttentionShape;

/** Rows of prompts, or of what follows them, of sequences that lie end to end. */
function partOf(x: Tensor, { rows, prompts }: AttentionCase, isPrompt: boolean): Tensor {
  let first = 0;
  return tf.concat(rows.flatMap((count, s) => {
    const begin = first + (isPrompt ? 0 : prompts[s]);
    const end = first + (isPrompt ? prompts[s] : count);
    first += count;
    return end > begin ? [tf.slice(x, [begin, 0], [end - begin, -1])] : [];
  }));
}

async function worstOf(actual: readonly Tensor[], expected: readonly Tensor[]): Promise<number> {
  let worst = 0;
  for (const [i, tensor] of actual.entries()) {
    worst = Math.max(worst, relativeFrobenius(await readFloats(tensor), await readFloats(expected[i])));
  }
  return worst;
}

const indexPairs = (values: Int32Array) => uploadTensor(values, [values.length / 2, 2]);

async function packedError(one: AttentionCase, { q, k, v, dy, o, dq, dk, dv }: Record<string, Tensor>) {
  const bounds = indexPairs(packedBounds(one.rows));
  const attend = () => attention({ q, k, v, bounds }, shapeOf(one));
  const { value, grads } = tf.engine().gradients(attend, [q, k, v], dy, false) as {
    value: Tensor;
    grads: Tensor[];
  };
  return await worstOf([value, ...grads], [o, dq, dk, dv]);
}

/** The rows behind each sequence's prompt, which is a prefix. */
async function sharedError(one: AttentionCase, tensors: Record<string, Tensor>) {
  const own = (name: string) => partOf(tensors[name], one, false);
  const shared = (name: string) => partOf(tensors[name], one, true);
  const [q, k, v, dy] = ["q", "k", "v", "dy"].map(own);
  const lengths = one.rows.map((count, s) => count - one.prompts[s]);
  const { ranges, readers } = prefixRanges(one.prompts, lengths.map((count) => [count]));
  const [pulledK, pulledV] = ["k", "v"].map((name) => zeroTensor(shared(name).shape));
  const prefix = {
    k: shared("k"),
    v: shared("v"),
    ranges: indexPairs(ranges),
    readers: indexPairs(readers),
    dk: pulledK,
    dv: pulledV,
  };
  const attend = () =>
    attention({ q, k, v, bounds: indexPairs(packedBounds(lengths)), prefix }, shapeOf(one));
  const { value, grads } = tf.engine().gradients(attend, [q, k, v], dy, false) as {
    value: Tensor;
    grads: Tensor[];
  };
  const expected = [...["o", "dq", "dk", "dv"].map(own), shared("dk"), shared("dv")];
  return await worstOf([value, ...grads, pulledK, pulledV], expected);
}

/** Every token as the newest of its sequence: a row of the table for each, over the blocks of that sequence. */
async function decodeError(one: AttentionCase, { q, k, v, o }: Record<string, Tensor>) {
  const blockShift = 2;
  const blocksOf = (count: number) => Math.ceil(count / 2 ** blockShift);
  const columns = 1 + Math.max(...one.rows.map(blocksOf));
  const blocks = one.rows.map(blocksOf).reduce((a, b) => a + b);
  let taken = 0;
  const table = one.rows.flatMap((count) => {
    const row = [0, ...Array.from({ length: blocksOf(count) }, () => taken++)];
    return Array.from({ length: count }, () => [...row, ...new Array(columns - row.length).fill(-1)]).flat();
  });
  const places = one.rows.flatMap((count) => Array.from({ length: count }, (_, t) => t));
  const layout = { table: uploadTensor(Int32Array.from(table), [places.length, columns]), blockShift };
  const positions = uploadTensor(Int32Array.from(places), [places.length]);
  const owners = uploadTensor(Int32Array.from(places, (_, row) => row), [places.length]);
  const shape = [blocks, 2 ** blockShift, k.shape[1]!];
  const pool: KvPool = { k: zeroTensor(shape), v: zeroTensor(shape), format: "f32" };
  kvAppend(pool, { k, v, owners, positions }, layout);
  return await worstOf([attentionDecode(q, { pool, positions, ...layout }, shapeOf(one))], [o]);
}

async function headError(
  one: HeadCase,
  { hidden, head, tokens, upstream, ...expected }: Record<string, Tensor>,
) {
  const grad = zeroTensor(head.shape);
  const weight: Weight = { name: "head", shape: [...head.shape], format: "f32", tensor: head, grad };
  const options = { softcap: one.softcap ?? undefined, divisor: one.divisor ?? undefined };
  const made = finalLogits(linear(hidden, weight, { rows: "few" }), options);
  const run = () =>
    lmHeadLogprobs(hidden, weight, tokens, { temperature: one.temperature, chunkRows: 64, ...options })[0];
  const { value, grads } = tf.engine().gradients(run, [hidden], upstream, false) as {
    value: Tensor;
    grads: Tensor[];
  };
  const { logits, logprobs, dhidden, dhead } = expected;
  return await worstOf([made, value, grads[0], grad], [logits, logprobs, dhidden, dhead]);
}

/** Largest error over the cases of a kind. */
async function worstCase<Case>(
  kind: string,
  cases: readonly Case[],
  errorOf: (one: Case, tensors: Record<string, Tensor>) => Promise<number>,
): Promise<number> {
  let worst = 0;
  for (const [index, one] of cases.entries()) {
    const tensors = await tensorsOf(`${kind}${index}`);
    tf.engine().startScope();
    worst = Math.max(worst, await errorOf(one, tensors));
    tf.engine().endScope();
    tf.dispose(tensors);
  }
  return worst;
}

const GEMMA = "transformers, eager attention of Gemma 2 under its sliding mask";
const MEASURE = "relative Frobenius, of the worst tensor";

export const lines: ParityLine[] = [
  {
    what: "Sliding windows, softcaps, scales, heads of 256: o, dq, dk and dv of packed sequences",
    reference: GEMMA,
    measure: MEASURE,
    limit: 3e-6,
    worst: () => worstCase("attention", golden.attention, packedError),
  },
  {
    what: "The same behind prompts that are computed once, and what these are pulled",
    reference: GEMMA,
    measure: MEASURE,
    limit: 3e-6,
    worst: () => worstCase("attention", golden.attention, sharedError),
  },
  {
    what: "The same, o of every token as decoding makes it",
    reference: GEMMA,
    measure: MEASURE,
    limit: 1e-6,
    worst: () => worstCase("attention", golden.attention, decodeError),
  },
  {
    what: "Logits divided and bounded, their log-probs, and gradients of hidden states and head",
    reference: "torch",
    measure: MEASURE,
    limit: 1e-6,
    worst: () => worstCase("head", golden.heads, headError),
  },
];
