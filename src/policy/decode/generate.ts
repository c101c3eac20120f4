/**
 * Samples completions: each prompt's prefill once, shared by its group; then recorded plans, replayed once per token
 * for all rows, with the KV cache, the sampled tokens and the random counters on the GPU. The host looks at the tokens
 * every `readbackEvery` of them: then completions that ended give back their blocks, and when about half of the rows
 * are left, these go on in a plan of fewer rows. What a completion holds depends on none of that.
 */
import { isSoftwareDevice } from "../../gpu/device_facts.ts";
import { beginRead, type PendingRead } from "../../gpu/tensors.ts";
import {
  type BatchRequest,
  canCompact,
  compactRows,
  type DecodeBatch,
  decodeBurst,
  endRow,
  openBatch,
  placesOfGroup,
  rowsLeft,
} from "./batch.ts";
import type { DecodeRow } from "./lane.ts";
import {
  closeSession,
  type DecodeSession,
  openSession,
  readyLane,
  type SessionOptions,
  type SessionUsage,
} from "./session.ts";
import { NO_TOKEN } from "../../ops/sampling/sample.ts";
import type { End } from "../../rl/ends.ts";
import { NonfinitePolicyError } from "../nonfinite.ts";
import type { Policy } from "../trunk.ts";

export interface GenerationOptions extends SessionOptions {
  /** Tokens between two looks at what has ended. */
  readbackEvery: number;
  /** Whether completions that ended leave the batch; they do unless this is false. Changes no result. */
  compacts?: boolean;
  /**
   * Whether the next tokens are begun before those of the last burst are looked at: then the GPU does not wait for the
   * host, and samples a burst in vain for rows that turn out to have ended. It does on GPUs, unless set; a CPU that
   * plays a GPU has no time to spare. Changes no result.
   */
  overlaps?: boolean;
  /** A cache of more bytes than this is freed after each call, for what comes then; half a gigabyte unless set. */
  keptBytes?: number;
}

export interface GenerationRequest extends BatchRequest {
  /**
   * Looks at a completion's tokens so far: how many of them to keep if it ends there (a stop string), else null.
   * Called at read-backs, so it may see more tokens than it keeps.
   * @param seen how many of them it has looked at before
   */
  findStop?(tokens: readonly number[], seen: number): number | null;
  onProgress?(progress: GenerationProgress): void;
  /**
   * The completions of a prompt, as soon as all of them that were asked for have ended.
   * @param first place of the first of them among all
   */
  onGroup?(prompt: number, completions: Completion[], first: number): void;
}

/** How far a generation is; told at every read-back. */
export interface GenerationProgress {
  /** Tokens that the completions hold so far, all together. */
  tokens: number;
  /** Tokens that the longest of them holds. */
  longest: number;
  maxTokens: number;
  rows: number;
  /** Completions that have not ended. */
  rowsLeft: number;
  /** Since the call, the prompts' prefill included. */
  seconds: number;
}

export interface Completion {
  /** Up to and including the end token or the stop string. */
  tokens: number[];
  /** Of each token, as decoding computed them, nats; null where they were not to be kept. */
  logprobs: number[] | null;
  end: End;
}

/** A completion's tokens without its end token: what its text is made of, also where that token is an ordinary one. */
export function spokenTokens({ tokens, end }: Pick<Completion, "tokens" | "end">): readonly number[] {
  return end === "eos" ? tokens.slice(0, -1) : tokens;
}

/** What a generation took. */
interface GenerationUsage extends SessionUsage {
  /** Bytes of the KV cache, which does not shrink while a generation goes on. */
  cacheBytes: number;
}

export interface Generator {
  /**
   * Completions in the order of the prompts, groupSize of each, or those of the slice.
   * @throws RangeError when a prompt is empty, or lengths go beyond the model's positions, or those it was loaded for
   * @throws NonfinitePolicyError when logits are NaN or infinite
   */
  generate(request: GenerationRequest): Promise<Completion[]>;
  /** What the last call took; null before the first. */
  readonly usage: Readonly<GenerationUsage> | null;
  /** Frees cache and plans; another call makes them again. */
  dispose(): void;
}

