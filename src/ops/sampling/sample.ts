/** Token sampling on the GPU, inside the decode plan. Random numbers follow rl/rng.ts. */
import type { Tensor } from "@tensorflow/tfjs";
import { hasNarrowSubgroups, suitsTiles } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import type { KernelConstants } from "../../gpu/kernel.ts";
import { foldGrid } from "../../gpu/grids.ts";

export interface SamplingOptions {
  /** 0 = greedy. */
  temperature: number;
  /** 1 = off. */
  topP: number;
  /** 0 = off. */
  topK: number;
  /** Least probability of a token, as a share of the likeliest one's; 0 = off, as is leaving it out. */
  minP?: number;
  /**
   * Above 1, tokens that the row holds become less likely; 1 = off, as is leaving it out. Greedy decoding has it too.
   */
  repetitionPenalty?: number;
}

/** The tensors that generation lives in; all on the GPU, all changed in place. R rows, T columns. */
export interface DecodeState {
  /** i32 [R,4]: row of the logits, prompt, generation (both only for the random numbers), prompt length. */
  rows: Tensor;
  /** i32 [4+E]: slot of the last sampled token (-1 before the first), seed, step, E, then the E end tokens. */
  state: Tensor;
  /** i32 [R]: 1 once the row has ended. */
  done: Tensor;
  /** i32 [R]: token that the next forward reads. */
  nextToken: Tensor;
  /** i32 [R]: its position in the sequence. */
  nextPosition: Tensor;
  /** i32 [R,T]: what was sampled; -1 after the end, NO_TOKEN where the logits were no numbers. */
  tokens: Tensor;
  /** f32 [R,T]: log-probs of what was sampled, nats; [1] where they are not kept. */
  logprobs: Tensor;
  /** i32 [R,W], W words as seenTokens() writes them for every row; [1] without a repetition penalty. */
  seen: Tensor;
}

/** Stands in DecodeState.tokens where logits were infinite or no numbers: nothing can be drawn from them. */
export const NO_TOKEN = -2;

/** Values of DecodeState.state before the first token. */
export function initialState(seed: number, step: number, eosIds: readonly number[]): Int32Array {
  return Int32Array.of(-1, seed | 0, step, eosIds.length, ...eosIds);
}

/** A row's words of DecodeState.seen: bit v % 32 of word v / 32 is set where `ids` hold v. */
export function seenTokens(ids: ArrayLike<number>, vocab: number): Int32Array {
  const words = new Int32Array(Math.ceil(vocab / 32));
  for (let i = 0; i < ids.length; i++) words[ids[i] >> 5] |= 1 << (ids[i] & 31);
  return words;
}

export function hasRepetitionPenalty({ repetitionPenalty = 1 }: SamplingOptions): boolean {
  return repetitionPenalty !== 1;
}

const LARGEST_F32 = (2 - 2 ** -23) * 2 ** 127;

/** T ln(min_p): how far below the largest logit a token may lie. Finite, since WGSL promises nothing for infinities. */
function minPGap({ temperature, minP = 0 }: SamplingOptions): number {
  return minP > 0 ? temperature * Math.log(minP) : -LARGEST_F32;
}

/**
 * Lanes of a row and what they work with (kernels/lib/sampling/). GPUs have many and take whole vec4s; with a filter
 * half as many, since each has a histogram of its own, which is to be of 32 bins.
 */
function sampleLaunch(vocab: number, isFiltered: boolean) {
  const VEC4 = suitsTiles() && vocab % 4 === 0;
  const listed = (LISTED: number): KernelConstants => isFiltered ? { LISTED } : {};
  if (VEC4) {
    const [WG, SCRATCH] = isFiltered ? [128, 4096] : [256, 2048];
    return { VEC4, constants: { WG, SCRATCH, BLOCKS: SCRATCH / WG, ...listed(2048) } };
  }
  return {
    VEC4,
    constants: { WG: hasNarrowSubgroups() ? 8 : 64, SCRATCH: 2048, BLOCKS: 32, ...listed(1024) },
  };
}

/**
 * Samples the token of slot state[0] + 1 for every row and updates `decode` in place (not state[0]).
 * @param logits f32 [L,V]; row r reads logits row decode.rows[r][0]
 */
