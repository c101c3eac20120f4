/** Reads back what a run has written: metrics.jsonl, samples/ and the config. */
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { parsedObject } from "../config/parsed_json.ts";
import { explainFsError } from "../io/files/errors.ts";
import { isJsonObject, type JsonObject } from "../io/files/json_object.ts";
import { isAbsence, readIfThere } from "../io/files/presence.ts";
import { readText } from "../io/files/whole_file.ts";
import {
  CHANGES_FILE,
  parseChanges,
  parseMetrics,
  RUN_CONFIG_FILE,
  RUN_FACTS_FILE,
  type RunRecords,
} from "../tracking/run_records.ts";
import { parseWeightChange, WEIGHT_CHANGE_FILE } from "../tracking/weight_change.ts";
import { rolloutTables } from "./rollout_tables.ts";
import type { Sample, SampleTable, ScatterPoints } from "../tracking/samples.ts";
import { spread } from "../tracking/statistics.ts";

const READ = "read";
/** Files of a kind and split that are read: a run of thousands of steps may have as many. */
const MOST_FILES = 60;
const REMEDY = "remove it, or copy the run's folder again";

/**
 * What lies in a run's folder.
 * @throws Error when the folder holds no metrics.jsonl, or a file cannot be read
 * @throws SyntaxError or TypeError when a file, which it names, is not what a run writes
 */
export async function readRun(runDir: string): Promise<RunRecords> {
  const path = join(runDir, "metrics.jsonl");
  const text = await readIfThere(path, READ);
  if (text === null) {
    throw new Error(
      `Cannot read run "${runDir}": no metrics.jsonl in it; give the folder of a run that has started`,
    );
  }
  const samplesDir = join(runDir, "samples");
  const names = await readdir(samplesDir).catch((error) => {
    if (isAbsence(error)) return [];
    throw explainFsError(error, "list", samplesDir);
  });
  const configPath = join(runDir, RUN_CONFIG_FILE);
  const config = await readIfThere(configPath, READ);
  const factsPath = join(runDir, RUN_FACTS_FILE);
  const facts = await readIfThere(factsPath, READ);
  const changesPath = join(runDir, CHANGES_FILE);
  const changes = await readIfThere(changesPath, READ);
  const changePath = join(runDir, WEIGHT_CHANGE_FILE);
  const weightChange = await readIfThere(changePath, READ);
  const settings = config === null ? {} : parsedObject(config, configPath, REMEDY);
  return {
    name: basename(runDir.replace(/[/\\]+$/, "")),
    rows: parseMetrics(text, path),
    tables: withKept(await readTables(samplesDir, names), await rolloutTables(runDir, settings)),
    scatters: await readScatters(samplesDir, names),
    config: settings,
    weightChange: weightChange === null
      ? null
      : parseWeightChange(parsedObject(weightChange, changePath, REMEDY), changePath),
    facts: facts === null ? {} : parsedObject(facts, factsPath, REMEDY),
    changes: changes === null ? [] : parseChanges(changes, changesPath),
  };
}

/** Tables of completions that were kept whole in the place of those of some of them. */
function withKept(tables: readonly SampleTable[], kept: readonly SampleTable[]): SampleTable[] {
  const isKept = (table: SampleTable) =>
    table.split === "train" && kept.some(({ step }) => step === table.step);
  const [train, evaluations] = (["train", "eval"] as const).map((split) =>
    [...tables.filter((table) => !isKept(table)), ...kept].filter((table) => table.split === split)
  );
  return [...train.sort((a, b) => a.step - b.step), ...evaluations];
}

async function readTables(samplesDir: string, names: readonly string[]): Promise<SampleTable[]> {
  const tables: SampleTable[] = [];
  for (const split of ["train", "eval"] as const) {
    for (const step of spread(stepsOf(names, new RegExp(`^${split}_(\\d+)\\.jsonl$`)), MOST_FILES)) {
      const path = join(samplesDir, `${split}_${step}.jsonl`);
      const lines = (await readText(path, READ)).split("\n");
      tables.push({
        split,
        step,
        samples: lines.flatMap((line, i) => line === "" ? [] : [sampleOf(line, `${path}:${i + 1}`)]),
      });
    }
  }
  return tables;
}

const NUMBERS = ["reward", "cost", "combined"];
const isNumber = (value: unknown): value is number => typeof value === "number";

function sampleOf(line: string, place: string): Sample {
  const row = parsedObject(line, place, REMEDY);
  const { prompt, completion, scores = {}, unsafe } = row;
  const isSample = [prompt, completion].every((text) => typeof text === "string") &&
    NUMBERS.every((name) => isNumber(row[name])) && typeof unsafe === "boolean" && isJsonObject(scores) &&
    Object.values(scores).every((score) => score === null || isNumber(score));
  if (isSample) return row as unknown as Sample;
  throw new TypeError(
    `Cannot read ${place}: required prompt, completion, ${
      NUMBERS.join(", ")
    }, unsafe and scores of a sample, ` +
      `got ${line.slice(0, 60)}; ${REMEDY}`,
  );
}

async function readScatters(samplesDir: string, names: readonly string[]): Promise<RunRecords["scatters"]> {
  const scatters: RunRecords["scatters"] = [];
  for (const split of ["train", "eval"] as const) {
    for (const step of spread(stepsOf(names, new RegExp(`^${split}_scatter_(\\d+)\\.json$`)), MOST_FILES)) {
      const path = join(samplesDir, `${split}_scatter_${step}.json`);
      scatters.push({ ...pointsOf(parsedObject(await readText(path, READ), path, REMEDY), path), split });
    }
  }
  return scatters;
}

function pointsOf(json: JsonObject, path: string): ScatterPoints {
  const { rewards, costs } = json;
  const areLists = [rewards, costs].every((list) => Array.isArray(list) && list.every(isNumber));
  const areNumbers = ["step", "from_step", "total"].every((name) => isNumber(json[name]));
  if (areLists && areNumbers && (rewards as number[]).length === (costs as number[]).length) {
    return json as unknown as ScatterPoints;
  }
  throw new TypeError(
    `Cannot read ${path}: required step, from_step and total, and as many rewards as costs; ${REMEDY}`,
  );
}

function stepsOf(names: readonly string[], pattern: RegExp): number[] {
  const steps = names.flatMap((name) => pattern.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}
