/** Whole training runs of a tiny policy in this process: a scorer that remembers, a folder, what the user is told. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { type Communicator, singleProcess } from "../../src/parallel/communicator.ts";
import { disposePolicyWeights } from "../../src/policy/adapters.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { journalled } from "../../src/scorer/journalled.ts";
import type { Scorer, Scores } from "../../src/scorer/protocol.ts";
import { type MetricRow, TIMING_METRICS } from "../../src/tracking/metrics.ts";
import { runTraining, type TrainingResult } from "../../src/train/loop.ts";
import type { LearnerOptions } from "../../src/train/learner.ts";
import type { Prompt } from "../../src/train/prompts.ts";
import type { EvaluationOutcome } from "../../src/train/run.ts";
import type { RunInputs } from "../../src/train/run_inputs.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { tinyPolicy } from "./tiny_policy.ts";

/** Two prompts of two completions a step; each step's learning rate is another. */
const SETTINGS: Partial<RunConfig> = {
  num_generations: 2,
  per_device_train_batch_size: 4,
  gradient_accumulation_steps: 1,
  max_completion_length: 4,
  stop_strings: [],
  beta: 0.02,
  learning_rate: 0.01,
  lr_scheduler_type: "linear",
  lambda_lr: 0.1,
  max_steps: 4,
  save_steps: 1,
  eval_every: 0,
  eval_on_start: false,
  hist_every: 0,
  scatter_every: 0,
  debug_log_every: 0,
};

export const PROMPTS: readonly Prompt[] = Array.from({ length: 12 }, (_, i) => ({
  user: `prompt ${i}`,
  ids: [1, 3 + i, 20 + i, 40 + i].slice(0, 2 + i % 3),
  truncated: false,
  messages: [],
  columns: {},
  layout: "beaver",
}));

const wordsOf: Pick<Tokenizer, "decode"> = { decode: (ids) => Array.from(ids, (id) => `t${id}`).join(" ") };

/** What such a run reads, as far as a checkpoint knows it. */
export const INPUTS: RunInputs = {
  train: { name: "train.jsonl", sha256: "a".repeat(64) },
  eval: { name: "eval.jsonl", sha256: "b".repeat(64) },
  model: { "config.json": "c".repeat(64), "model.safetensors": "d".repeat(64) },
};

/** What the scorer was asked for at once: all of a generation batch. */
export interface Asked {
  prompts: string[];
  completions: string[];
}

/** Scores that depend on the texts alone; the costs are positive, so that lambda rises at every step. */
export function textScores(texts: readonly string[]): Scores {
  const hashes = texts.map((text) =>
    [...text].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % 1009, 7) / 1009
  );
  return { rewards: hashes.map((hash) => 4 * hash), costs: hashes.map((hash) => 0.5 + (7 * hash) % 1) };
}

export interface TinyRunOptions {
  settings?: Partial<RunConfig>;
  /** Asked to end after so many generation batches of this process. */
  stopAfter?: number;
  /** In the place of scores by text. @param request from 1, of this process */
  score?(request: number, completions: string[]): Scores | Promise<Scores>;
  /** Asked to end at once. */
  isHurried?(): boolean;
  evaluate?(lambdas: readonly number[]): Promise<EvaluationOutcome>;
  /** Called after each row was logged, before what is due at its step; what it throws ends the run. */
  onStep?(row: MetricRow): void;
  makePolicy?(): Promise<Policy>;
  inputs?: RunInputs;
  /** How micro-batches are trained on, as a memory plan would have it. */
  passes?: LearnerOptions;
  /** In the place of the single process. */
  communicator?: Communicator;
  /** Called with the policy as the run left it, before it is freed. */
  onEnd?(policy: Policy): Promise<void>;
}

export interface TinyRun {
  result: TrainingResult | null;
  /** What the run ended with, where it failed. */
  error: Error | null;
  asked: Asked[];
  messages: string[];
  /** What was done, in order: "start 3 of 4", "describe", "step 3", "evaluate 3". */
  events: string[];
  /** Tensors that the run left on the GPU. */
  leakedTensors: number;
}

export function tinyConfig(settings: Partial<RunConfig> = {}): RunConfig {
  return { ...defaultConfig(), beta: 0, ...SETTINGS, ...settings } as RunConfig;
}

