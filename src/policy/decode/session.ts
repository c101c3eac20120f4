/** What a generator keeps between calls: the KV cache, and a lane with its plan for each width that was needed. */
import * as tf from "@tensorflow/tfjs";
import { type Arena, createArena } from "../../gpu/arena.ts";
import { gatherRows, inverseRows } from "../../ops/rows/gather_rows.ts";
import {
  type CachedPrompt,
  type DecodeLane,
  type DecodeRow,
  disposeLane,
  drawTokens,
  type LaneOptions,
  ofMembers,
  openLane,
  recordLane,
  rowTable,
} from "./lane.ts";
import {
  BLOCK_TOKENS,
  blocksFor,
  decodeWidths,
  KV_CACHE_FORMAT,
  type KvCacheDtype,
  promptBlockRoom,
  tableColumns,
} from "./kv_blocks.ts";
import { createKvCache, type KvCache, prefillAttend } from "./kv_cache.ts";
import { headProduct, trunkForward, uploadSequences } from "../transformer.ts";
import type { Plan } from "../../gpu/plan.ts";
import type { Policy } from "../trunk.ts";
import { packSequences } from "../packing.ts";

export interface SessionOptions extends LaneOptions {
  /** How keys and values are kept; float32 unless set. 16 bits round them, and halve the cache. */
  kvCacheDtype?: KvCacheDtype;
  /** Tokens of a cache block, a power of two; 16 unless set. Changes no result. */
  blockTokens?: number;
  /**
   * The cache takes at once what the batch can need at the most, as a memory plan has counted; else it grows with the
   * completions, which the plan counts no higher, and copies itself each time.
   */
  reservesCache?: boolean;
}

export interface DecodeSession {
  readonly policy: Policy;
  readonly options: SessionOptions;
  readonly cache: KvCache;
  /** What the lanes' plans make on their way. */
  readonly arena: Arena;
  /** Widths of the lanes, falling. */
  widths: number[];
  lanes: Map<number, DecodeLane>;
  /** Prompt blocks that a row of the tables has room for. */
  promptRoom: number;
  usage: SessionUsage;
}

/** What a generation took of its session. */
export interface SessionUsage {
  /** Replays, each counted with the rows of its plan. */
  rowSteps: number;
  /** Most cache blocks held at once. */
  mostBlocks: number;
  /** Plans recorded: one for each width that was needed, none for a batch like the one before. */
  recordings: number;
}

const NO_USAGE: SessionUsage = { rowSteps: 0, mostBlocks: 0, recordings: 0 };

export function openSession(policy: Policy, options: SessionOptions): DecodeSession {
  const { kvCacheDtype = "float32", blockTokens = BLOCK_TOKENS } = options;
  const cache = createKvCache(policy.config, KV_CACHE_FORMAT[kvCacheDtype], blockTokens);
  const arena = createArena();
  return { policy, options, cache, arena, widths: [], lanes: new Map(), promptRoom: 0, usage: NO_USAGE };
}

function closeLanes(session: DecodeSession, isStale: (lane: DecodeLane) => boolean): void {
  for (const [width, lane] of session.lanes) {
    if (!isStale(lane)) continue;
    disposeLane(lane);
    session.lanes.delete(width);
  }
}

export function closeSession(session: DecodeSession): void {
  closeLanes(session, () => true);
  session.cache.dispose();
}

/** Makes the session ready for a batch: lanes that it has no use for are closed. */
export function prepareSession(session: DecodeSession, rows: number, longestPrompt: number): void {
  const room = promptBlockRoom(longestPrompt, session.cache.blockTokens);
  if (room > session.promptRoom) {
    closeLanes(session, () => true);
    session.promptRoom = room;
  }
  session.usage = { ...NO_USAGE };
  session.widths = decodeWidths(rows);
  closeLanes(session, ({ width }) => !session.widths.includes(width));
}

/** Rows of the narrowest lane for so many. */
export function widthFor({ widths }: DecodeSession, rows: number): number {
  return widths.findLast((width) => width >= rows)!;
}

