/** Runs the program as a user does: another process, its exit code and output. */
import assert from "node:assert/strict";
import { spawn, type SpawnOptions } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { TIMING_METRICS } from "../../src/tracking/metrics.ts";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A program that takes longer hangs: no test needs a tenth of it on cores of its own. */
const DEADLINE_MS = 300_000;

export interface Finished {
  /** null after a signal. */
  code: number | null;
  /** What ended it; null where it ended by itself. */
  signal: NodeJS.Signals | null;
  output: string;
}

export interface Program {
  pid: number;
  /** Sends it a signal, as the kernel does: Deno's `child.kill` would report the signal in the exit code's place. */
  signal(name: NodeJS.Signals): void;
  /** Rejects with the output so far where the program did not end in time. */
  finished: Promise<Finished>;
  /** Standard output and standard error so far. */
  said(): string;
  /** Resolves once the output holds `pattern`; rejects with the output when the program ends or hangs before. */
  says(pattern: RegExp): Promise<void>;
  /** Waits for what happens while the program runs; rejects with the output when it ends or hangs before. */
  reaches<R>(event: Promise<R>, what: string): Promise<R>;
}

/** Starts `main.ts <args>` in the runtime that runs the test. */
export function startProgram(args: string[]): Program {
  const main = join(ROOT, "src/cli/main.ts");
  const runtime = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-webgpu"]
    : ["--import", "tsx"];
  return startCommand(process.execPath, [...runtime, main, ...args]);
}

/**
 * Starts any command in the checkout.
 * @param options beside its output, which is read here; one that takes longer than `deadlineMs` hangs, and is killed
 */
export function startCommand(
  command: string,
  args: readonly string[],
  { deadlineMs = DEADLINE_MS, ...options }: Pick<SpawnOptions, "env" | "detached"> & { deadlineMs?: number } =
    {},
): Program {
  const child = spawn(command, args, { cwd: ROOT, ...options, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const awaited: { pattern: RegExp; found: () => void }[] = [];
  const take = (chunk: string) => {
    output += chunk;
    for (const { pattern, found } of awaited) if (pattern.test(output)) found();
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", take);
  const finished = new Promise<Finished>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(
        new Error(`The program hung for ${deadlineMs / 1000} s and was killed. Its output:\n${output}`),
      );
    }, deadlineMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, output });
    });
  });
  finished.catch(() => {}); // whoever waits hears of it
  function reaches<R>(event: Promise<R>, what: string): Promise<R> {
    const ended = finished.then(({ code }) => {
      throw new Error(`The program ended with ${code} before ${what}. Its output:\n${output}`);
    });
    return Promise.race([event, ended]);
  }
  const says = (pattern: RegExp) => {
    const event = new Promise<void>((found) => {
      awaited.push({ pattern, found });
      take("");
    });
    return reaches(event, `it said ${pattern}`);
  };
  return {
    pid: child.pid!,
    signal: (name) => process.kill(child.pid!, name),
    finished,
    said: () => output,
    says,
    reaches,
  };
}

export function runProgram(args: string[]): Promise<Finished> {
  return startProgram(args).finished;
}

/** Runs a program that is to succeed. @returns its output */
export async function succeed(args: string[]): Promise<string> {
  const { code, output } = await runProgram(args);
  assert.equal(code, 0, output);
  return output;
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
  return readFileSync(join(runDir, "metrics.jsonl"), "utf8").split("\n").filter(Boolean).map((line) => {
    const row = JSON.parse(line) as MetricRow;
    for (const name of TIMING_METRICS) delete row[name];
    return row;
  });
}

/** Steps of the checkpoints in a run's folder. */
export function checkpointSteps(runDir: string): number[] {
  const steps = readdirSync(runDir).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}

/** Sizes and hashes of a checkpoint's files: weights, optimizer, trainer state, config and tokenizer. */
export function checkpointManifest(runDir: string, step: number): string {
  return readFileSync(join(runDir, `checkpoint-${step}`, "checkpoint_manifest.json"), "utf8");
}

/** Of the files that only a run at its end may write, those that are there. */
export function finalFiles(runDir: string): string[] {
  const names = ["model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "merged"];
  return names.filter((name) => existsSync(join(runDir, name)));
}

/** Rows, completions, final weights and the last checkpoint are the same, bit for bit. */
export function assertSameRun(runDir: string, whole: string): void {
  assert.deepEqual(metricRows(runDir), metricRows(whole));
  const last = Math.max(...checkpointSteps(whole));
  assert.equal(checkpointManifest(runDir, last), checkpointManifest(whole, last), `checkpoint-${last}`);
  assert.deepEqual(finalFiles(runDir), finalFiles(whole));
  const samples = readdirSync(join(whole, "samples")).map((name) => join("samples", name));
  const weights = readdirSync(whole).filter((name) => /^(adapter_)?model\.safetensors$|\.bin$/.test(name));
  const merged = existsSync(join(whole, "merged")) ? ["merged/model.safetensors"] : [];
  for (const name of [...samples, ...weights, ...merged]) {
    assert.ok(readFileSync(join(runDir, name)).equals(readFileSync(join(whole, name))), name);
  }
}
