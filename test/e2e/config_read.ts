/** What a run left behind. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import type { Sample, Split } from "../../src/tracking/samples.ts";
import type { Ran } from "./config_run.ts";
import { metricRows } from "./program.ts";

/** The one run's folder in an output_dir. */
export function runFolderOf({ dir }: Ran): string {
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith("_unified")) : [];
  if (names.length !== 1) throw new Error(`required one run in ${dir}, found ${names.join(", ") || "none"}`);
  return join(dir, names[0]);
}

/** Rows of training, without what measures the machine. */
export const rowsOf = (ran: Ran): MetricRow[] =>
  metricRows(runFolderOf(ran)).filter((row) => row.epoch !== undefined);

/** Rows of evaluations. */
export const evalRowsOf = (ran: Ran): MetricRow[] =>
  metricRows(runFolderOf(ran)).filter((row) => row["eval/total_samples"] !== undefined);

export const lastOf = <T>(list: readonly T[]): T => list[list.length - 1];

export interface StoredTensor {
  dtype: string;
  shape: number[];
  /** Of F32 tensors alone. */
  values: Float32Array;
}

/** Tensors of a safetensors file by name. */
export function tensorsIn(path: string): Map<string, StoredTensor> {
  const bytes = new Uint8Array(readFileSync(path));
  const headerEnd = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.slice(8, headerEnd)));
  delete header.__metadata__;
  return new Map(
    Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(header)
      .map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
        const own = bytes.slice(headerEnd + begin, headerEnd + end);
        const values = dtype === "F32" ? new Float32Array(own.buffer) : new Float32Array();
        return [name, { dtype, shape, values }];
      }),
  );
}

/** The trained model's tensors. */
export const weightsOf = (ran: Ran) => tensorsIn(join(runFolderOf(ran), "model.safetensors"));

/** The optimizer's moments in a checkpoint: "<weight>.exp_avg" and "<weight>.exp_avg_sq". */
export const momentsOf = (ran: Ran, step: number) =>
  tensorsIn(join(runFolderOf(ran), `checkpoint-${step}`, "optimizer.safetensors"));

/** samples/{split}_{step}.jsonl */
export const tableOf = (ran: Ran, split: Split, step: number): Sample[] =>
  readFileSync(join(runFolderOf(ran), "samples", `${split}_${step}.jsonl`), "utf8")
    .trim().split("\n").map((line) => JSON.parse(line));

/** Names below the run's folder that match, in order. */
export const namesIn = (ran: Ran, folder: string, pattern: RegExp): string[] =>
  readdirSync(join(runFolderOf(ran), folder)).filter((name) => pattern.test(name)).sort();

/** Steps of the checkpoints that are kept. */
export const checkpointsOf = (ran: Ran): number[] =>
  namesIn(ran, ".", /^checkpoint-\d+$/).map((name) => Number(name.slice("checkpoint-".length)))
    .sort((a, b) => a - b);

/** A value of run_config.json. */
export const configValue = (ran: Ran, key: string): unknown =>
  JSON.parse(readFileSync(join(runFolderOf(ran), "run_config.json"), "utf8"))[key];

/** Bytes that the banner says are planned: of a part, or of all. */
export function plannedBytes({ output }: Ran, part = "planned"): number {
  const found = output.match(new RegExp(`${part} ([\\d.]+) (B|KiB|MiB|GiB)`));
  if (!found) throw new Error(`required "${part} <size>" in the output, got ${output}`);
  return Number(found[1]) * 1024 ** ["B", "KiB", "MiB", "GiB"].indexOf(found[2]);
}

/** Sizes of the requests for scores, in order. */
export const requestSizes = ({ batches }: Ran): number[] => batches.map(({ prompts }) => prompts.length);

/** The different prompts that were scored, in order. */
export const promptsAsked = ({ batches }: Ran): string[] => [
  ...new Set(batches.flatMap(({ prompts }) => prompts)),
];
