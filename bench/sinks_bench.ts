/** Whole runs of the quickstart with every sink and with none but the run's own files, in turn. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { assembleRun } from "../src/assembly/run.ts";
import { loadConfig } from "../src/config/load.ts";
import { type RunConfig, sweepRuns } from "../src/config/sweep.ts";
import type { MetricRow } from "../src/tracking/metrics.ts";
import { startStubWandb } from "../test/unit/wandb_server.ts";
import { quantile } from "./measure.ts";
import { ROOT } from "./program.ts";
import { showProgress } from "./progress.ts";
import { alignColumns } from "./table.ts";

const KINDS = ["off", "on"] as const;
type Kind = typeof KINDS[number];

/** What stands beside metrics.jsonl, samples/ and report.html, which every run writes. */
const REPORTING: Readonly<Record<Kind, readonly string[]>> = {
  off: ["report_to=none"],
  on: ["report_to=[wandb, tensorboard, trackio]", "log_completions=all"],
};
const TINY = ["num_generations=4", "per_device_train_batch_size=8", "max_completion_length=8", "max_steps=4"];

interface RunSeconds {
  /** Of the run, with evaluations, checkpoints, final files and what its sinks have not sent yet. */
  whole: number;
  /** From a step's end to the next one's, median. */
  step: number;
}

export interface SinksReport {
  steps: number;
  /** In the order in which they ran. */
  runs: (RunSeconds & { kind: Kind })[];
  /** With sinks over without, of each pair. */
  ratios: RunSeconds[];
}

export interface SinksOptions {
  /** Pairs of runs, after one run that warms up. */
  repeats: number;
  /** 4 steps of 2 x 4 completions of 8 tokens. */
  isTiny: boolean;
}

function configOf(kind: Kind, outputDir: string, isTiny: boolean): RunConfig {
  const path = join(ROOT, "configs/quickstart.yaml");
  const overrides = ["resume=false", `output_dir=${outputDir}`, ...REPORTING[kind], ...(isTiny ? TINY : [])];
  const source = { text: readFileSync(path, "utf8"), fileName: path };
  return sweepRuns(loadConfig(source, { overrides }))[0];
}

/** @returns its seconds, and what its rows say that no sink may change */
async function timeRun(config: RunConfig): Promise<{ seconds: RunSeconds; losses: (number | undefined)[] }> {
  const rows: MetricRow[] = [];
  const ends: number[] = [];
  const began = performance.now();
  const run = await assembleRun(config);
  try {
    await run.train({
      onStart() {},
      onStep(row) {
        ends.push(performance.now());
        rows.push(row);
        return Promise.resolve();
      },
      onEvaluation: () => Promise.resolve(),
      onMessage() {},
    });
  } finally {
    await run.close();
  }
  const gaps = ends.slice(1).map((end, i) => (end - ends[i]) / 1000);
  const seconds = { whole: (performance.now() - began) / 1000, step: quantile(gaps, 0.5) };
  return { seconds, losses: rows.map(({ loss }) => loss) };
}

/** Servers of this process, and the environment that names them. */
async function startServers(): Promise<{ close(): Promise<void> }> {
  const wandb = await startStubWandb();
  const trackio = createServer((request, response) => {
    request.resume().on("end", () => response.end('{"data": null}'));
  });
  await new Promise<void>((resolve) => trackio.listen(0, "127.0.0.1", resolve));
  const { port } = trackio.address() as AddressInfo;
  Object.assign(process.env, {
    WANDB_API_KEY: "0".repeat(40),
    WANDB_BASE_URL: wandb.url,
    WANDB_MODE: "online",
    TRACKIO_SERVER_URL: `http://127.0.0.1:${port}/?write_token=bench`,
  });
  return {
    async close() {
      trackio.closeAllConnections();
      await Promise.all([wandb.close(), new Promise((resolve) => trackio.close(resolve))]);
    },
  };
}

/**
 * Times pairs of runs; which of a pair is first alternates.
 * @throws AssertionError when sinks change what is trained
 */
export async function benchSinks({ repeats, isTiny }: SinksOptions): Promise<SinksReport> {
  const folder = mkdtempSync(join(tmpdir(), "grpo-sinks-"));
  const servers = await startServers();
  const report: SinksReport = { steps: 0, runs: [], ratios: [] };
  try {
    const timeOf = (kind: Kind, name: string) => timeRun(configOf(kind, join(folder, name), isTiny));
    showProgress("warming up");
    const { losses } = await timeOf("on", "warm");
    report.steps = losses.length;
    for (let pair = 0; pair < repeats; pair++) {
      const seconds = {} as Record<Kind, RunSeconds>;
      for (const kind of pair % 2 === 0 ? KINDS : KINDS.toReversed()) {
        showProgress(`pair ${pair + 1} of ${repeats}: sinks ${kind}`);
        const timed = await timeOf(kind, `${pair}-${kind}`);
        assert.deepEqual(timed.losses, losses, "the same steps with and without sinks");
        seconds[kind] = timed.seconds;
        report.runs.push({ kind, ...timed.seconds });
      }
      const ratio = (name: keyof RunSeconds) => seconds.on[name] / seconds.off[name];
      report.ratios.push({ whole: ratio("whole"), step: ratio("step") });
    }
  } finally {
    showProgress("");
    await servers.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return report;
}

const LEGEND = [
  "on      W&B with its uploads, TensorBoard and trackio, to servers of this process, and every completion kept",
  "off     report_to none; metrics.jsonl, samples/ and report.html are written by both",
  "step    from a step's end to the next one's, the median of a run; whole: the run with its evaluations and files",
  "on/off  of a pair, which run one after the other; the median of the pairs, the least and the most",
].join("\n");

/** The report as a table. Pure. */
export function sinksTable(title: string, { steps, runs, ratios }: SinksReport): string {
  const line = (name: keyof RunSeconds) => {
    const seconds = (kind: Kind) =>
      quantile(runs.filter((run) => run.kind === kind).map((run) => run[name]), 0.5).toFixed(3);
    const sorted = ratios.map((ratio) => ratio[name]);
    const cells = [quantile(sorted, 0.5), Math.min(...sorted), Math.max(...sorted)];
    return [name, seconds("off"), seconds("on"), ...cells.map((value) => value.toFixed(4))];
  };
  return [
    title,
    `runs of the quickstart, ${steps} steps, ${ratios.length} pairs`,
    "",
    alignColumns([["", "off s", "on s", "on/off", "least", "most"], line("step"), line("whole")]),
    "",
    LEGEND,
  ].join("\n");
}
