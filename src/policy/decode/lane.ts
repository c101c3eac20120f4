/**
 * A lane decodes a fixed number of rows: the tensors that its recorded plan reads and writes, and the plan. As
 * completions end, the rest goes on in a narrower lane; blocks of the cache stay where they are, since only the tables
 * name them.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import type { Arena } from "../../gpu/arena.ts";
import { emptyTensor, writeTensor } from "../../gpu/tensors.ts";
import { type Plan, recordPlan } from "../../gpu/plan.ts";
import type { BlockTable } from "../../ops/attention/kv_append.ts";
import {
  advanceDecode,
  type DecodeState,
  hasRepetitionPenalty,
  initialState,
  sampleTokens,
  type SamplingOptions,
  seenTokens,
} from "../../ops/sampling/sample.ts";
import { decodeAttend, type KvCache } from "./kv_cache.ts";
import { headProduct, logitsOf, productLogprobs, trunkForward } from "../transformer.ts";
import type { Perturbations, Policy } from "../trunk.ts";

export interface LaneOptions extends SamplingOptions {
  /** Each of these ends a completion. */
  eosIds: readonly number[];
  maxTokens: number;
  /** Of a population, a member for each prompt of a request: its rows are decoded as that member's policy would. */
  perturbations?: Perturbations;
  /** Whether the log-probs of the sampled tokens are kept, as training computes them. They are not unless set. */
  keepsLogprobs?: boolean;
}

/** A prompt in the cache. Its tokens fill its last block to the end: every completion begins a block of its own. */
export interface CachedPrompt {
  ids: ArrayLike<number>;
  /** Among all prompts of the step; for the random numbers. */
  slot: number;
  blocks: number[];
  /** Of a population, whose policy reads it; -1: the unperturbed one. */
  member: number;
  /** Completions that still read it. */
  readers: number;
}

/** A completion on its way. */
export interface DecodeRow {
  prompt: CachedPrompt;
  /** Place in its group; for the random numbers. */
  generation: number;
  /** Place among all completions of the request. */
  index: number;
  tokens: number[];
  /** Of its tokens, nats; empty where they are not kept. */
  logprobs: number[];
  /** Of its own tokens. */
  blocks: number[];
}

export interface DecodeLane {
  readonly width: number;
  readonly decode: DecodeState;
  readonly table: BlockTable;
  /** i32 [width]: the member of each row, where there is a population. */
  readonly members: Tensor | null;
  /** null: not recorded yet. */
  plan: Plan | null;
}

/** How large a lane is. */
interface LaneSize {
  width: number;
  /** Of the block table. */
  columns: number;
  blockShift: number;
}

export function openLane(
  policy: Policy,
  options: LaneOptions,
  { width, columns, blockShift }: LaneSize,
): DecodeLane {
  const i32 = (shape: number[]) => emptyTensor(shape, "int32");
  const seenWords = Math.ceil(policy.config.vocabSize / 32);
  const decode = {
    rows: i32([width, 4]),
    state: i32([4 + options.eosIds.length]),
    done: i32([width]),
    nextToken: i32([width]),
    nextPosition: i32([width]),
    tokens: i32([width, options.maxTokens]),
    logprobs: emptyTensor(options.keepsLogprobs ? [width, options.maxTokens] : [1], "float32"),
    seen: i32(hasRepetitionPenalty(options) ? [width, seenWords] : [1]),
  };
  const members = options.perturbations ? i32([width]) : null;
  return { width, decode, table: { table: i32([width, columns]), blockShift }, members, plan: null };
}

export function disposeLane({ plan, decode, table, members }: DecodeLane): void {
  plan?.dispose();
  members?.dispose();
  tf.dispose([...Object.values(decode), table.table] as Tensor[]);
}

/**
 * Draws the next token of every row, and keeps its log-prob where that is asked for: of the temperature alone, as the
 * loss reads it, whatever else narrowed the draw.
 * @param product_LV as of `headProduct`
 * @param rowOf i32 [R]: the row of it that each row of the lane reads; left out where they are the same
 */
