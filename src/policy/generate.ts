/**
 * Samples completions: each prompt's prefill once, shared by its group; then one recorded plan, replayed once per
 * token for all rows, with the KV cache, the sampled tokens and the random counters on the GPU. The host looks at
 * the tokens every `readbackEvery` of them.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { copyTensor, emptyTensor, readTensor, writeTensor } from "../gpu/bridge.ts";
import { type Plan, recordPlan } from "../gpu/plan.ts";
import { attentionDecode } from "../ops/attention_decode.ts";
import { gatherRows, inverseRows } from "../ops/gather_rows.ts";
import { kvAppend } from "../ops/kv_append.ts";
import {
  advanceDecode,
  type DecodeState,
  hasRepetitionPenalty,
  initialState,
  sampleTokens,
  type SamplingOptions,
  seenTokens,
} from "../ops/sample.ts";
import {
  type Attend,
  causalAttend,
  headLogits,
  type Policy,
  trunkForward,
  uploadSequences,
} from "./llama.ts";
import { bucketRows, packSequences } from "./packing.ts";

export interface GenerationOptions extends SamplingOptions {
  /** Each of these ends a completion. */
  eosIds: readonly number[];
  maxTokens: number;
  /** Tokens between two looks at what has ended. */
  readbackEvery: number;
}

export interface GenerationRequest {
  /** Token ids of each prompt. */
  prompts: readonly ArrayLike<number>[];
  /** Completions per prompt. */
  groupSize: number;
  /** The random numbers' place; see rl/rng.ts. */
  seed: number;
  step: number;
  /** Slot of prompts[0] among all prompts of the step (other ranks have the slots before). */
  firstPrompt?: number;
  /**
   * Looks at a completion's tokens so far: how many of them to keep if it ends there (a stop string), else null.
   * Called at read-backs, so it may see more tokens than it keeps.
   */
  findStop?(tokens: readonly number[]): number | null;
  onProgress?(tokensDone: number, rowsLeft: number): void;
}

export interface Completion {
  /** Up to and including the end token or the stop string. */
  tokens: number[];
  end: "eos" | "stop" | "length";
}

/** Prompt and completion keys and values of one layer. */
interface LayerCache {
  kPrompt: Tensor;
  vPrompt: Tensor;
  k: Tensor;
  v: Tensor;
}

/** Buffers and plan for one shape of batch; reused from step to step. */
interface DecodeSession {
  rows: number;
  promptRows: number;
  decode: DecodeState;
  promptBounds: Tensor;
  caches: LayerCache[];
  plan: Plan;
  dispose(): void;
}

export interface Generator {
  generate(request: GenerationRequest): Promise<Completion[]>;
  dispose(): void;
}

function makeDecodeState(vocab: number, options: GenerationOptions, rows: number): DecodeState {
  const i32 = (shape: number[]) => emptyTensor(shape, "int32");
  return {
    rows: i32([rows, 4]),
    state: i32([4 + options.eosIds.length]),
    done: i32([rows]),
    nextToken: i32([rows]),
    nextPosition: i32([rows]),
    tokens: i32([rows, options.maxTokens]),
    seen: i32(hasRepetitionPenalty(options) ? [rows, Math.ceil(vocab / 32)] : [1]),
  };
}

/** Forward of the last sampled token of every row, then the next one's draw. */
function recordDecode(
  policy: Policy,
  options: GenerationOptions,
  decode: DecodeState,
  promptBounds: Tensor,
  caches: LayerCache[],
): Plan {
  const attend: Attend = (l, q, k, v) => {
    const { kPrompt, vPrompt, k: kCache, v: vCache } = caches[l];
    kvAppend(kCache, k, decode.state);
    kvAppend(vCache, v, decode.state);
    const inputs = { kPrompt, vPrompt, promptBounds, kCache, vCache, position: decode.state };
    return attentionDecode(q, inputs, policy.attentionShape);
  };
  return recordPlan(() => {
    const tokens = { ids: decode.nextToken, positions: decode.nextPosition };
    const hidden_RD = trunkForward(policy, tokens, attend, "few");
    sampleTokens(headLogits(policy, hidden_RD, "few"), decode, options);
    advanceDecode(decode);
  });
}

function openSession(
  policy: Policy,
  options: GenerationOptions,
  rows: number,
  promptRows: number,
): DecodeSession {
  const { layers, kvHeads, headDim, vocabSize } = policy.config;
  const width = kvHeads * headDim;
  const decode = makeDecodeState(vocabSize, options, rows);
  const promptBounds = emptyTensor([rows, 2], "int32");
  const caches = Array.from({ length: layers }, (): LayerCache => ({
    kPrompt: emptyTensor([promptRows, width]),
    vPrompt: emptyTensor([promptRows, width]),
    k: emptyTensor([rows, options.maxTokens, width]),
    v: emptyTensor([rows, options.maxTokens, width]),
  }));
  const plan = recordDecode(policy, options, decode, promptBounds, caches);
  const owned = [
    ...Object.values(decode),
    promptBounds,
    ...caches.flatMap((cache) => Object.values(cache)),
  ] as Tensor[];
  return {
    rows,
    promptRows,
    decode,
    promptBounds,
    caches,
    plan,
    dispose() {
      plan.dispose();
      tf.dispose(owned);
    },
  };
}

