/** Rows of one request on their way through the lanes of a session: where they stand, and the blocks they hold. */
import { type CachedPrompt, type DecodeLane, type DecodeRow, writeLane, writeTable } from "./lane.ts";
import {
  type DecodeSession,
  growRows,
  laneFor,
  prefill,
  prepareSession,
  replayLane,
  widthFor,
} from "./session.ts";
import { blocksFor } from "./kv_blocks.ts";

export interface BatchRequest {
  /** Token ids of each prompt. */
  prompts: readonly ArrayLike<number>[];
  /** Completions per prompt. */
  groupSize: number;
  /** The random numbers' place; see rl/rng.ts. */
  seed: number;
  step: number;
  /** The member of each prompt, where the generator has a population; -1: the unperturbed policy. */
  members?: readonly number[];
  /** Slot of prompts[0] among all prompts of the step (other ranks have the slots before). */
  firstPrompt?: number;
  /**
   * Which of the completions of all prompts, laid end to end, are to be made; all unless given. It begins in the first
   * group and ends in the last: the rest of these is another rank's.
   */
  slice?: { from: number; to: number };
}

/** Places of a prompt's completions among those made: from the first to before the last. */
export function placesOfGroup({ prompts, groupSize, slice }: BatchRequest, prompt: number): [number, number] {
  const { from, to } = slice ?? { from: 0, to: prompts.length * groupSize };
  const placeOf = (completion: number) => Math.min(Math.max(completion, from), to) - from;
  return [placeOf(prompt * groupSize), placeOf((prompt + 1) * groupSize)];
}

export interface DecodeBatch {
  readonly session: DecodeSession;
  readonly request: BatchRequest;
  lane: DecodeLane;
  /** One per row of the lane; null: ended, or spare. */
  rows: (DecodeRow | null)[];
}

export const rowsLeft = ({ rows }: DecodeBatch): DecodeRow[] => rows.filter((row) => row !== null);

/** Blocks for the prompts, and room for the first `burst` tokens of each completion. */
function cachePrompts(session: DecodeSession, request: BatchRequest, burst: number): CachedPrompt[] {
  const { prompts, firstPrompt = 0 } = request;
  const { blocks, blockTokens } = session.cache;
  const readers = prompts.map((_, p) => {
    const [first, end] = placesOfGroup(request, p);
    return end - first;
  });
  const rows = readers.reduce((a, b) => a + b, 0);
  const needed = prompts.map(({ length }) => blocksFor(length, blockTokens));
  const ofPrompts = needed.reduce((a, b) => a + b, 0);
  const ofRows = (tokens: number) => rows * blocksFor(tokens, blockTokens);
  const most = session.options.maxTokens - 1;
  const soon = session.options.reservesCache ? most : Math.min(burst, most);
  session.cache.reserve(ofPrompts + ofRows(soon), ofPrompts + ofRows(most));
  return prompts.map((ids, p) => ({
    ids,
    slot: firstPrompt + p,
    blocks: blocks.take(needed[p]),
    member: request.members?.[p] ?? -1,
    readers: readers[p],
  }));
}

/** Runs the prompts and samples the first token of all rows, in the widest lane. @param burst tokens that come next */
export function openBatch(session: DecodeSession, request: BatchRequest, burst: number): DecodeBatch {
  const { prompts, groupSize, slice } = request;
  const [, count] = placesOfGroup(request, prompts.length - 1);
  prepareSession(session, count, Math.max(...prompts.map(({ length }) => length)));
  const cached = cachePrompts(session, request, burst);
  const rows = Array.from({ length: count }, (_, index): DecodeRow => {
    const completion = (slice?.from ?? 0) + index;
    const prompt = cached[Math.floor(completion / groupSize)];
    return { prompt, generation: completion % groupSize, index, tokens: [], logprobs: [], blocks: [] };
  });
  const lane = laneFor(session, rows.length);
  writeLane(session.policy, session.options, lane, rows, { ...request, count: 0 });
  writeTable(lane, rows);
  prefill(session, lane, cached, rows);
  return { session, request, lane, rows };
}

/** Samples `burst` more tokens of every row that is left, which has `count` so far. */
export function decodeBurst(batch: DecodeBatch, count: number, burst: number): void {
  const { session, lane, rows } = batch;
  // The last sampled token is not in the cache: the forward that reads it puts it there.
  growRows(session, rowsLeft(batch), count + burst - 1, session.options.maxTokens - 1);
  writeTable(lane, rows);
  replayLane(session, lane, burst);
}

/** Takes row r out: its blocks are free, and its prompt's after the last of the group. */
export function endRow({ session, rows }: DecodeBatch, r: number): void {
  const { blocks } = session.cache;
  const row = rows[r]!;
  blocks.free(row.blocks);
  if (--row.prompt.readers === 0) blocks.free(row.prompt.blocks);
  rows[r] = null;
}

/** Whether a narrower lane is wide enough for the rows that are left. */
export function canCompact(batch: DecodeBatch): boolean {
  return widthFor(batch.session, rowsLeft(batch).length) < batch.lane.width;
}

/** The rows that are left go on in a narrower lane, when one is wide enough. @param count tokens that each has */
export function compactRows(batch: DecodeBatch, count: number): void {
  const { session, request } = batch;
  const left = rowsLeft(batch);
  const lane = laneFor(session, left.length);
  if (lane === batch.lane) return;
  batch.rows = Array.from({ length: lane.width }, (_, r) => left[r] ?? null);
  batch.lane = lane;
  writeLane(session.policy, session.options, lane, batch.rows, { ...request, count });
}
