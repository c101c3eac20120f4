/** Whole optimizer steps against TRL's GRPOTrainer; test/golden/make/trl_steps.py wrote the numbers. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { readFloats } from "../../src/gpu/bridge.ts";
import { bytesToF32 } from "../../src/io/dtype.ts";
import { openModelFolder } from "../../src/io/model_folder.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import type { Tokenizer } from "../../src/io/tokenizer.ts";
import { singleProcess } from "../../src/parallel/communicator.ts";
import type { GenerationRequest } from "../../src/policy/generate.ts";
import { disposeTrunk, makeTrunk, type Policy } from "../../src/policy/llama.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { makePassReplays } from "../../src/policy/pass_replays.ts";
import { copyFrozen, disposeWeights, listWeights, loadPolicyWeights } from "../../src/policy/weights.ts";
import { initialLambdaState } from "../../src/rl/lambda.ts";
import { shuffledOrder, STREAM } from "../../src/rl/rng.ts";
import { type MetricName, type MetricRow, stepRow } from "../../src/tracking/metrics.ts";
import { createOptimizer, disposeOptimizer } from "../../src/train/optimizer.ts";
import type { Prompt } from "../../src/train/prompt_set.ts";
import { type Progress, trainStep } from "../../src/train/step.ts";
import { differences, type ParityLine, relativeFrobenius, worstRelative } from "./line.ts";

interface GoldenCompletion {
  ids: number[];
  reward: number;
  cost: number;
}

interface GoldenRun {
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
  runs: Record<"on_policy" | "off_policy", GoldenRun>;
}

const FOLDER = new URL("../golden/trl_steps/", import.meta.url);
const golden: Golden = JSON.parse(readFileSync(new URL("steps.json", FOLDER), "utf8"));
/** The one that trl_steps.py took its orders from. */
const SEED = 3;

type RunName = keyof Golden["runs"];

interface Trained {
  rows: MetricRow[];
  lambda: number;
  /** By name. */
  before: Map<string, Float32Array>;
  after: Map<string, Float32Array>;
}

function configOf({ settings }: GoldenRun): RunConfig {
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

async function loadPolicy(): Promise<Policy> {
  const folder = await openModelFolder(fileURLToPath(new URL("before", FOLDER)));
  try {
    const config = parseModelConfig(folder.configText, folder.configPath);
    return makeTrunk(config, await loadPolicyWeights(folder.source, config, "float32"));
  } finally {
    await folder.close();
  }
}

async function readAll(policy: Policy): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const { name, tensor } of listWeights(policy.weights)) values.set(name, await readFloats(tensor));
  return values;
}

/** Prompts placed so that the trainer's own shuffle draws them in the golden order. */
function placePrompts(run: GoldenRun): Prompt[] {
  const placed: Prompt[] = [];
  const order = shuffledOrder(run.rollouts.length, SEED, 0, STREAM.shuffle);
  run.rollouts.forEach(({ prompt }, i) => placed[order[i]] = { user: "", ids: prompt, truncated: false });
  return placed;
}

