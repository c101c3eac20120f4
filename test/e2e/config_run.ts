/** Runs a command of the program in this process, as main.ts does, on models and prompts made for it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomValues, writeClassifier, writePolicy, writeScoreModel } from "./config_models.ts";
import { type ScoredBatch, startScorer, type TestScorer } from "./config_scorer.ts";

// Lines are printed as they are for a log, wherever the test runs.
Object.defineProperty(process.stdout, "isTTY", { value: false, configurable: true });
process.env.GRPO_WEBGPU_TUNING = "off";
const { trainCommand } = await import("../../src/cli/train.ts");
const { evalCommand } = await import("../../src/cli/eval.ts");

export type Settings = Record<string, unknown>;

/** Six prompts; each has another text under another key. */
export const PROMPTS = ["red", "orange", "yellow", "green", "blue", "a colour between blue and red"];
export const QUESTIONS = PROMPTS.map((prompt) => `why ${prompt}?`);
export const EVAL_PROMPTS = ["one", "two", "three", "four", "five"];

/** A chat template of which every character is a token. */
const CHAT_TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{{ mood }}:";

/** Two steps of two prompts with four completions each. */
const BASE: Settings = {
  eval_jsonl: null,
  eval_on_start: false,
  num_generations: 4,
  per_device_train_batch_size: 4,
  gradient_accumulation_steps: 2,
  max_completion_length: 6,
  max_prompt_length: 100,
  temperature: 1,
  stop_strings: [],
  beta: 0.1,
  learning_rate: 0.01,
  max_steps: 2,
  lambda_lr: 0.1,
  save_steps: 0,
  scorer_retry_max_s: 0,
  scatter_every: 0,
  hist_every: 0,
  debug_log_n_samples: 64,
  debug_print_first: false,
  debug_print_samples_per_batch: 0,
};

/** A command that has ended. */
export interface Ran {
  code: number | null;
  /** What it threw; main.ts prints it and exits with 1. */
  error: Error | null;
  output: string;
  /** What the scorer was asked. */
  batches: ScoredBatch[];
  /** Its output_dir. */
  dir: string;
}

const FOLDER = mkdtempSync(join(tmpdir(), "grpo-config-"));
process.once("exit", () => rmSync(FOLDER, { recursive: true, force: true }));

/** A file or folder that runs read or write. */
export const scratch = (name: string) => join(FOLDER, name);

/** The scorers of the runs: all but one row of the table ask the first. */
export interface Stage {
  scorer: TestScorer;
  other: TestScorer;
}

/** Writes models, prompts and a config file, and starts the scorers. */
export async function openStage(): Promise<Stage> {
  const stage = { scorer: await startScorer(), other: await startScorer() };
  const jsonl = (rows: unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  await writePolicy(scratch("policy"), randomValues(1));
  await writePolicy(scratch("other_policy"), randomValues(2));
  await writeScoreModel(scratch("reward"), "reward", 1.5);
  await writeScoreModel(scratch("other_reward"), "reward", 2.5);
  await writeScoreModel(scratch("judging_reward"), "reward", 0, 1);
  await writeScoreModel(scratch("cost"), "cost", -0.5);
  await writeClassifier(scratch("classifier"), ["good", "bad"]);
  await writeScoreModel(scratch("other_cost"), "cost", 0.75);
  const train = PROMPTS.map((prompt, i) => ({ prompt, question: QUESTIONS[i] }));
  writeFileSync(scratch("train.jsonl"), jsonl(train));
  writeFileSync(scratch("eval.jsonl"), jsonl(EVAL_PROMPTS.map((prompt) => ({ prompt }))));
  writeFileSync(scratch("holes.jsonl"), `${jsonl(train.slice(0, 1))}{"text":"?"}\n${jsonl(train.slice(1))}`);
  writeFileSync(scratch("template.jinja"), CHAT_TEMPLATE);
  const settings = {
    ...BASE,
    model_name: scratch("policy"),
    train_jsonl: scratch("train.jsonl"),
    reward_model: scratch("reward"),
    cost_model: scratch("cost"),
    scorer_url: stage.scorer.url,
  };
  writeFileSync(scratch("base.yaml"), JSON.stringify(settings)); // JSON is YAML
  return stage;
}

export async function closeStage({ scorer, other }: Stage): Promise<void> {
  await Promise.all([scorer.close(), other.close()]);
  rmSync(FOLDER, { recursive: true, force: true });
}

/** Everything that `body` writes to standard output. */
export async function capture(body: () => Promise<number>): Promise<Pick<Ran, "code" | "error" | "output">> {
  const write = process.stdout.write;
  let output = "";
  // A test runner reports in bytes.
  process.stdout.write = function (this: unknown, ...args: unknown[]) {
    if (typeof args[0] !== "string") return Reflect.apply(write, process.stdout, args);
    output += args[0];
    return true;
  } as typeof write;
  try {
    const code = await body();
    return { code, error: null, output };
  } catch (error) {
    return { code: null, error: error as Error, output };
  } finally {
    process.stdout.write = write;
  }
}

/** Runs without leaving the listeners for signals behind that a program keeps until it ends. */
async function withoutListeners<R>(body: () => Promise<R>): Promise<R> {
  const signals = ["SIGINT", "SIGTERM"] as const;
  const before = signals.map((name) => new Set(process.listeners(name)));
  try {
    return await body();
  } finally {
    signals.forEach((name, i) => {
      for (const listener of process.listeners(name)) {
        if (!before[i].has(listener)) process.off(name, listener);
      }
    });
  }
}

let runs = 0;

/** An output_dir that no run has written to. */
export const freshFolder = () => scratch(`out-${++runs}`);

/** Runs `train` or `eval` with settings as `--set key=value`, in a folder of its own unless they name one. */
export async function runCommand(
  { scorer }: Stage,
  command: "train" | "eval",
  settings: Settings,
  options: string[] = [],
): Promise<Ran> {
  const dir = String(settings.output_dir ?? freshFolder());
  const set = Object.entries({ ...settings, output_dir: dir }).flatMap(([key, value]) => {
    return ["--set", `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`];
  });
  // The results of eval would lie beside the model, which runs share.
  const output = command === "eval" && !options.includes("--output") ? ["--output", dir] : [];
  const args = ["--config", scratch("base.yaml"), ...set, ...output, ...options];
  scorer.forget();
  const run = command === "train" ? trainCommand : evalCommand;
  const ended = await withoutListeners(() => capture(() => run(args)));
  return { ...ended, batches: scorer.batches, dir };
}
