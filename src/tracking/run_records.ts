/** What a run has written: metrics.jsonl, samples/ and the config. */
import { parsedJson } from "../config/parsed_json.ts";
import type { MetricRow } from "./metrics.ts";
import type { SampleTable, ScatterPoints, Split } from "./samples.ts";

/** The resolved config of a run, in its folder. */
export const RUN_CONFIG_FILE = "run_config.json";

export interface RunRecords {
  /** Name of the run's folder. */
  name: string;
  /** One row per step, ascending; a step's evaluation is in the same row. */
  rows: MetricRow[];
  /** First and last table of each split that has one. */
  tables: SampleTable[];
  /** First and last train window and the last evaluation, as far as they exist. */
  scatters: (ScatterPoints & { split: Split })[];
  /** The resolved config; empty when the folder does not hold it. */
  config: Readonly<Record<string, unknown>>;
}

/**
 * Rows by step, ascending. Lines of the same step are merged, the later one winning. A last line without its
 * newline is what a run that was killed left behind, and is skipped.
 *
 * @throws SyntaxError when a line is not JSON; it names the line
 * @throws TypeError when it is no row of metrics
 */
export function parseMetrics(text: string, path: string): MetricRow[] {
  const byStep = new Map<number, MetricRow>();
  text.split("\n").slice(0, -1).forEach((line, index) => {
    if (line.trim() === "") return;
    const row = parseRow(line, `${path}:${index + 1}`);
    byStep.set(row.step, { ...byStep.get(row.step), ...row });
  });
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

function parseRow(line: string, place: string): MetricRow {
  let row: unknown;
  try {
    row = parsedJson(line);
  } catch (cause) {
    throw new SyntaxError(
      `Cannot read ${place}: need one JSON object, got "${line.slice(0, 60)}"; remove the line`,
      { cause },
    );
  }
  if (isMetricRow(row)) return row;
  throw new TypeError(
    `Cannot read ${place}: need a JSON object of numbers with a whole "step", got "${line.slice(0, 60)}"; ` +
      "remove the line",
  );
}

function isMetricRow(row: unknown): row is MetricRow {
  if (typeof row !== "object" || row === null) return false;
  const areNumbers = Object.values(row).every((value) => typeof value === "number" || value === null);
  return areNumbers && Number.isSafeInteger((row as { step?: unknown }).step);
}