/** A request on its way. */
interface Run {
  batch: DecodeBatch;
  options: GenerationOptions;
  request: GenerationRequest;
  /** Of the rows that ended, at their places. */
  completions: Completion[];
}

/** What was sampled of a row so far; what came before a compaction is not in it. */
interface SampledRow {
  tokens: Int32Array;
  logprobs: Float32Array | null;
}

function assertDrawn(
  token: number,
  logprob: number | undefined,
  { prompt, generation, tokens: { length } }: DecodeRow,
): void {
  if (token !== NO_TOKEN && !Number.isNaN(logprob)) return;
  throw new NonfinitePolicyError(
    `The policy's logits are NaN or infinite where token ${length + 1} of completion ${
      generation + 1
    } of prompt ` +
      `${prompt.slot + 1} was to be sampled, so there is none`,
  );
}

/**
 * Adds to a row what was sampled since the last look.
 * @returns the completion, if it ended there
 * @throws NonfinitePolicyError when its logits were no numbers
 */
function extendRow(
  row: DecodeRow,
  sampled: SampledRow,
  count: number,
  { options, request }: Run,
): Completion | null {
  const { tokens, logprobs } = row;
  const seen = tokens.length;
  let end: Completion["end"] = "length";
  while (tokens.length < count && end === "length") {
    const [token, logprob] = [sampled.tokens[tokens.length], sampled.logprobs?.[tokens.length]];
    assertDrawn(token, logprob, row);
    if (logprob !== undefined) logprobs.push(logprob);
    tokens.push(token);
    if (options.eosIds.includes(tokens[tokens.length - 1])) end = "eos";
  }
  const completion = (length: number, end: Completion["end"]): Completion => ({
    tokens: tokens.slice(0, length),
    logprobs: sampled.logprobs && logprobs.slice(0, length),
    end,
  });
  const kept = request.findStop?.(tokens, seen) ?? null;
  if (kept !== null) return completion(kept, "stop");
  return end === "eos" || count === options.maxTokens ? completion(tokens.length, end) : null;
}

/** Tokens on their way to the host, and their log-probs where these are kept. */
interface Look {
  /** Tokens that every row has by then. */
  count: number;
  tokens: PendingRead;
  logprobs: PendingRead | null;
}

/** Looks at the tokens sampled so far, and takes out the rows that ended. */
async function lookAt({ count, tokens, logprobs: ofThem }: Look, run: Run): Promise<void> {
  const { batch, options, request, completions } = run;
  const sampled = await tokens.values() as Int32Array;
  const logprobs = ofThem && await ofThem.values() as Float32Array;
  batch.rows.forEach((row, r) => {
    if (!row) return;
    const columns = [r * options.maxTokens, (r + 1) * options.maxTokens] as const;
    const ofRow = {
      tokens: sampled.subarray(...columns),
      logprobs: logprobs && logprobs.subarray(...columns),
    };
    const completion = extendRow(row, ofRow, count, run);
    if (!completion) return;
    completions[row.index] = completion;
    endRow(batch, r);
    if (row.prompt.readers > 0) return;
    const prompt = row.prompt.slot - (request.firstPrompt ?? 0);
    const [first, end] = placesOfGroup(request, prompt);
    request.onGroup?.(prompt, completions.slice(first, end), first);
  });
}

function progressOf({ batch, options, completions }: Run, count: number, began: number): GenerationProgress {
  const left = rowsLeft(batch).length;
  const ended = completions.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return {
    tokens: ended + left * count,
    longest: count,
    maxTokens: options.maxTokens,
    rows: completions.length,
    rowsLeft: left,
    seconds: (performance.now() - began) / 1000,
  };
}