/** Prompts forward, their keys and values kept, and the first token of every row sampled. */
function prefill(
  policy: Policy,
  options: GenerationOptions,
  session: DecodeSession,
  request: GenerationRequest,
): void {
  const { prompts, groupSize, seed, step, firstPrompt = 0 } = request;
  const packed = packSequences(prompts);
  const { decode } = session;
  const promptOfRow = (r: number) => Math.floor(r / groupSize);
  const rowTable = (logitsRow: (r: number) => number) =>
    Int32Array.from({ length: session.rows * 4 }, (_, i) => {
      const r = i >> 2;
      const p = promptOfRow(r);
      return [logitsRow(r), firstPrompt + p, r % groupSize, prompts[p].length][i & 3];
    });
  const bounds = Int32Array.from(
    { length: session.rows * 2 },
    (_, i) => packed.starts[promptOfRow(i >> 1) + (i & 1)],
  );
  writeTensor(session.promptBounds, bounds);
  writeTensor(decode.rows, rowTable((r) => r));
  writeTensor(decode.state, initialState(seed, step, options.eosIds));
  writeTensor(decode.done, new Int32Array(session.rows));
  writeTensor(decode.tokens, new Int32Array(session.rows * options.maxTokens).fill(-1));
  if (hasRepetitionPenalty(options)) {
    const perPrompt = prompts.map((ids) => seenTokens(ids, policy.config.vocabSize));
    const width = perPrompt[0].length;
    const seen = new Int32Array(session.rows * width);
    for (let r = 0; r < session.rows; r++) seen.set(perPrompt[promptOfRow(r)], r * width);
    writeTensor(decode.seen, seen);
  }
  tf.tidy(() => {
    const sequences = uploadSequences(packed);
    const causal = causalAttend(policy, sequences);
    const hidden_ND = trunkForward(policy, sequences, (l, q, k, v) => {
      copyTensor(k, session.caches[l].kPrompt);
      copyTensor(v, session.caches[l].vPrompt);
      return causal(l, q, k, v);
    }, "many");
    const lastRows = Int32Array.from(prompts, (_, p) => packed.starts[p + 1] - 1);
    const inverse = tf.tensor1d(inverseRows(lastRows, packed.ids.length), "int32");
    const last_PD = gatherRows(hidden_ND, tf.tensor1d(lastRows, "int32"), inverse);
    const promptRows = tf.tensor2d(rowTable(promptOfRow), [session.rows, 4], "int32");
    sampleTokens(headLogits(policy, last_PD, "few"), { ...decode, rows: promptRows }, options);
    advanceDecode(decode);
  });
}

/** One row's sampled tokens: where it ended, and how. */
function readRow(
  sampled: Int32Array,
  sampledCount: number,
  request: GenerationRequest,
  eosIds: readonly number[],
): Completion {
  const tokens: number[] = [];
  let end: Completion["end"] = "length";
  for (let t = 0; t < sampledCount && end === "length"; t++) {
    tokens.push(sampled[t]);
    if (eosIds.includes(sampled[t])) end = "eos";
  }
  const kept = request.findStop?.(tokens) ?? null;
  if (kept === null) return { tokens, end };
  return { tokens: tokens.slice(0, kept), end: "stop" };
}

/** Replays the plan until every row has ended; returns the completions. */
async function decodeRows(
  session: DecodeSession,
  options: GenerationOptions,
  request: GenerationRequest,
): Promise<Completion[]> {
  const { decode, rows } = session;
  const ended: (Completion | null)[] = new Array(rows).fill(null);
  const readBack = async (count: number) => {
    const sampled = await readTensor(decode.tokens) as Int32Array;
    for (let r = 0; r < rows; r++) {
      const row = sampled.subarray(r * options.maxTokens, (r + 1) * options.maxTokens);
      if (ended[r]) continue;
      const completion = readRow(row, count, request, options.eosIds);
      if (completion.end !== "length" || count === options.maxTokens) ended[r] = completion;
    }
    const left = ended.filter((completion) => completion === null).length;
    request.onProgress?.(count, left);
    return left;
  };
  let count = 1; // the prefill sampled the first
  do {
    const burst = Math.min(options.readbackEvery, options.maxTokens - count);
    if (burst > 0) session.plan.replay(burst);
    count += burst;
  } while (await readBack(count) > 0);
  return ended as Completion[];
}

function checkRequest(policy: Policy, options: GenerationOptions, request: GenerationRequest): void {
  const longest = Math.max(...request.prompts.map((prompt) => prompt.length));
  if (request.prompts.some((prompt) => prompt.length === 0)) {
    throw new RangeError("Cannot generate from an empty prompt: need at least one token (BOS)");
  }
  if (longest + options.maxTokens > policy.config.maxPositions) {
    throw new RangeError(
      `Cannot generate ${options.maxTokens} tokens after a prompt of ${longest}: the model has ${policy.config.maxPositions} ` +
        "positions; set smaller max_prompt_length or max_completion_length",
    );
  }
}

/**
 * A generator over `policy` as its weights are at each call. Keeps its buffers between calls of the same size.
 * @throws RangeError (from generate) for an empty prompt, or lengths beyond the model's positions
 */
export function createGenerator(policy: Policy, options: GenerationOptions): Generator {
  let session: DecodeSession | null = null;
  return {
    generate(request) {
      checkRequest(policy, options, request);
      const rows = request.prompts.length * request.groupSize;
      const promptRows = bucketRows(request.prompts.reduce((sum, prompt) => sum + prompt.length, 0));
      if (!session || session.rows !== rows || session.promptRows < promptRows) {
        session?.dispose();
        session = openSession(policy, options, rows, promptRows);
      }
      prefill(policy, options, session, request);
      return decodeRows(session, options, request);
    },
    dispose() {
      session?.dispose();
      session = null;
    },
  };
}
