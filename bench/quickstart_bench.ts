/** Steps of the quickstart: ours, and those of TRL's GRPOTrainer on the CPU, in turn, with one scorer service. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { loadPrompts } from "../src/assembly/prompts.ts";
import { type AssembledRun, assembleRun } from "../src/assembly/run.ts";
import { batchShape } from "../src/config/batch.ts";
import { loadConfig } from "../src/config/load.ts";
import { type RunConfig, sweepRuns } from "../src/config/sweep.ts";
import type { MetricRow } from "../src/tracking/metrics.ts";
import { summarize, type Timing } from "./measure.ts";
import { type PeerChoice, wantsPeer } from "./peers/choice.ts";
import { startPython } from "./peers/python.ts";
import { ROOT, RUNTIME_ARGS } from "./program.ts";
import { showProgress } from "./progress.ts";
import { type Skipped, skippedFor } from "./table.ts";
import { inTurn, secondsOf } from "./wall_clock.ts";

/** What a step saw: means over its completions. */
interface StepFacts {
  reward: number;
  cost: number;
  /** Of a completion. */
  tokens: number;
  lambda: number;
}

/** A run that is taken step by step. */
interface Runner {
  name: string;
  step(): Promise<StepFacts>;
  close(): Promise<void>;
}

export interface RunnerReport {
  name: string;
  /** Of a step, from its begin to the begin of the next. */
  timing: Timing;
  /** Means over the timed steps. */
  means: StepFacts;
}

export interface QuickstartReport {
  /** Completions of a step, and tokens of one at the most. */
  completions: number;
  maxTokens: number;
  runners: RunnerReport[];
  /** What cannot run here, and why. */
  skipped: Skipped[];
}

export interface QuickstartOptions {
  /** Steps that are timed, after one that is not. */
  repeats: number;
  peer: PeerChoice;
  /** The Python that may have TRL. */
  python: string;
  /** 2 x 4 completions of 8 tokens. */
  isTiny: boolean;
}

const TINY = ["num_generations=4", "per_device_train_batch_size=8", "max_completion_length=8"];

/** The quickstart's settings for more steps than are taken, without evaluations and checkpoints. */
function configOf({ repeats, isTiny }: QuickstartOptions, scorerUrl: string, outputDir: string): RunConfig {
  const path = join(ROOT, "configs/quickstart.yaml");
  const overrides = [
    "eval_jsonl=null",
    "resume=false",
    `scorer_url=${scorerUrl}`,
    `output_dir=${outputDir}`,
    ...(isTiny ? TINY : []),
  ];
  const source = { text: readFileSync(path, "utf8"), fileName: path };
  const [config] = sweepRuns(loadConfig(source, { overrides }));
  const steps = Math.max(config.max_steps, repeats + 2);
  return { ...config, max_steps: steps, save_steps: steps };
}

/** The task `scorer` of this checkout in a process of its own, on a free port. @throws Error when it does not start */
async function startScorer(): Promise<{ url: string; close(): void }> {
  const args = ["src/cli/main.ts", "scorer", "--port", "0"];
  const child = spawn(process.execPath, [...RUNTIME_ARGS, ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = line.match(/available at (\S+)/);
      if (found) resolve(found[1]);
    });
    child.on("error", reject);
    child.on(
      "close",
      (code, signal) =>
        reject(
          new Error(
            `The scorer ended with ${code ?? signal} before it served; start it alone: npm run scorer`,
          ),
        ),
    );
  });
  return { url, close: () => void child.kill() };
}

function factsOf(row: MetricRow): StepFacts {
  return {
    reward: row["helpfulness/mean"]!,
    cost: row["cost/mean"]!,
    tokens: row["completions/mean_length"]!,
    lambda: row["lambda/value"]!,
  };
}