/** Runs the golden batches through `trainStep`, with a generator and a scorer that hand out what TRL was handed. */
async function train(name: RunName): Promise<Trained> {
  const run = golden.runs[name];
  const config = configOf(run);
  const policy = await loadPolicy();
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
          end: ids.at(-1) === 2 ? "eos" as const : "length" as const,
        }));
        for (let p = 0; p * groupSize < completions.length; p++) {
          onGroup?.(p, completions.slice(p * groupSize, (p + 1) * groupSize));
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
    let progress: Progress = { step: 0, lambda: initialLambdaState(config.lambda_cost), numTokens: 0 };
    while (progress.step < config.max_steps) {
      const outcome = await trainStep(deps, progress);
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
function trainOnce(name: RunName): Promise<Trained> {
  if (!trained.has(name)) trained.set(name, train(name));
  return trained.get(name)!;
}

/** |ours - TRL's| over |TRL's - before|, over all parameters together. */
async function parameterError(name: RunName): Promise<number> {
  const { before, after } = await trainOnce(name);
  const reader = await openSafetensors(fileURLToPath(new URL(`${name}_after.safetensors`, FOLDER)));
  const ours: number[] = [], theirs: number[] = [];
  for (const [weight, start] of before) {
    const expected = bytesToF32(await reader.read(weight), reader.tensors.get(weight)!.dtype);
    start.forEach((value, i) => {
      ours.push(after.get(weight)![i] - value);
      theirs.push(expected[i] - value);
    });
  }
  await reader.close();
  return relativeFrobenius(ours, theirs);
}

/** Tokens in the loss of each micro-batch of optimizer step `step`. */
function microBatchTokens(run: GoldenRun, step: number): number[] {
  const { per_device_train_batch_size: size, gradient_accumulation_steps: passes } = configOf(run);
  const { updatesPerGeneration, completionsPerGeneration } = batchShape(configOf(run));
  const windows = completionsPerGeneration / (size * passes);
  const generation = Math.floor(step / updatesPerGeneration);
  const completions = run.rollouts.flatMap((rollout) => rollout.completions)
    .slice(generation * completionsPerGeneration, (generation + 1) * completionsPerGeneration);
  const window = (step % updatesPerGeneration) % windows;
  const counted = ({ ids }: GoldenCompletion) =>
    run.settings.mask_truncated_completions && ids.at(-1) !== 2 ? 0 : ids.length;
  return Array.from({ length: passes }, (_, pass) => {
    const first = (window * passes + pass) * size;
    const rows = run.orders[generation].slice(first, first + size).map((i) => completions[i]);
    return rows.reduce((sum, completion) => sum + counted(completion), 0);
  });
}

const TOKEN_MEANS: MetricName[] = [
  "kl",
  "entropy",
  "clip_ratio/low_mean",
  "clip_ratio/high_mean",
  "clip_ratio/region_mean",
];
const GENERATION_METRICS: MetricName[] = [
  "num_tokens",
  "reward",
  "reward_std",
  "frac_reward_zero_std",
  "completions/mean_length",
  "completions/min_length",
  "completions/max_length",
  "completions/mean_terminated_length",
  "completions/min_terminated_length",
  "completions/max_terminated_length",
  "completions/clipped_ratio",
];

/** TRL's value of a step: a list has one for each micro-batch, of which ours weighs the means by tokens. */
function stepValue(run: GoldenRun, step: number, name: MetricName): number {
  const logged = run.steps[step][name];
  if (!Array.isArray(logged)) return logged;
  if (name.endsWith("_min")) return Math.min(...logged);
  if (name.endsWith("_max")) return Math.max(...logged);
  const tokens = microBatchTokens(run, step);
  const total = tokens.reduce((sum, count) => sum + count, 0);
  return logged.reduce((sum, value, i) => sum + value * tokens[i], 0) / total;
}

/** Worst error of what is logged; a row of ours is the mean over the optimizer steps of a generation batch. */
async function metricsError(name: RunName): Promise<number> {
  const run = golden.runs[name];
  const { rows } = await trainOnce(name);
  const steps = run.steps.length / rows.length;
  const stepMetrics: MetricName[] = [
    "loss",
    "grad_norm",
    ...TOKEN_MEANS,
    "clip_ratio/low_min",
    "clip_ratio/high_max",
  ];
  return Math.max(...rows.flatMap((row, generation) => {
    const own = Array.from({ length: steps }, (_, i) => generation * steps + i);
    const meanOf = (metric: MetricName) =>
      own.reduce((sum, step) => sum + stepValue(run, step, metric), 0) / steps;
    const errorOf = (metric: MetricName, expected: number) => worstRelative([row[metric]!], [expected], 0.01);
    return [
      ...stepMetrics.map((metric) => errorOf(metric, meanOf(metric))),
      ...GENERATION_METRICS.map((metric) => errorOf(metric, (run.steps[own[0]][metric] as number[])[0])),
      worstRelative([row.learning_rate!], [run.steps[own[own.length - 1]].learning_rate as number]),
    ];
  }));
}

/** @param limit of the parameters' error, and why */
function linesOf(name: RunName, what: string, limit: Pick<ParityLine, "limit" | "reason">): ParityLine[] {
  const reference = "TRL GRPOTrainer.train, f32";
  return [
    {
      what: `parameters after ${golden.runs[name].steps.length} optimizer steps, ${what}`,
      reference,
      measure: "relative Frobenius of the change",
      ...limit,
      worst: () => parameterError(name),
    },
    {
      what: `everything logged in these steps, ${what}`,
      reference,
      measure: "relative (to at least 0.01)",
      limit: 2e-5,
      worst: () => metricsError(name),
    },
    {
      what: `lambda after them, ${what}`,
      reference: "the rule in Python",
      measure: "relative",
      limit: 1e-15,
      reason: "exactly equal here; the last bit of exp and log is the runtime's",
      worst: async () => worstRelative([(await trainOnce(name)).lambda], [golden.runs[name].lambda]),
    },
  ];
}

export const lines: ParityLine[] = [
  ...linesOf("on_policy", "one per generation (grpo, KL, clipping, weight decay, accumulation 2, linear)", {
    limit: 2e-5,
  }),
  ...linesOf(
    "off_policy",
    "four per generation (dapo, num_iterations 2, batch scaling, truncated left out)",
    {
      limit: 1e-4,
      reason:
        "AdamW divides a gradient by its size: where that is rounding alone, a last bit moves the parameter",
    },
  ),
  {
    what: "order in which a generation batch is cut into these steps",
    reference: "the one given to TRL",
    measure: "places that differ",
    limit: 0,
    worst: () => {
      const [first, second] = golden.runs.off_policy.orders;
      return differences([...shuffledOrder(16, SEED, 1, STREAM.minibatch)], first) +
        differences([...shuffledOrder(16, SEED, 5, STREAM.minibatch)], second);
    },
  },
];