/** Queues the tokens up to the next look, and the look. @param count tokens that every row has so far */
async function beginBurst({ batch, options }: Run, count: number): Promise<Look> {
  const burst = Math.min(options.readbackEvery, options.maxTokens - count);
  if (burst > 0) {
    await readyLane(batch.session, batch.lane);
    decodeBurst(batch, count, burst);
  }
  const { tokens, logprobs } = batch.lane.decode;
  return {
    count: count + burst,
    tokens: beginRead(tokens),
    logprobs: options.keepsLogprobs ? beginRead(logprobs) : null,
  };
}

/** Decodes until every row has ended. */
async function decodeRows(run: Run, began: number): Promise<void> {
  const looks: Look[] = [];
  try {
    await lookUntilEnded(run, looks, began);
  } finally {
    // What was begun in vain gives back its buffers, also where a look failed, whose error is the one to tell.
    await Promise.allSettled(looks.flatMap(({ tokens, logprobs }) => [tokens.values(), logprobs?.values()]));
  }
}

/** @param looks what was begun and not yet looked at */
async function lookUntilEnded(run: Run, looks: Look[], began: number): Promise<void> {
  const { batch, options, request } = run;
  const { compacts = true, overlaps = !isSoftwareDevice() } = options;
  let last = await beginBurst(run, 1); // the prefill sampled the first
  looks.push(last);
  for (;;) {
    // A lane that is about to be left gets no further burst: the next begins from tokens that the host knows.
    if (overlaps && last.count < options.maxTokens && !(compacts && canCompact(batch))) {
      looks.push(last = await beginBurst(run, last.count));
    }
    const look = looks.shift()!;
    await lookAt(look, run);
    request.onProgress?.(progressOf(run, look.count, began));
    if (rowsLeft(batch).length === 0) return;
    if (looks.length > 0) continue;
    if (compacts) compactRows(batch, look.count);
    looks.push(last = await beginBurst(run, look.count));
  }
}

function checkRequest(policy: Policy, options: GenerationOptions, request: GenerationRequest): void {
  const longest = Math.max(...request.prompts.map((prompt) => prompt.length));
  if (request.prompts.some((prompt) => prompt.length === 0)) {
    throw new RangeError("Cannot generate from an empty prompt: need at least one token (BOS)");
  }
  if (longest + options.maxTokens > policy.config.maxPositions) {
    throw new RangeError(
      `Cannot generate ${options.maxTokens} tokens after a prompt of ${longest}: the model has ` +
        `${policy.config.maxPositions} positions; set smaller max_prompt_length or max_completion_length`,
    );
  }
  if (longest + options.maxTokens > policy.positions) {
    throw new RangeError(
      `Cannot generate ${options.maxTokens} tokens after a prompt of ${longest}: the model was loaded for sequences ` +
        `of ${policy.positions} tokens; load it for longer ones`,
    );
  }
}

const KEPT_BYTES = 2 ** 29;

/** A generator over `policy` as its weights are at each call. Keeps cache and plans between calls. */
export function createGenerator(policy: Policy, options: GenerationOptions): Generator {
  const { keptBytes = KEPT_BYTES } = options;
  let session: DecodeSession | null = null;
  let usage: GenerationUsage | null = null;
  const dispose = () => {
    if (session) closeSession(session);
    session = null;
  };
  return {
    async generate(request) {
      const began = performance.now();
      checkRequest(policy, options, request);
      session ??= openSession(policy, options);
      try {
        const batch = openBatch(session, request, options.readbackEvery);
        const completions: Completion[] = new Array(batch.rows.length);
        await decodeRows({ batch, options, request, completions }, began);
        usage = { ...session.usage, cacheBytes: session.cache.sizeBytes() };
        if (usage.cacheBytes > keptBytes) session.cache.release();
        return completions;
      } catch (error) {
        dispose(); // rows of this call still hold blocks
        throw error;
      }
    },
    get usage() {
      return usage;
    },
    dispose,
  };
}
