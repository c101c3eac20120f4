/** What a run has written: metrics.jsonl, samples/ and the config. */
import { parsedJson } from "../config/parsed_json.ts";
import type { MetricRow } from "./metrics.ts";
import type { SampleTable, ScatterPoints, Split } from "./samples.ts";
import type { WeightChange } from "./weight_change.ts";

/** The resolved config of a run, in its folder. */
export const RUN_CONFIG_FILE = "run_config.json";

/** What was changed where a run went on, one setting to a line. */
export const CHANGES_FILE = "changes.jsonl";

/** What a run was made with: device, versions, memory. */
export const RUN_FACTS_FILE = "run_facts.json";

/** Of a run whose final weights are those of its best step: which step that is. */
export const BEST_MODEL_FILE = "best_model.json";

/** A setting that was another before `step`. */
export interface SettingChange {
  step: number;
  key: string;
  before: unknown;
  now: unknown;
}

export interface RunRecords {
  /** Name of the run's folder. */
  name: string;
  /** One row per step, ascending; a step's evaluation is in the same row. */
  rows: MetricRow[];
  /** Tables of each split by step, the first and the last among them where not all of very many are read. */
  tables: SampleTable[];
  /** Windows of training, then evaluations, by step, as the tables. */
  scatters: (ScatterPoints & { split: Split })[];
  /** The resolved config; empty when the folder does not hold it. */
  config: Readonly<Record<string, unknown>>;
  /** What was changed on the way, in order. */
  changes: SettingChange[];
  /** How far training moved the weights; null where that was not measured. */
  weightChange: WeightChange | null;
  /** What it was made with, by name; empty where the folder does not tell. */
  facts: Readonly<Record<string, unknown>>;
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
  for (const { row, place, line } of rowsIn(text, path)) {
    if (!isMetricRow(row)) {
      throw new TypeError(
        `Cannot read ${place}: need a JSON object of numbers with a whole "step", got "${
          line.slice(0, 60)
        }"; ` +
          "remove the line",
      );
    }
    byStep.set(row.step, { ...byStep.get(row.step), ...row });
  }
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

/**
 * What changes.jsonl says.
 * @throws SyntaxError when a line is not JSON; it names the line
 * @throws TypeError when it is no change of a setting
 */
export function parseChanges(text: string, path: string): SettingChange[] {
  return rowsIn(text, path).map(({ row, place, line }) => {
    if (isObject(row) && Number.isSafeInteger(row.step) && typeof row.key === "string") {
      return row as unknown as SettingChange;
    }
    throw new TypeError(
      `Cannot read ${place}: need a JSON object with step and key, got "${
        line.slice(0, 60)
      }"; remove the line`,
    );
  });
}

/** Lines that end, as JSON; the last of a killed writer may not. */
function rowsIn(text: string, path: string): { row: unknown; place: string; line: string }[] {
  return text.split("\n").slice(0, -1).flatMap((line, index) => {
    if (line.trim() === "") return [];
    const place = `${path}:${index + 1}`;
    try {
      return [{ row: parsedJson(line), place, line }];
    } catch (cause) {
      throw new SyntaxError(
        `Cannot read ${place}: need one JSON object, got "${line.slice(0, 60)}"; remove the line`,
        { cause },
      );
    }
  });
}

const isObject = (row: unknown): row is Record<string, unknown> => typeof row === "object" && row !== null;

function isMetricRow(row: unknown): row is MetricRow {
  return isObject(row) && Number.isSafeInteger(row.step) &&
    Object.values(row).every((value) => typeof value === "number" || value === null);
}