/** Our run, held after each step until the next is asked for. */
function ourRunner(run: AssembledRun): Runner {
  let isStopped = false;
  let goOn = () => {};
  let reached: (row: MetricRow) => void;
  let training: Promise<unknown> | undefined;
  const begin = () =>
    run.train({
      onStart() {},
      onStep(row) {
        reached(row);
        return new Promise<void>((resolve) => goOn = resolve);
      },
      onEvaluation: () => Promise.resolve(),
      onMessage() {},
    }, { shouldStop: () => isStopped });
  return {
    name: "this project",
    async step() {
      const row = new Promise<MetricRow>((resolve) => reached = resolve);
      goOn();
      training ??= begin();
      const ended = training.then((): never => {
        throw new Error("The run ended before the step that was asked for");
      });
      return factsOf(await Promise.race([row, ended]));
    },
    async close() {
      isStopped = true;
      goOn();
      try {
        await training;
      } finally {
        await run.close();
      }
    },
  };
}

/** What trl_quickstart.py says. */
interface TrlAnswer extends StepFacts {
  trl: string;
  torch: string;
  completions: number;
}

/** @throws Error when this Python does not run it; it says what is missing */
async function trlRunner(config: RunConfig, folder: string, python: string): Promise<Runner> {
  const { prompts } = await loadPrompts(config);
  const task = {
    config,
    model: join(ROOT, config.model_name),
    scorer: config.scorer_url,
    prompts: prompts.map(({ ids, user }) => ({ ids, user })),
  };
  writeFileSync(join(folder, "task.json"), JSON.stringify(task));
  const { ready, ask, close } = await startPython<TrlAnswer>(python, "trl_quickstart.py", [
    folder,
    String(availableParallelism()),
  ]);
  const wanted = batchShape(config).completionsPerGeneration;
  return {
    name: `TRL ${ready.trl}, torch ${ready.torch}, CPU`,
    async step() {
      const { completions, ...facts } = await ask({ do: "step" });
      if (completions === wanted) return facts;
      throw new Error(
        `Not timed: TRL made ${completions} completions in a step, this project makes ${wanted}`,
      );
    },
    close: () => Promise.resolve(close()),
  };
}

function meansOf(steps: readonly StepFacts[]): StepFacts {
  const mean = (name: keyof StepFacts) => steps.reduce((sum, step) => sum + step[name], 0) / steps.length;
  return { reward: mean("reward"), cost: mean("cost"), tokens: mean("tokens"), lambda: mean("lambda") };
}

/** Takes steps of all in turn; the first of each warms up. */
async function race(runners: readonly Runner[], repeats: number): Promise<RunnerReport[]> {
  const seen = runners.map((): StepFacts[] => []);
  const samples = await inTurn(runners, repeats + 1, (runner, round) => {
    showProgress(round === 0 ? `warming up: ${runner.name}` : `step ${round} of ${repeats}: ${runner.name}`);
    return secondsOf(async () => void seen[runners.indexOf(runner)].push(await runner.step()));
  });
  return runners.map(({ name }, r) => ({
    name,
    timing: summarize(samples[r].slice(1), 1),
    means: meansOf(seen[r].slice(1)),
  }));
}

/** Times steps of the quickstart. @throws Error when our own do not run, or TRL makes other batches */
export async function benchQuickstart(options: QuickstartOptions): Promise<QuickstartReport> {
  const { repeats, peer, python } = options;
  const folder = mkdtempSync(join(tmpdir(), "grpo-quickstart-"));
  showProgress("starting the scorer");
  const scorer = await startScorer();
  const runners: Runner[] = [];
  const skipped: Skipped[] = [];
  try {
    const config = configOf(options, scorer.url, folder);
    runners.push(ourRunner(await assembleRun(config)));
    if (wantsPeer(peer, "torch")) {
      showProgress("starting TRL");
      try {
        runners.push(await trlRunner(config, folder, python));
      } catch (error) {
        skipped.push(skippedFor("TRL", error));
      }
    }
    const reports = await race(runners, repeats);
    showProgress("");
    const { completionsPerGeneration: completions } = batchShape(config);
    return { completions, maxTokens: config.max_completion_length, runners: reports, skipped };
  } finally {
    for (const runner of runners.reverse()) await runner.close(); // ours, which may fail, last
    scorer.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