export function drawTokens(
  policy: Policy,
  options: LaneOptions,
  product_LV: Tensor,
  decode: DecodeState,
  rowOf?: Tensor,
): void {
  sampleTokens(logitsOf(policy, product_LV), decode, options);
  if (!options.keepsLogprobs) return advanceDecode(decode);
  const product_RV = rowOf ? tf.gather(product_LV, rowOf) : product_LV;
  advanceDecode(decode, productLogprobs(policy, product_RV, decode.nextToken, options.temperature));
}

/** The policy of rows each of which is a member's. @param members i32 [rows]; null: there is no population */
export function ofMembers(policy: Policy, { perturbations }: LaneOptions, members: Tensor | null): Policy {
  return perturbations && members
    ? { ...policy, perturbed: { byWeight: perturbations.byWeight, members } }
    : policy;
}

/** Forward of the last sampled token of every row, then the next one's draw. @param arena of all lanes of a session */
export function recordLane(
  policy: Policy,
  options: LaneOptions,
  cache: KvCache,
  lane: DecodeLane,
  arena: Arena,
): Plan {
  const { decode, table } = lane;
  const attend = decodeAttend(policy, cache, table, decode.nextPosition);
  return recordPlan(() => {
    const tokens = { ids: decode.nextToken, positions: decode.nextPosition };
    const hidden_RD = trunkForward(ofMembers(policy, options, lane.members), tokens, attend, "few");
    drawTokens(policy, options, headProduct(policy, hidden_RD, "few"), decode);
  }, { arena });
}

/** DecodeState.rows of a lane's rows. @param logitsRow the row of the logits that row r of the lane samples from */
export function rowTable(rows: readonly (DecodeRow | null)[], logitsRow: (r: number) => number): Int32Array {
  return Int32Array.from(
    rows.flatMap((row, r) =>
      row ? [logitsRow(r), row.prompt.slot, row.generation, row.prompt.ids.length] : [logitsRow(r), 0, 0, 0]
    ),
  );
}

/** Sets a lane's tables to the blocks that its rows hold. @param rows one per row of the lane; null: spare or ended */
export function writeTable(lane: DecodeLane, rows: readonly (DecodeRow | null)[]): void {
  const { table, blockShift } = lane.table;
  const columns = table.shape[1]!;
  const values = new Int32Array(lane.width * columns).fill(-1);
  rows.forEach((row, r) => {
    if (!row) return;
    const { ids, blocks } = row.prompt;
    values.set([(blocks.length << blockShift) - ids.length, ...blocks, ...row.blocks], r * columns);
  });
  writeTensor(table, values);
}

/**
 * Sets a lane to where its rows stand: `count` tokens sampled of each, all of which the host knows.
 * @param rows one per row of the lane; null: spare
 */
export function writeLane(
  policy: Policy,
  options: LaneOptions,
  lane: DecodeLane,
  rows: readonly (DecodeRow | null)[],
  { count, seed, step }: { count: number; seed: number; step: number },
): void {
  const { decode, width } = lane;
  const state = initialState(seed, step, options.eosIds);
  state[0] = count - 1;
  const perRow = (value: (row: DecodeRow) => number, spare: number) =>
    Int32Array.from(rows, (row) => row ? value(row) : spare);
  writeTensor(decode.rows, rowTable(rows, (r) => r));
  writeTensor(decode.state, state);
  writeTensor(decode.done, perRow(() => 0, 1));
  writeTensor(decode.nextToken, perRow(({ tokens }) => tokens[count - 1] ?? 0, 0));
  writeTensor(decode.nextPosition, perRow(({ prompt }) => prompt.ids.length + count - 1, 0));
  writeTensor(decode.tokens, new Int32Array(width * options.maxTokens).fill(-1));
  if (lane.members) writeTensor(lane.members, perRow(({ prompt }) => prompt.member, -1));
  if (hasRepetitionPenalty(options)) {
    const words = decode.seen.shape[1]!;
    const seen = new Int32Array(width * words);
    rows.forEach((row, r) => {
      if (!row) return;
      const held = [...Array.from(row.prompt.ids), ...row.tokens];
      seen.set(seenTokens(held, policy.config.vocabSize), r * words);
    });
    writeTensor(decode.seen, seen);
  }
}
