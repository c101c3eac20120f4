/** Runs the program as a user does: another process, its exit code and output. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { TIMING_METRICS } from "../../src/tracking/metrics.ts";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Finished {
  code: number | null;
  output: string;
}

/** Starts `main.ts <args>` in the runtime that runs the test. */
export function startProgram(args: string[]): { child: ChildProcess; finished: Promise<Finished> } {
  const main = join(ROOT, "src/cli/main.ts");
  const runtime = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-webgpu"]
    : ["--import", "tsx"];
  const child = spawn(process.execPath, [...runtime, main, ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  const finished = new Promise<Finished>((resolve) => child.on("close", (code) => resolve({ code, output })));
  return { child, finished };
}

export function runProgram(args: string[]): Promise<Finished> {
  return startProgram(args).finished;
}

/** A folder that is gone after `body`. */
export async function inScratchFolder<R>(body: (folder: string) => Promise<R>): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), "grpo-e2e-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const RUN = "beta0.02_seed42_unified";

/** Few and short completions of the embedded models: about a second a step on two cores. */
export function trainArgs(outputDir: string, settings: Record<string, unknown> = {}): string[] {
  const all = {
    output_dir: outputDir,
    eval_jsonl: null,
    beta: 0.02,
    num_generations: 4,
    per_device_train_batch_size: 4,
    gradient_accumulation_steps: 2,
    max_completion_length: 8,
    max_steps: 5,
    save_steps: 2,
    debug_log_every: 1,
    debug_log_n_samples: 64,
    ...settings,
  };
  const set = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${JSON.stringify(value)}`]);
  return ["train", "--config", "configs/quickstart.yaml", ...set];
}

/** Rows of metrics.jsonl without what measures the machine. */
export function metricRows(runDir: string): MetricRow[] {
  return readFileSync(join(runDir, "metrics.jsonl"), "utf8").trim().split("\n").map((line) => {
    const row = JSON.parse(line) as MetricRow;
    for (const name of TIMING_METRICS) delete row[name];
    return row;
  });
}
