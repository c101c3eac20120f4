/** Where the measurements of a run go. */
import type { MetricRow } from "./metrics.ts";
import { samplesFolder } from "./samples_folder.ts";
import type { Sink } from "./sink.ts";
import { tensorBoard } from "./tensorboard.ts";

/** For other programs to read. */
const COPIES: readonly (() => Sink)[] = [
  tensorBoard,
];

/** @param appendRow appends a row to metrics.jsonl */
export function sinksOf(appendRow: (row: MetricRow) => void): Sink[] {
  const log: Sink = { name: "metrics.jsonl", isRecord: true, step: appendRow, evaluation: appendRow };
  return [log, samplesFolder(), ...COPIES.map((open) => open())];
}