/** An evaluation of one prompt, judged by lambda alone. */
export const evaluation = ([lambda]: readonly number[]): Promise<EvaluationOutcome> =>
  Promise.resolve({
    prompts: ["eval"],
    completions: ["answer"],
    rewards: [1],
    costs: [2],
    combined: [1 - 2 * lambda],
    completionLengths: [3],
    ends: ["eos"],
  });

/** Trains in `runDir` as `train` does, from its newest checkpoint if there is one. Never throws for the run's sake. */
export async function tinyRun(runDir: string, options: TinyRunOptions = {}): Promise<TinyRun> {
  await mkdir(runDir, { recursive: true });
  const config = tinyConfig(options.settings);
  const run: TinyRun = { result: null, error: null, asked: [], messages: [], events: [], leakedTensors: 0 };
  let batches = 0;
  const scorer: Scorer = {
    score(answers) {
      const completions = answers.map(({ completion }) => completion);
      run.asked.push({ prompts: answers.map(({ prompt }) => prompt), completions });
      return Promise.resolve(
        (options.score ?? ((_, texts) => textScores(texts)))(run.asked.length, completions),
      );
    },
  };
  const policy = await (options.makePolicy ?? (() => tinyPolicy("float32")))();
  const tensorsBefore = tf.memory().numTensors;
  try {
    run.result = await runTraining({
      runDir,
      policy,
      tokenizer: wordsOf as Tokenizer,
      prompts: PROMPTS,
      inputs: options.inputs ?? INPUTS,
      scorer: journalled(scorer, "the tiny run's"),
      communicator: options.communicator ?? singleProcess,
      passes: options.passes ?? {},
      evaluate: options.evaluate ?? null,
      async describeRun() {
        run.events.push("describe");
        await writeFileAtomic(join(runDir, "config.json"), "{}\n");
        return [join(runDir, "config.json")];
      },
      events: {
        onStart: (first, steps) => run.events.push(`start ${first} of ${steps}`),
        onStep(row) {
          batches++;
          run.events.push(`step ${row.step}`);
          options.onStep?.(row);
        },
        onEvaluation: (row) => run.events.push(`evaluate ${row.step}`),
        onMessage: (text) => run.messages.push(text),
      },
      isHurried: options.isHurried,
      shouldStop: () => batches >= (options.stopAfter ?? Infinity),
    }, config);
  } catch (error) {
    run.error = error as Error;
  }
  run.leakedTensors = tf.memory().numTensors - tensorsBefore;
  await options.onEnd?.(policy);
  disposePolicyWeights(policy);
  disposeTrunk(policy);
  return run;
}

/** Rows of metrics.jsonl without what measures the machine. */
export function rowsIn(runDir: string): MetricRow[] {
  const text = readFileSync(join(runDir, "metrics.jsonl"), "utf8");
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const row = JSON.parse(line) as MetricRow;
    for (const name of TIMING_METRICS) delete row[name];
    return row;
  });
}

/** Steps that have a checkpoint in the folder, as numbers. */
export function checkpointsIn(runDir: string): number[] {
  const steps = readdirSync(runDir).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []);
  return steps.map(Number).sort((a, b) => a - b);
}

/** Rows, samples, final weights and every checkpoint that both have are the same, bit for bit; but for `except`. */
export function assertSameRun(runDir: string, whole: string, except: readonly string[] = []): void {
  assert.deepEqual(rowsIn(runDir), rowsIn(whole));
  const uncompared = ["metrics.jsonl", "runs", ...except]; // rows without times are above
  const [actual, expected] = [contentsOf(runDir, uncompared), contentsOf(whole, uncompared)];
  const isCompared = (name: string) => name in expected || !name.startsWith("checkpoint-");
  const names = Object.keys({ ...expected, ...actual }).filter(isCompared);
  for (const name of names) assert.equal(actual[name], expected[name], name);
}

/** Numbers of the steps among a run's events. */
export const stepsOf = (events: readonly string[]): number[] =>
  events.flatMap((event) => /^step (\d+)$/.exec(event)?.[1] ?? []).map(Number);

/** The files of a finished run that a stopped one must not have. */
export const finalWeightsIn = (runDir: string): string[] =>
  ["model.safetensors", "pytorch_model.bin"].filter((name) => existsSync(join(runDir, name)));
