/** The thread that answers HTTP: front.ts starts it, and scores what it asks for. */
import { parentPort, workerData } from "node:worker_threads";
import { type Scores, type ScoreTexts, UnreadableTextError } from "../protocol.ts";
import { type RunningScorer, serveScorer } from "../serve.ts";
import { createServiceMetrics } from "./metrics.ts";
import type { FromFront, SentOptions, ToFront } from "./thread_messages.ts";

const port = parentPort!;
const say = (message: FromFront) => port.postMessage(message);
const asked = new Map<number, { resolve: (scores: Scores) => void; reject: (error: Error) => void }>();
let count = 0;

const scoreTexts: ScoreTexts = (texts, conversations, signal) =>
  new Promise((resolve, reject) => {
    const id = count++;
    asked.set(id, { resolve, reject });
    say({ kind: "score", id, texts, conversations });
    signal?.addEventListener("abort", () => {
      if (!asked.delete(id)) return;
      say({ kind: "abort", id });
      reject(signal.reason);
    });
  });

const metrics = createServiceMetrics();
let service: RunningScorer | undefined;

port.on("message", (message: ToFront) => {
  if (message.kind === "batch") metrics.batch(message.report);
  else if (message.kind === "close") void close();
  else {
    const waiting = asked.get(message.id);
    asked.delete(message.id);
    if (message.kind === "scores") waiting?.resolve(message.scores);
    else waiting?.reject(new (message.isUnreadable ? UnreadableTextError : Error)(message.error));
  }
});

async function close(): Promise<void> {
  await service?.close();
  say({ kind: "closed" });
}

try {
  service = await serveScorer({
    ...workerData.options as SentOptions,
    scoreTexts,
    metrics,
    onRefusal: (refusal) => say({ kind: "refusal", refusal }),
    onCut: (conversations) => say({ kind: "cut", conversations }),
  });
  say({ kind: "listens", url: service.url });
} catch (error) {
  say({ kind: "failed", error: (error as Error).message });
}
