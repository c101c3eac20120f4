/** Token sampling on the GPU, inside the decode plan. Random numbers follow rl/rng.ts. */
import type { Tensor } from "@tensorflow/tfjs";
import { f32, foldGrid, i32, runKernel, u32 } from "../gpu/bridge.ts";

export interface SamplingOptions {
  /** 0 = greedy. */
  temperature: number;
  /** 1 = off. */
  topP: number;
  /** 0 = off. */
  topK: number;
  /** At most two end-of-sequence tokens. */
  eosIds: number[];
}

/** The tensors that generation lives in; all on the GPU, all changed in place. R rows, T columns. */
export interface DecodeState {
  /** i32 [R,4]: row of the logits, prompt, generation (both only for the random numbers), prompt length. */
  rows: Tensor;
  /** i32 [4]: slot of the last sampled token (-1 before the first), seed, step, unused. */
  state: Tensor;
  /** i32 [R]: 1 once the row has ended. */
  done: Tensor;
  /** i32 [R]: token that the next forward reads. */
  nextToken: Tensor;
  /** i32 [R]: its position in the sequence. */
  nextPosition: Tensor;
  /** i32 [R,T]: what was sampled; -1 after the end. */
  tokens: Tensor;
}

/**
 * Samples the token of slot state[0] + 1 for every row and updates `decode` in place (not state[0]).
 * @param logits f32 [L,V]; row r reads logits row decode.rows[r][0]
 * @throws RangeError for more than two end tokens
 */
export function sampleTokens(logits: Tensor, decode: DecodeState, options: SamplingOptions): void {
  const [rows, columns] = decode.tokens.shape as [number, number];
  if (options.eosIds.length > 2) {
    throw new RangeError(
      `Cannot sample with ${options.eosIds.length} end tokens: at most 2 are supported; keep the two that end a turn`,
    );
  }
  const [eos0 = -1, eos1 = -1] = options.eosIds;
  runKernel({
    kernel: "sample",
    constants: { FILTER: options.topK > 0 || options.topP < 1 ? 1 : 0 },
    bindings: [
      { tensor: logits },
      { tensor: decode.rows },
      { tensor: decode.state },
      { tensor: decode.done, written: true },
      { tensor: decode.nextToken, written: true },
      { tensor: decode.nextPosition, written: true },
      { tensor: decode.tokens, written: true },
    ],
    params: [
      u32(rows),
      u32(logits.shape[1]!),
      u32(columns),
      u32(options.topK),
      f32(options.temperature),
      f32(options.topP),
      i32(eos0),
      i32(eos1),
    ],
    workgroups: foldGrid(rows),
  });
}

/** state[0] += 1. */
export function advanceDecode(decode: DecodeState): void {
  runKernel({
    kernel: "decode_advance",
    bindings: [{ tensor: decode.state, written: true }],
    workgroups: [1, 1, 1],
  });
}

/** Twin of decode_advance.wgsl. */
export function decodeAdvanceI32(state: ArrayLike<number>): number[] {
  return Array.from(state, (value, i) => i === 0 ? value + 1 : value);
}

/** Twin of sample.wgsl for one row: the tokens that may be drawn, and the one drawn with `u` in [0,1). */
export function sampleF64(
  logits: ArrayLike<number>,
  u: number,
  options: SamplingOptions,
): { kept: number[]; token: number } {
  const order = Array.from(logits, (_, v) => v).sort((a, b) => logits[b] - logits[a] || a - b);
  if (options.temperature === 0) return { kept: [order[0]], token: order[0] };
  const peak = logits[order[0]];
  const weight = (v: number) => Math.exp((logits[v] - peak) / options.temperature);
  let kept = order;
  if (options.topK > 0 && options.topK < order.length) {
    const last = logits[order[options.topK - 1]];
    kept = kept.filter((v) => logits[v] >= last);
  }
  if (options.topP < 1) {
    const wanted = options.topP * kept.reduce((sum, v) => sum + weight(v), 0);
    // A token stays while the tokens strictly above it hold less than top_p.
    kept = kept.filter((v) =>
      kept.reduce((sum, other) => sum + (logits[other] > logits[v] ? weight(other) : 0), 0) < wanted
    );
  }
  kept = [...kept].sort((a, b) => a - b);
  const target = u * kept.reduce((sum, v) => sum + weight(v), 0);
  let running = 0;
  for (const v of kept) {
    running += weight(v);
    if (target < running) return { kept, token: v };
  }
  return { kept, token: kept[kept.length - 1] };
}
