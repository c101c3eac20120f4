/** Where the measurements of a run go. */
import type { MetricRow } from "./metrics.ts";
import { samplesFolder, type WriteText } from "./samples_folder.ts";
import type { Sink } from "./sink.ts";
import { tensorBoard } from "./tensorboard.ts";

/** For other programs to read. */
const COPIES: readonly (() => Sink)[] = [
  tensorBoard,
];

/**
 * @param appendRow appends a row to metrics.jsonl
 * @param writeText writes a file, with the folder that it lies in, whole or not at all
 */
export function sinksOf(appendRow: (row: MetricRow) => void, writeText: WriteText): Sink[] {
  const log: Sink = { name: "metrics.jsonl", isRecord: true, step: appendRow, evaluation: appendRow };
  return [log, samplesFolder(writeText), ...COPIES.map((open) => open())];
}
