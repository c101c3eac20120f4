/** The training runs of test/golden/make/trl_steps.py, made again by our trainer. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadTrunk } from "../../src/assembly/models.ts";
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { singleProcess } from "../../src/parallel/communicator.ts";
import type { GenerationRequest } from "../../src/policy/decode/generate.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { makePassReplays } from "../../src/policy/pass_replays.ts";
import { copyFrozen, disposeWeights, listWeights } from "../../src/policy/weights.ts";
import { initialLambdaState } from "../../src/rl/lambda.ts";
import { shuffledOrder, STREAM } from "../../src/rl/rng.ts";
import { type MetricRow, stepRow } from "../../src/tracking/metrics.ts";
import { createOptimizer, disposeOptimizer } from "../../src/train/optimizer.ts";
import type { Prompt } from "../../src/train/prompts.ts";
import { type Progress, trainOnGenerationBatch } from "../../src/train/generation_batch.ts";

export interface GoldenCompletion {
  ids: number[];
  reward: number;
  cost: number;
}

export interface GoldenRun {
  settings: Partial<RunConfig> & { mask_truncated_completions: boolean };
  rollouts: { prompt: number[]; completions: GoldenCompletion[] }[];
  orders: number[][];
  /** What TRL logged at each optimizer step; lists hold a value for each micro-batch. */
  steps: Record<string, number | number[]>[];
  lambda: number;
}

interface Golden {
  group: number;
  maxCompletionLength: number;
  lambda: Partial<RunConfig>;
  runs: Record<"on_policy" | "off_policy" | "sequence", GoldenRun>;
}

export const FOLDER = new URL("../golden/trl_steps/", import.meta.url);
export const golden: Golden = JSON.parse(readFileSync(new URL("steps.json", FOLDER), "utf8"));
/** The one that trl_steps.py took its orders from. */
export const SEED = 3;

export type RunName = keyof Golden["runs"];

interface Trained {
  rows: MetricRow[];
  lambda: number;
  /** By name. */
  before: Map<string, Float32Array>;
  after: Map<string, Float32Array>;
}

export function configOf({ settings }: GoldenRun): RunConfig {
  return {
    ...defaultConfig(),
    ...golden.lambda,
    ...settings,
    beta: settings.beta!,
    seed: SEED,
    num_generations: golden.group,
    max_completion_length: golden.maxCompletionLength,
  };
}

async function readAll(policy: Policy): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const { name, tensor } of listWeights(policy.weights)) values.set(name, await readFloats(tensor));
  return values;
}

const bare = (ids: number[]): Prompt => (
  { user: "", ids, truncated: false, messages: [], columns: {}, layout: "none" }
);

/** Prompts placed so that the trainer's own shuffle draws them in the golden order. */
function placePrompts(run: GoldenRun): Prompt[] {
  const placed: Prompt[] = [];
  const order = shuffledOrder(run.rollouts.length, SEED, 0, STREAM.shuffle);
  run.rollouts.forEach(({ prompt }, i) => placed[order[i]] = bare(prompt));
  return placed;
}

/** Runs the golden batches through `trainOnGenerationBatch`, with a generator and a scorer that hand out what TRL was handed. */
async function train(name: RunName): Promise<Trained> {
  const run = golden.runs[name];
  const config = configOf(run);
  const { policy } = await loadTrunk(fileURLToPath(new URL("before", FOLDER)), "float32");
  const reference = { ...policy, weights: copyFrozen(policy.weights) };
  const optimizer = createOptimizer(listWeights(policy.weights));
  const shape = batchShape(config);
  let batch: GoldenCompletion[] = [];
  let generation = 0;
  const deps = {
    config,
    learner: {
      policy,
      reference,
      optimizer,
      rowsPerPass: config.per_device_train_batch_size,
      replays: { policy: makePassReplays(), reference: makePassReplays() },
    },
    generator: {
      generate: ({ groupSize, onGroup }: GenerationRequest) => {
        const first = generation++ * shape.promptsPerGeneration;
        batch = run.rollouts.slice(first, first + shape.promptsPerGeneration).flatMap((r) => r.completions);
        const completions = batch.map(({ ids }) => ({
          tokens: ids,
          logprobs: null,
          end: ids.at(-1) === 2 ? "eos" as const : "length" as const,
        }));
        for (let p = 0; p * groupSize < completions.length; p++) {
          onGroup?.(p, completions.slice(p * groupSize, (p + 1) * groupSize), p * groupSize);
        }
        return Promise.resolve(completions);
      },
      dispose() {},
    },
    tokenizer: { decode: () => "" } as unknown as Tokenizer,
    prompts: placePrompts(run),
    scorer: {
      score: () => Promise.resolve({ rewards: batch.map((c) => c.reward), costs: batch.map((c) => c.cost) }),
    },
    communicator: singleProcess,
    shape,
    totalSteps: config.max_steps,
  };
  try {
    const before = await readAll(policy);
    const rows: MetricRow[] = [];
    let progress: Progress = {
      step: 0,
      lambda: initialLambdaState(config.lambda_cost),
      rankLambdas: null,
      numTokens: 0,
    };
    while (progress.step < config.max_steps) {
      const outcome = await trainOnGenerationBatch(deps, progress);
      progress = outcome.progress;
      rows.push(stepRow(outcome.record));
    }
    return { rows, lambda: progress.lambda.lambda, before, after: await readAll(policy) };
  } finally {
    disposeOptimizer(optimizer);
    disposeWeights([...listWeights(policy.weights), ...listWeights(reference.weights)]);
    disposeTrunk(policy);
  }
}

const trained = new Map<RunName, Promise<Trained>>();
/** Each run is made once, for all its lines. */
export function trainOnce(name: RunName): Promise<Trained> {
  if (!trained.has(name)) trained.set(name, train(name));
  return trained.get(name)!;
}
