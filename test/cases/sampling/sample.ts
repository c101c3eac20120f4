import * as tf from "@tensorflow/tfjs";
import {
  advanceDecode,
  decodeAdvanceF64,
  hasRepetitionPenalty,
  initialState,
  sampleF64,
  sampleTokens,
  type SamplingOptions,
  seenTokens,
} from "../../../src/ops/sampling/sample.ts";
import { uniform01 } from "../../../src/rl/rng.ts";
import { type CaseInput, type OpCase, uniform } from "../case.ts";

const SEED = 0xdeadbee; // fits i32
const STEP = 7;

/** The state before slot `slot` is sampled. */
function stateAt(slot: number, eosIds: number[]): Int32Array {
  const state = initialState(SEED, STEP, eosIds);
  state[0] = slot - 1;
  return state;
}

type CaseOptions = SamplingOptions & {
  eosIds: number[];
  /** Logits are whole numbers, so that most stand several times. */
  isTied?: boolean;
};

/** What stands in a tensor before the kernel writes it: no token, no position. */
const UNWRITTEN = 777_777;

/** What row r of a case holds: a fifth of the vocabulary, another one for each row. */
function heldTokens(r: number, vocab: number): number[] {
  return Array.from({ length: vocab }, (_, v) => v).filter((v) => (v * 7 + r * 3) % 5 === 0);
}

function caseName(rows: number, vocab: number, options: CaseOptions): string {
  const { temperature, topK, topP, minP = 0, repetitionPenalty = 1, isTied } = options;
  return `sample ${rows} of ${vocab}${
    isTied ? " with ties" : ""
  }, T ${temperature} k ${topK} p ${topP} min ${minP} penalty ${repetitionPenalty}`;
}

function sampleCase(
  rows: number,
  vocab: number,
  slot: number,
  options: CaseOptions,
  benchOnly = false,
  spread = 4,
): OpCase {
  const seenRows = Array.from({ length: rows }, (_, r) => heldTokens(r, vocab));
  const seenValues = hasRepetitionPenalty(options)
    ? Int32Array.from(seenRows.flatMap((ids) => Array.from(seenTokens(ids, vocab))))
    : Int32Array.of(5);
  const columns = slot + 3;
  const logitsRows = Math.ceil(rows / 2);
  const rowTable = Int32Array.from(
    { length: rows * 4 },
    (_, i) => [Math.floor(i / 8), Math.floor(i / 8) + 40, Math.floor(i / 4) % 2, 11][i % 4],
  );
  const drawn = uniform(1, [logitsRows, vocab], spread);
  const logits = options.isTied ? { shape: drawn.shape, values: drawn.values.map(Math.round) } : drawn;
  return {
    name: caseName(rows, vocab, options) + (spread === 4 ? "" : ` logits to ${spread}`),
    inputs: {
      logits: logits as CaseInput,
      rows: { shape: [rows, 4], values: rowTable },
      state: { shape: [4 + options.eosIds.length], values: stateAt(slot, options.eosIds) },
      done: { shape: [rows], values: Int32Array.from({ length: rows }, (_, r) => r % 3 === 2 ? 1 : 0) },
      nextToken: { shape: [rows], values: new Int32Array(rows).fill(UNWRITTEN) },
      nextPosition: { shape: [rows], values: new Int32Array(rows).fill(UNWRITTEN) },
      tokens: { shape: [rows, columns], values: new Int32Array(rows * columns).fill(UNWRITTEN) },
      seen: { shape: [seenValues.length], values: seenValues },
      logprobs: uniform(3, [rows]),
      kept: { shape: [rows, columns], values: new Float64Array(rows * columns).fill(UNWRITTEN) },
    },
    run: ({ tensors: { logits, logprobs, kept, ...decode } }) => {
      const { rows, state, done, nextToken, nextPosition, tokens, seen } = decode;
      sampleTokens(logits, { rows, state, done, nextToken, nextPosition, tokens, seen }, options);
      // Greedy decoding keeps none.
      advanceDecode({ state, logprobs: kept }, options.temperature === 0 ? undefined : logprobs);
      return [tokens, done, nextToken, nextPosition, state, seen, kept].map((tensor) => tensor.clone());
    },
    twin: ({ logits, done, state, logprobs, kept }) => {
      const penalised = hasRepetitionPenalty(options);
      const tokens = new Int32Array(rows * columns).fill(UNWRITTEN);
      const ended = Int32Array.from(done);
      const next = new Int32Array(rows);
      for (let r = 0; r < rows; r++) {
        const [logitsRow, prompt, generation] = rowTable.subarray(r * 4);
        const u = uniform01(SEED, STEP, { prompt, generation, position: slot });
        const row = logits.slice(logitsRow * vocab, (logitsRow + 1) * vocab);
        const drawn = sampleF64(row, u, options, new Set(penalised ? seenRows[r] : []));
        next[r] = drawn;
        tokens[r * columns + slot] = ended[r] ? -1 : drawn;
        if (options.eosIds.includes(drawn)) ended[r] = 1;
      }
      const seen = penalised
        ? seenRows.flatMap((ids, r) => Array.from(seenTokens([...ids, next[r]], vocab)))
        : seenValues;
      const advanced = decodeAdvanceF64(state, kept, logprobs);
      const keptAfter = options.temperature === 0 ? kept : advanced.kept;
      return [tokens, ended, next, new Int32Array(rows).fill(11 + slot), advanced.state, seen, keptAfter];
    },
    tolerance: 0,
    toleranceReason: "token ids are exact (the drawn u's are not within f32 rounding of a boundary)",
    benchOnly,
    bench: {
      bytes: rows * vocab * 4,
      plainTfjs: ({ tensors }) => [tf.multinomial(tensors.logits as tf.Tensor2D, 2, SEED)],
    },
  };
}

