/** The training runs of test/golden/make/trl_steps.py and trl_ranks.py, made again by our trainer. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadTrunk } from "../../src/assembly/models.ts";
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { type Communicator, singleProcess } from "../../src/parallel/communicator.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { placesOfGroup } from "../../src/policy/decode/batch.ts";
import type { GenerationRequest } from "../../src/policy/decode/generate.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { disposeWeights, listWeights } from "../../src/policy/weights.ts";
import { initialLambdaState } from "../../src/rl/lambda.ts";
import { shuffledOrder, STREAM } from "../../src/rl/rng.ts";
import { type MetricRow, stepRow } from "../../src/tracking/metrics.ts";
import { disposeLearner, makeLearner } from "../../src/train/learner.ts";
import type { Prompt } from "../../src/train/prompts.ts";
import { type Progress, trainOnGenerationBatch } from "../../src/train/generation_batch.ts";
import { relativeFrobenius } from "./line.ts";

export interface GoldenCompletion {
  ids: number[];
  reward: number;
  cost: number;
}

export interface GoldenRun {
  settings: Partial<RunConfig> & { mask_truncated_completions: boolean };
  /** Of all processes. */
  rollouts: { prompt: number[]; completions: GoldenCompletion[] }[];
  orders: number[][];
  /** What TRL logged at each optimizer step; lists hold a value for each micro-batch. */
  steps: Record<string, number | number[]>[];
  lambda: number;
}

/** What is the same in all runs of a file. */
interface GoldenFacts {
  group: number;
  maxCompletionLength: number;
  lambda: Partial<RunConfig>;
}

interface Golden extends GoldenFacts {
  runs: Record<"on_policy" | "off_policy" | "sequence" | "followed", GoldenRun>;
}

interface GoldenOfRanks extends GoldenFacts {
  processes: number;
  runs: Record<"grpo" | "dapo" | "bnpo", GoldenRun>;
}

export const FOLDER = new URL("../golden/trl_steps/", import.meta.url);
export const golden: Golden = JSON.parse(readFileSync(new URL("steps.json", FOLDER), "utf8"));
export const FOLDER_OF_RANKS = new URL("../golden/trl_ranks/", import.meta.url);
export const goldenOfRanks: GoldenOfRanks = JSON.parse(
  readFileSync(new URL("steps.json", FOLDER_OF_RANKS), "utf8"),
);
/** The one that both took their orders from. */
export const SEED = 3;

export type RunName = keyof Golden["runs"];
export type RunOfRanks = keyof GoldenOfRanks["runs"];

export interface Trained {
  rows: MetricRow[];
  lambda: number;
  /** By name. */
  before: Map<string, Float32Array>;
  after: Map<string, Float32Array>;
}

export function configOf({ settings }: GoldenRun, facts: GoldenFacts = golden): RunConfig {
  return {
    ...defaultConfig(),
    ...facts.lambda,
    ...settings,
    beta: settings.beta!,
    seed: SEED,
    num_generations: facts.group,
    max_completion_length: facts.maxCompletionLength,
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

/**
 * Runs the golden batches through `trainOnGenerationBatch`, with a generator and a scorer that hand out what TRL was
 * handed: to each rank what it asks for.
 */
async function train(run: GoldenRun, facts: GoldenFacts, communicator: Communicator): Promise<Trained> {
  const config = configOf(run, facts);
  const { policy } = await loadTrunk(fileURLToPath(new URL("before", FOLDER)), "float32");
  const learner = makeLearner(policy, config, { ranks: communicator });
  const shape = batchShape(config, communicator.size);
  let batch: GoldenCompletion[] = [];
  let generation = 0;
  const deps = {
    config,
    learner,
    generator: {
      generate: (request: GenerationRequest) => {
        const { prompts, firstPrompt = 0, slice } = request;
        const first = generation++ * shape.promptsPerGeneration + firstPrompt;
        const groups = run.rollouts.slice(first, first + prompts.length);
        batch = groups.flatMap((r) => r.completions).slice(slice?.from, slice?.to);
        const completions = batch.map(({ ids }) => ({
          tokens: ids,
          logprobs: null,
          end: ids.at(-1) === 2 ? "eos" as const : "length" as const,
        }));
        groups.forEach((_, p) => {
          const [from, to] = placesOfGroup(request, p);
          request.onGroup?.(p, completions.slice(from, to), from);
        });
        return Promise.resolve(completions);
      },
      dispose() {},
    },
    tokenizer: { decode: () => "" } as unknown as Tokenizer,
    prompts: placePrompts(run),
    scorer: {
      score: () => Promise.resolve({ rewards: batch.map((c) => c.reward), costs: batch.map((c) => c.cost) }),
    },
    communicator,
    shape,
    totalSteps: config.max_steps,
  };
  try {
    const before = await readAll(policy);
    const rows: MetricRow[] = [];
    let progress: Progress = {
      step: 0,
      lambdas: [initialLambdaState(config.lambda_cost)],
      rankLambdas: null,
      numTokens: 0,
      entropyControl: null,
    };
    while (progress.step < config.max_steps) {
      const outcome = await trainOnGenerationBatch(deps, progress);
      progress = outcome.progress;
      rows.push(stepRow(outcome.record));
    }
    return { rows, lambda: progress.lambdas[0].lambda, before, after: await readAll(policy) };
  } finally {
    disposeLearner(learner);
    disposeWeights(listWeights(policy.weights));
    disposeTrunk(policy);
  }
}

const trained = new Map<RunName, Promise<Trained>>();
/** Each run is made once, for all its lines. */
export function trainOnce(name: RunName): Promise<Trained> {
  if (!trained.has(name)) trained.set(name, train(golden.runs[name], golden, singleProcess));
  return trained.get(name)!;
}

const trainedByRanks = new Map<RunOfRanks, Promise<Trained[]>>();
/** As many ranks as TRL had processes, side by side on this GPU. @returns what each ended with */
export function trainRanksOnce(name: RunOfRanks): Promise<Trained[]> {
  if (!trainedByRanks.has(name)) {
    const ranks = inProcessRanks(goldenOfRanks.processes);
    const run = goldenOfRanks.runs[name];
    trainedByRanks.set(name, Promise.all(ranks.map((rank) => trainAsRank(run, rank))));
  }
  return trainedByRanks.get(name)!;
}

/** |ours - TRL's| over |TRL's - before|, over all parameters together. @param file TRL's, after the run */
export async function changeError({ before, after }: Trained, file: URL): Promise<number> {
  const reader = await openSafetensors(fileURLToPath(file));
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

/** A rank that fails tells the others, which would wait for it. */
async function trainAsRank(run: GoldenRun, communicator: Communicator): Promise<Trained> {
  try {
    return await train(run, goldenOfRanks, communicator);
  } catch (error) {
    communicator.leave(error);
    throw error;
  }
}