/** The narrowest lane for so many rows, opened when it is first needed. */
export function laneFor(session: DecodeSession, rows: number): DecodeLane {
  const { policy, options, cache, lanes, promptRoom } = session;
  const width = widthFor(session, rows);
  let lane = lanes.get(width);
  if (!lane) {
    const columns = tableColumns(promptRoom, options.maxTokens, cache.blockTokens);
    lanes.set(width, lane = openLane(policy, options, { width, columns, blockShift: cache.blockShift }));
  }
  return lane;
}

/**
 * Gives every row the blocks for `tokens` tokens of its own.
 * @param most tokens of its own that a row can ever keep
 */
export function growRows(
  session: DecodeSession,
  rows: readonly DecodeRow[],
  tokens: number,
  most: number,
): void {
  const { cache: { blocks, blockTokens }, usage } = session;
  const missing = (row: DecodeRow, tokens: number) =>
    Math.max(0, blocksFor(tokens, blockTokens) - row.blocks.length);
  const missingOfAll = (tokens: number) => rows.reduce((sum, row) => sum + missing(row, tokens), 0);
  session.cache.reserve(missingOfAll(tokens), blocks.used + missingOfAll(most));
  for (const row of rows) row.blocks.push(...blocks.take(missing(row, tokens)));
  usage.mostBlocks = Math.max(usage.mostBlocks, blocks.used);
}

/** Records the lane's plan where there is none, and compiles its kernels. */
export async function readyLane(session: DecodeSession, lane: DecodeLane): Promise<void> {
  if (lane.plan) return;
  await planOf(session, lane).compile();
}

function planOf(session: DecodeSession, lane: DecodeLane): Plan {
  if (!lane.plan) {
    lane.plan = recordLane(session.policy, session.options, session.cache, lane, session.arena);
    session.usage.recordings++;
  }
  return lane.plan;
}

/** Replays the lane's plan, recorded first where there is none. */
export function replayLane(session: DecodeSession, lane: DecodeLane, times: number): void {
  planOf(session, lane).replay(times);
  session.usage.rowSteps += times * lane.width;
}

/** Prompts forward, their keys and values kept, and the first token of every row of the lane sampled. */
export function prefill(
  session: DecodeSession,
  lane: DecodeLane,
  prompts: readonly CachedPrompt[],
  rows: readonly DecodeRow[],
): void {
  const { policy, options, cache } = session;
  const packed = packSequences(prompts.map(({ ids }) => ids));
  const reader = prompts.map((prompt) => rows.findIndex((row) => row.prompt === prompt));
  const ownerOfToken = new Int32Array(packed.ids.length).fill(-1);
  prompts.forEach((_, p) => ownerOfToken.fill(reader[p], packed.starts[p], packed.starts[p + 1]));
  const memberOfToken = new Int32Array(packed.ids.length);
  prompts.forEach(({ member }, p) => memberOfToken.fill(member, packed.starts[p], packed.starts[p + 1]));
  tf.tidy(() => {
    const sequences = uploadSequences(packed);
    const members = options.perturbations ? tf.tensor1d(memberOfToken, "int32") : null;
    const owners = tf.tensor1d(ownerOfToken, "int32");
    const attend = prefillAttend(policy, cache, { sequences, table: lane.table, owners });
    const hidden_ND = trunkForward(ofMembers(policy, options, members), sequences, attend, "many");
    const lastRows = Int32Array.from(prompts, (_, p) => packed.starts[p + 1] - 1);
    const inverse = tf.tensor1d(inverseRows(lastRows, packed.ids.length), "int32");
    const last_PD = gatherRows(hidden_ND, tf.tensor1d(lastRows, "int32"), inverse);
    const logitsRow = (r: number) => prompts.indexOf(rows[r].prompt);
    const promptRows = tf.tensor2d(rowTable(rows, logitsRow), [lane.width, 4], "int32");
    const rowOf = tf.tensor1d(rows.map((_, r) => logitsRow(r)), "int32");
    const decode = { ...lane.decode, rows: promptRows };
    drawTokens(policy, options, headProduct(policy, last_PD, "few"), decode, rowOf);
  });
}
