import * as tf from "@tensorflow/tfjs";
import {
  advanceDecode,
  decodeAdvanceI32,
  sampleF64,
  sampleTokens,
  type SamplingOptions,
} from "../../src/ops/sample.ts";
import { uniform01 } from "../../src/rl/rng.ts";
import { type OpCase, uniform } from "../case.ts";

const SEED = 0xdeadbee; // fits i32
const STEP = 7;

function sampleCase(
  rows: number,
  vocab: number,
  slot: number,
  options: SamplingOptions,
  benchOnly = false,
): OpCase {
  const columns = slot + 3;
  const logitsRows = Math.ceil(rows / 2);
  const rowTable = Int32Array.from(
    { length: rows * 4 },
    (_, i) => [Math.floor(i / 8), Math.floor(i / 8) + 40, Math.floor(i / 4) % 2, 11][i % 4],
  );
  return {
    name: `sample ${rows} of ${vocab}, T ${options.temperature} k ${options.topK} p ${options.topP}`,
    inputs: {
      logits: uniform(1, [logitsRows, vocab], 4),
      rows: { shape: [rows, 4], values: rowTable },
      state: { shape: [4], values: Int32Array.from([slot - 1, SEED, STEP, 0]) },
      done: { shape: [rows], values: Int32Array.from({ length: rows }, (_, r) => r % 3 === 2 ? 1 : 0) },
      nextToken: { shape: [rows], values: new Int32Array(rows) },
      nextPosition: { shape: [rows], values: new Int32Array(rows) },
      tokens: { shape: [rows, columns], values: new Int32Array(rows * columns).fill(-1) },
    },
    run: ({ tensors: { logits, rows, state, done, nextToken, nextPosition, tokens } }) => {
      const decode = { rows, state, done, nextToken, nextPosition, tokens };
      sampleTokens(logits, decode, options);
      advanceDecode(decode);
      return [tokens, done, nextToken, nextPosition, state].map((tensor) => tensor.clone());
    },
    twin: ({ logits, done, state }) => {
      const tokens = new Int32Array(rows * columns).fill(-1);
      const ended = Int32Array.from(done);
      const next = new Int32Array(rows);
      for (let r = 0; r < rows; r++) {
        const [logitsRow, prompt, generation] = rowTable.subarray(r * 4);
        const u = uniform01(SEED, STEP, prompt, generation, slot);
        const drawn = sampleF64(logits.slice(logitsRow * vocab, (logitsRow + 1) * vocab), u, options).token;
        next[r] = drawn;
        tokens[r * columns + slot] = ended[r] ? -1 : drawn;
        if (options.eosIds.includes(drawn)) ended[r] = 1;
      }
      return [tokens, ended, next, new Int32Array(rows).fill(11 + slot), decodeAdvanceI32(state)];
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

const plain: SamplingOptions = { temperature: 1, topP: 1, topK: 0, eosIds: [] };
export const cases: OpCase[] = [
  sampleCase(1, 1, 0, plain),
  sampleCase(9, 130, 4, { ...plain, eosIds: [3, 77] }),
  sampleCase(40, 65, 1, { ...plain, temperature: 0.7 }),
  sampleCase(7, 33, 2, { ...plain, temperature: 0 }),
  sampleCase(33, 257, 0, { ...plain, topK: 5 }),
  sampleCase(33, 257, 0, { ...plain, topP: 0.6 }),
  sampleCase(33, 100, 3, { ...plain, temperature: 0.5, topK: 20, topP: 0.9 }),
  sampleCase(5, 12, 0, { ...plain, topP: 0.0001 }),
  sampleCase(64, 512, 0, plain, true),
  sampleCase(60, 32000, 0, { ...plain, topP: 0.9 }, true),
];
