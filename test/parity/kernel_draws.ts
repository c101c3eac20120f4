/** Single draws of the sampling kernel, for the lines that look at what it keeps and draws. */
import * as tf from "@tensorflow/tfjs";
import { emptyTensor, readTensor, uploadTensor } from "../../src/gpu/tensors.ts";
import {
  hasRepetitionPenalty,
  initialState,
  sampleTokens,
  type SamplingOptions,
  seenTokens,
} from "../../src/ops/sampling/sample.ts";
import { uniform01 } from "../../src/rl/rng.ts";

/** Random numbers of key (SEED, STEP). Their first one for prompt PROMPT_OF_ZERO and generation 0 is exactly 0. */
const SEED = 0xdeadbee;
const STEP = 7;
export const PROMPT_OF_ZERO = 52_727_394;

/** One row to draw a token for: its logits' row, its random counters and what it holds. */
export interface DrawRow {
  logitsRow: number;
  prompt: number;
  generation: number;
  history: number[];
}

/** The kernel's first token for every row. */
export async function drawOnGpu(
  logits: Float32Array,
  vocab: number,
  rows: DrawRow[],
  options: SamplingOptions,
): Promise<Int32Array> {
  const count = rows.length;
  const table = rows.flatMap(({ logitsRow, prompt, generation }) => [logitsRow, prompt, generation, 1]);
  const seen = hasRepetitionPenalty(options)
    ? Int32Array.from(rows.flatMap(({ history }) => Array.from(seenTokens(history, vocab))))
    : new Int32Array(1);
  const decode = {
    rows: uploadTensor(Int32Array.from(table), [count, 4]),
    state: uploadTensor(initialState(SEED, STEP, []), [4]),
    done: uploadTensor(new Int32Array(count), [count]),
    nextToken: emptyTensor([count], "int32"),
    nextPosition: emptyTensor([count], "int32"),
    tokens: emptyTensor([count, 1], "int32"),
    seen: uploadTensor(seen, [seen.length]),
  };
  const uploaded = uploadTensor(logits, [logits.length / vocab, vocab]);
  sampleTokens(uploaded, decode, options);
  const drawn = await readTensor(decode.nextToken) as Int32Array;
  tf.dispose([uploaded, ...Object.values(decode)]);
  return drawn;
}

/** The u in [0,1) that drawOnGpu draws with. */
export function uniformOf({ prompt, generation }: DrawRow): number {
  return uniform01(SEED, STEP, { prompt, generation, position: 0 });
}