const plain: CaseOptions = { temperature: 1, topP: 1, topK: 0, eosIds: [] };
export const cases: OpCase[] = [
  sampleCase(1, 1, 0, plain),
  sampleCase(9, 130, 4, { ...plain, eosIds: [3, 77] }),
  sampleCase(20, 6, 4, { ...plain, eosIds: [4, 1, 2] }),
  sampleCase(40, 65, 1, { ...plain, temperature: 0.7 }),
  sampleCase(9, 130, 4, { ...plain, eosIds: [3, 77, 9, 128, 41] }),
  sampleCase(7, 33, 2, { ...plain, temperature: 0 }),
  sampleCase(7, 33, 2, { ...plain, temperature: 0, repetitionPenalty: 1.3 }),
  sampleCase(40, 65, 1, { ...plain, repetitionPenalty: 1.8 }),
  sampleCase(40, 64, 1, { ...plain, repetitionPenalty: 0.6, minP: 0.05 }),
  sampleCase(33, 257, 0, { ...plain, topK: 5 }),
  sampleCase(33, 257, 0, { ...plain, topP: 0.6 }),
  sampleCase(33, 100, 3, { ...plain, temperature: 0.5, topK: 20, topP: 0.9 }),
  sampleCase(33, 257, 3, { ...plain, minP: 0.1 }),
  sampleCase(33, 257, 3, {
    temperature: 1.4,
    topK: 60,
    topP: 0.95,
    minP: 0.02,
    repetitionPenalty: 1.2,
    eosIds: [0],
  }),
  sampleCase(5, 12, 0, { ...plain, minP: 1 }),
  sampleCase(5, 12, 0, { ...plain, topP: 0.0001 }),
  // More tokens than a short row has: spread widely, in one step of the first histogram, and all alike.
  sampleCase(9, 5003, 0, plain),
  sampleCase(9, 5003, 0, { ...plain, topP: 0.7 }),
  sampleCase(9, 5003, 0, { ...plain, temperature: 0.6, topK: 40 }),
  sampleCase(9, 5003, 0, { ...plain, topK: 3000, topP: 0.9, repetitionPenalty: 1.2 }),
  sampleCase(9, 5003, 0, { ...plain, topK: 700, topP: 0.5 }, false, 0.02),
  sampleCase(9, 5003, 0, { ...plain, topP: 0.5 }, false, 0.0005),
  sampleCase(9, 5004, 0, plain),
  sampleCase(9, 5004, 0, { ...plain, topP: 0.7, repetitionPenalty: 1.2 }),
  sampleCase(9, 5004, 0, { ...plain, topK: 700, topP: 0.5 }, false, 0.02),
  sampleCase(5, 5004, 0, { ...plain, temperature: 0, repetitionPenalty: 1.3, isTied: true }),
  sampleCase(5, 1025, 0, { ...plain, topK: 7, topP: 0.5 }, false, 0),
  sampleCase(5, 1030, 0, { ...plain, temperature: 0.5, topK: 200, topP: 0.99 }, false, 40),
  // The first of equals, in one lane and in several; what equals the last that is kept is kept too.
  ...[3, 9, 64, 65, 130, 1030].map((vocab) =>
    sampleCase(7, vocab, 2, { ...plain, temperature: 0, isTied: true })
  ),
  sampleCase(7, 130, 2, { ...plain, temperature: 0 }, false, 0),
  sampleCase(9, 257, 0, { ...plain, topK: 5, isTied: true }),
  sampleCase(9, 257, 0, { ...plain, topP: 0.3, isTied: true }),
  sampleCase(9, 257, 0, { ...plain, minP: Math.exp(-2), isTied: true }),
  sampleCase(9, 5003, 0, { ...plain, topK: 40, topP: 0.9, isTied: true }),
  // More equals than are listed: the share is still one of what top_k keeps.
  sampleCase(9, 5003, 0, { ...plain, topK: 2000, topP: 0.555, isTied: true }, false, 1),
  sampleCase(9, 64, 0, { ...plain, topK: 64 }),
  sampleCase(9, 64, 0, { ...plain, topK: 1 }),
  sampleCase(65_539, 3, 0, { ...plain, eosIds: [1] }),
  sampleCase(64, 512, 0, plain, true),
  sampleCase(60, 32000, 0, plain, true),
  sampleCase(60, 32000, 0, { ...plain, topK: 50 }, true),
  sampleCase(60, 32000, 0, { ...plain, topP: 0.9 }, true),
];