export function sampleTokens(
  logits: Tensor,
  decode: Omit<DecodeState, "logprobs">,
  options: SamplingOptions,
): void {
  const [rows, columns] = decode.tokens.shape as [number, number];
  const { temperature, topP, topK, minP = 0, repetitionPenalty = 1 } = options;
  const hasPenalty = hasRepetitionPenalty(options);
  const vocab = logits.shape[1]!;
  const filter = { FILTER: topK > 0 || topP < 1 || minP > 0, PENALTY: hasPenalty };
  const { VEC4, constants } = sampleLaunch(vocab, filter.FILTER);
  runKernel({
    kernel: "sample",
    conditions: { ...filter, VEC4 },
    constants,
    bindings: {
      logits,
      rows: decode.rows,
      state: decode.state,
      done: decode.done,
      next: decode.nextToken,
      next_position: decode.nextPosition,
      tokens: decode.tokens,
      seen: hasPenalty ? decode.seen : undefined,
    },
    params: {
      rows,
      vocab,
      columns,
      top_k: topK,
      temperature,
      top_p: topP,
      min_p_gap: minPGap(options),
      repetition_penalty: repetitionPenalty,
    },
    workgroups: foldGrid(rows),
  });
}

/** Keeps the log-probs of the slot's tokens, where there are any, then state[0] += 1. @param logprobs f32 [R] */
export function advanceDecode(
  { state, logprobs: kept }: Pick<DecodeState, "state" | "logprobs">,
  logprobs?: Tensor,
): void {
  const [rows, columns] = kept.shape;
  runKernel({
    kernel: "decode_advance",
    conditions: { LOGPROBS: logprobs !== undefined },
    constants: { WG: hasNarrowSubgroups() ? 8 : 64 },
    bindings: logprobs ? { state, logprobs, kept } : { state },
    params: logprobs && { rows, columns: columns! },
    workgroups: [1, 1, 1],
  });
}

/** Twin of decode_advance.wgsl: the state and, of R rows of T, the log-probs after it. */
export function decodeAdvanceF64(
  state: ArrayLike<number>,
  kept: ArrayLike<number>,
  logprobs: ArrayLike<number>,
): { state: number[]; kept: number[] } {
  const columns = kept.length / logprobs.length;
  const slot = state[0] + 1;
  return {
    state: Array.from(state, (value, i) => i === 0 ? slot : value),
    kept: Array.from(kept, (value, i) => i % columns === slot ? logprobs[Math.floor(i / columns)] : value),
  };
}

/** What a row may draw: tokens in ascending order, each with its probability up to a common factor. */
export interface KeptTokens {
  tokens: number[];
  weights: number[];
}

/** The first half of the twin of sample.wgsl, for one row that holds the tokens `seen`: what may be drawn. */
export function keptF64(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  seen: ReadonlySet<number> = new Set(),
): KeptTokens {
  const { temperature, topP, topK, minP = 0, repetitionPenalty = 1 } = options;
  const penalised = (x: number) => x < 0 ? x * repetitionPenalty : x / repetitionPenalty;
  const x = Array.from(logits, (logit, v) => seen.has(v) ? penalised(logit) : logit);
  const order = x.map((_, v) => v).sort((a, b) => x[b] - x[a] || a - b);
  const peak = x[order[0]];
  if (temperature === 0) return { tokens: [order[0]], weights: [1] };
  const weight = (v: number) => Math.exp((x[v] - peak) / temperature);
  let floor = -Infinity;
  if (topK > 0 && topK < order.length) floor = x[order[topK - 1]];
  if (topP < 1) {
    const eligible = order.filter((v) => x[v] >= floor);
    const wanted = topP * eligible.reduce((sum, v) => sum + weight(v), 0);
    // A token stays while those before it hold less than top_p.
    let above = 0;
    for (const v of eligible) {
      if (above < wanted) floor = x[v];
      above += weight(v);
    }
  }
  const tokens = order.filter((v) => x[v] >= floor && weight(v) >= minP).sort((a, b) => a - b);
  return { tokens, weights: tokens.map(weight) };
}

/** Twin of sample.wgsl for one row: the token drawn with `u` in [0,1), or NO_TOKEN. */
export function sampleF64(
  logits: ArrayLike<number>,
  u: number,
  options: SamplingOptions,
  seen?: ReadonlySet<number>,
): number {
  if (!Array.from(logits).every(Number.isFinite)) return NO_TOKEN;
  const { tokens, weights } = keptF64(logits, options, seen);
  const target = u * weights.reduce((sum, weight) => sum + weight, 0);
  let running = 0;
  const found = weights.findIndex((weight) => target < (running += weight));
  return tokens[found === -1 ? tokens.length - 1 : found];
}
