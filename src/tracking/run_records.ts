/** Reads back what a run has written: metrics.jsonl, samples/ and the config. */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { MetricRow } from "./metrics.ts";
import type { Sample, SampleTable, ScatterPoints, Split } from "./samples.ts";

/** The resolved config of a run, in its folder. */
export const RUN_CONFIG_FILE = "run_config.json";

/** What was changed where a run went on, one setting to a line. */
export const CHANGES_FILE = "changes.jsonl";

/** What a run was made with: device, versions, command, memory. */
export const RUN_FACTS_FILE = "run_facts.json";

/** Of a run whose final weights are those of its best step: which step that is. */
export const BEST_MODEL_FILE = "best_model.json";

/** Files of a kind and split that are read: a run of thousands of steps may have as many. */
const MOST_FILES = 60;

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
  /** Tables of each split by step, the first and the last among them; at most MOST_FILES of a split. */
  tables: SampleTable[];
  /** Windows of training, then evaluations, by step; at most MOST_FILES of a split. */
  scatters: (ScatterPoints & { split: Split })[];
  /** The resolved config; empty when the folder does not hold it. */
  config: Record<string, unknown>;
  /** What was changed on the way, in order. */
  changes: SettingChange[];
  /** What it was made with, by name; empty where the folder does not tell. */
  facts: Record<string, unknown>;
}

/**
 * @throws Error when the folder holds no metrics.jsonl
 * @throws SyntaxError when a line that a run finished writing is not JSON
 */
export async function readRun(runDir: string): Promise<RunRecords> {
  const text = await readOptional(join(runDir, "metrics.jsonl"));
  if (text === undefined) {
    throw new Error(
      `Cannot read run "${runDir}": no metrics.jsonl in it; give the folder of a run that has started`,
    );
  }
  const samplesDir = join(runDir, "samples");
  const names = await readdir(samplesDir).catch(emptyIfMissing);
  const config = await readOptional(join(runDir, RUN_CONFIG_FILE));
  const facts = await readOptional(join(runDir, RUN_FACTS_FILE));
  const changes = await readOptional(join(runDir, CHANGES_FILE)) ?? "";
  return {
    name: basename(runDir.replace(/[/\\]+$/, "")),
    rows: parseMetrics(text, join(runDir, "metrics.jsonl")),
    tables: await readTables(samplesDir, names),
    scatters: await readScatters(samplesDir, names),
    config: config === undefined ? {} : JSON.parse(config),
    facts: facts === undefined ? {} : parseLine(facts, join(runDir, RUN_FACTS_FILE)),
    changes: wholeLines(changes).map((line, i) => parseLine(line, `${join(runDir, CHANGES_FILE)}:${i + 1}`)),
  };
}

/**
 * Rows by step, ascending. Lines of the same step are merged, the later one winning. A last line without its
 * newline is what a run that was killed left behind, and is skipped.
 *
 * @throws SyntaxError when a line is not JSON; it names the line
 */
export function parseMetrics(text: string, path: string): MetricRow[] {
  const byStep = new Map<number, MetricRow>();
  wholeLines(text).forEach((line, index) => {
    if (line.trim() === "") return;
    const row = parseLine<MetricRow>(line, `${path}:${index + 1}`);
    byStep.set(row.step, { ...byStep.get(row.step), ...row });
  });
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

/** Lines that end; the last of a killed writer may not. */
const wholeLines = (text: string) => text.split("\n").slice(0, -1);

function parseLine<Row>(line: string, place: string): Row {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new SyntaxError(
      `Cannot read ${place}: need one JSON object, got "${line.slice(0, 60)}"; remove the line`,
      {
        cause: error,
      },
    );
  }
}

async function readTables(samplesDir: string, names: readonly string[]): Promise<SampleTable[]> {
  const tables: SampleTable[] = [];
  for (const split of ["train", "eval"] as const) {
    for (const step of spread(stepsOf(names, new RegExp(`^${split}_(\\d+)\\.jsonl$`)))) {
      const path = join(samplesDir, `${split}_${step}.jsonl`);
      const lines = (await readFile(path, "utf8")).split("\n").filter(Boolean);
      tables.push({
        split,
        step,
        samples: lines.map((line, i) => parseLine<Sample>(line, `${path}:${i + 1}`)),
      });
    }
  }
  return tables;
}

async function readScatters(samplesDir: string, names: readonly string[]): Promise<RunRecords["scatters"]> {
  const scatters: RunRecords["scatters"] = [];
  for (const split of ["train", "eval"] as const) {
    for (const step of spread(stepsOf(names, new RegExp(`^${split}_scatter_(\\d+)\\.json$`)))) {
      const path = join(samplesDir, `${split}_scatter_${step}.json`);
      scatters.push({ ...parseLine<ScatterPoints>(await readFile(path, "utf8"), path), split });
    }
  }
  return scatters;
}

function stepsOf(names: readonly string[], pattern: RegExp): number[] {
  const steps = names.flatMap((name) => pattern.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}

/** At most MOST_FILES of the elements, evenly spaced, the first and the last among them. */
function spread(values: readonly number[]): number[] {
  const last = values.length - 1;
  if (last < MOST_FILES) return [...values];
  return Array.from({ length: MOST_FILES }, (_, i) => values[Math.round((i * last) / (MOST_FILES - 1))]);
}

async function readOptional(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch((error) => {
    emptyIfMissing(error);
    return undefined;
  });
}

function emptyIfMissing(error: NodeJS.ErrnoException): string[] {
  if (error.code === "ENOENT") return [];
  throw error;
}
