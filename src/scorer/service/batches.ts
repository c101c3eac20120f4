/** Texts of several requests, scored in common batches. */
import type { Message } from "../../rl/conversation.ts";
import type { Scores, ScoreTexts } from "../protocol.ts";

/** A conversation as score models read it. */
export interface PreparedText {
  /** Of all models that read it. */
  tokens: number;
  /** It was longer than is read. */
  isCut: boolean;
}

export interface BatchModels<P extends PreparedText> {
  /** @throws Error when this text cannot be read; it concerns no other */
  prepare(text: string, conversation?: readonly Message[]): P;
  /** Not called before its last call has settled. A score depends on its own text alone. */
  score(batch: readonly P[]): Promise<Pick<Scores, "rewards" | "costs" | "named">>;
}

/** What was scored at once. */
export interface BatchFacts {
  texts: number;
  tokens: number;
  /** From the first of its scores being asked of the models to the last, in seconds. */
  seconds: number;
}

/** The same, and what the GPU's memory then holds. */
export interface BatchReport extends BatchFacts {
  gpuBytes: number;
}

export interface BatchOptions {
  /**
   * A batch ends with the text that reaches so many tokens. No padding stands between texts, so what a batch takes is
   * told by their sum, and texts of all lengths go together. Default: what waits is one batch.
   */
  batchTokens?: number;
  onBatch?: (facts: BatchFacts) => void;
}

/** A request whose texts are not all scored yet. */
interface Job {
  texts: readonly string[];
  conversations?: readonly (readonly Message[])[];
  /** Texts that are read. */
  taken: number;
  left: number;
  scores: Required<Omit<Scores, "named">> & Pick<Scores, "named">;
  isOver: boolean;
  end(outcome: { scores: Scores } | { error: unknown }): void;
}

/** Reading texts holds up all else in this thread, so it is interrupted after so long. */
const READING_MS = 5;

/**
 * Scores the texts of all calls, each call's in their order and calls in the order they came. While a batch is scored
 * the next one is read; it is scored once it is full, or the one before is done.
 *
 * A call rejects when one of its own texts cannot be read, when its signal is aborted, or with the error of a batch
 * that some of its texts were in; other calls' texts go on.
 */
export function scoreInBatches<P extends PreparedText>(
  models: BatchModels<P>,
  { batchTokens = Infinity, onBatch }: BatchOptions = {},
): ScoreTexts {
  const jobs: Job[] = [];
  let batch: { job: Job; at: number; text: P }[] = [];
  let tokens = 0;
  let scoring: Promise<void> | null = null;
  let isRunning = false;
  let arrived = () => {};

  /** Reads one more text into the batch. */
  function readNext(): void {
    const [job] = jobs;
    if (job.isOver || job.taken === job.texts.length) {
      jobs.shift();
      return;
    }
    const at = job.taken++;
    try {
      const text = models.prepare(job.texts[at], job.conversations?.[at]);
      job.scores.truncated[at] = text.isCut;
      batch.push({ job, at, text });
      tokens += text.tokens;
    } catch (error) {
      job.end({ error });
    }
  }

  async function scoreBatch(): Promise<void> {
    const places = batch.filter(({ job }) => !job.isOver);
    batch = [];
    tokens = 0;
    if (places.length === 0) return;
    const startedAt = performance.now();
    try {
      const { rewards, costs, named = {} } = await models.score(places.map(({ text }) => text));
      places.forEach(({ job, at }, i) => {
        job.scores.rewards[at] = rewards[i];
        job.scores.costs[at] = costs[i];
        for (const [name, values] of Object.entries(named)) {
          const lists = job.scores.named ??= {};
          (lists[name] ??= [])[at] = values[i];
        }
        if (--job.left === 0) job.end({ scores: job.scores });
      });
      onBatch?.({
        texts: places.length,
        tokens: places.reduce((sum, { text }) => sum + text.tokens, 0),
        seconds: (performance.now() - startedAt) / 1000,
      });
    } catch (error) {
      for (const { job } of places) job.end({ error });
    }
  }

  async function run(): Promise<void> {
    isRunning = true;
    let since = performance.now();
    while (jobs.length > 0 || batch.length > 0) {
      const isFull = tokens >= batchTokens;
      if (jobs.length > 0 && !isFull) {
        readNext();
        if (performance.now() - since < READING_MS) continue;
        await new Promise((resolve) => setImmediate(resolve));
      } else if (scoring) {
        await (isFull ? scoring : Promise.race([scoring, new Promise<void>((resolve) => arrived = resolve)]));
      } else {
        scoring = scoreBatch().finally(() => scoring = null);
      }
      since = performance.now();
    }
    isRunning = false;
  }

  return (texts, conversations, signal) =>
    new Promise((resolve, reject) => {
      if (texts.length === 0) return resolve({ rewards: [], costs: [], truncated: [] });
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => job.end({ error: signal!.reason });
      const job: Job = {
        texts,
        conversations,
        taken: 0,
        left: texts.length,
        scores: { rewards: [], costs: [], truncated: [] },
        isOver: false,
        end(outcome) {
          if (job.isOver) return;
          job.isOver = true;
          signal?.removeEventListener("abort", onAbort);
          if ("scores" in outcome) resolve(outcome.scores);
          else reject(outcome.error);
        },
      };
      signal?.addEventListener("abort", onAbort);
      jobs.push(job);
      arrived();
      if (!isRunning) void run();
    });
}
