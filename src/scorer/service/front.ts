/**
 * The scorer service with a thread of its own for HTTP: reading texts, recording plans and compiling kernels hold up
 * the thread that they run in, and whoever asks for the service's health is not to wait for them.
 */
import { Worker } from "node:worker_threads";
import { type ScoreTexts, UnreadableTextError } from "../protocol.ts";
import type { RunningScorer } from "../serve.ts";
import type { RefusedRequest } from "../server.ts";
import type { BatchReport } from "./batches.ts";
import type { FromFront, SentOptions, ToFront } from "./thread_messages.ts";

export interface FrontOptions extends SentOptions {
  scoreTexts: ScoreTexts;
  onRefusal?: (refusal: RefusedRequest) => void;
  onCut?: (conversations: number) => void;
}

export interface FrontedScorer extends RunningScorer {
  /** For /metrics. */
  report(batch: BatchReport): void;
  /** Rejects when the thread ends unasked. */
  readonly failed: Promise<never>;
}

/**
 * Starts the service; resolves once it listens.
 * @throws RangeError when other machines could ask, and there is neither a token nor `insecure`
 * @throws Error when the port is taken or the address is not this machine's
 */
export async function serveScorerApart(
  { scoreTexts, onRefusal, onCut, ...options }: FrontOptions,
): Promise<FrontedScorer> {
  const worker = startThread(options);
  const say = (message: ToFront) => worker.postMessage(message);
  const jobs = new Map<number, AbortController>();
  let closing: Promise<void> | undefined;
  let [hasUrl, fail, hasClosed] = [(_: string) => {}, (_: Error) => {}, () => {}];
  const closed = new Promise<void>((resolve) => hasClosed = resolve);
  const failed = new Promise<never>((_, reject) => fail = reject);
  failed.catch(() => {}); // whoever waits for it is told
  const listens = new Promise<string>((resolve) => hasUrl = resolve);

  async function score({ id, texts, conversations }: FromFront & { kind: "score" }): Promise<void> {
    const job = new AbortController();
    jobs.set(id, job);
    try {
      say({ kind: "scores", id, scores: await scoreTexts(texts, conversations, job.signal) });
    } catch (error) {
      if (!job.signal.aborted) {
        say({
          kind: "error",
          id,
          error: (error as Error).message,
          isUnreadable: error instanceof UnreadableTextError,
        });
      }
    } finally {
      jobs.delete(id);
    }
  }

  worker.on("message", (message: FromFront) => {
    if (message.kind === "listens") hasUrl(message.url);
    else if (message.kind === "score") void score(message);
    else if (message.kind === "abort") jobs.get(message.id)?.abort();
    else if (message.kind === "refusal") onRefusal?.(message.refusal);
    else if (message.kind === "cut") onCut?.(message.conversations);
    else if (message.kind === "closed") hasClosed();
    else fail(new Error(message.error));
  });
  const onEnd = (problem: string) => {
    if (closing) return hasClosed();
    fail(new Error(`The thread that answers the scorer's clients ended: ${problem}; start the scorer anew`));
  };
  worker.on("error", (error: Error) => onEnd(error.message));
  worker.on("exit", (code) => onEnd(`exit code ${code}`));
  async function close(): Promise<void> {
    say({ kind: "close" });
    await closed;
    await worker.terminate();
  }
  try {
    const url = await Promise.race([listens, failed]);
    return {
      url,
      failed,
      report: (report) => say({ kind: "batch", report }),
      close: () => closing ??= close(),
    };
  } catch (error) {
    closing = Promise.resolve();
    await worker.terminate();
    throw error;
  }
}

function startThread(options: SentOptions): Worker {
  const entry = import.meta.url.replace(/front(\.[jt]s)$/, "front_thread$1");
  const workerData = { options };
  if (entry.endsWith(".js")) return new Worker(new URL(entry), { workerData });
  // A thread of Node's does not inherit what compiles a checkout's modules. Deno needs none, and takes no notice.
  const compiler = import.meta.resolve("tsx/esm/api");
  const code = `import(${JSON.stringify(compiler)}).then(({ register }) => register()).catch(() => {})` +
    `.then(() => import(${JSON.stringify(entry)}))`;
  return new Worker(code, { eval: true, workerData });
}
