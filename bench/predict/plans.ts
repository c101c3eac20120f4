/**
 * A training step of a named shape as another device would run it: the program itself, on a device that counts and that
 * shows the other's features, limits and matrix units, so that it chooses that one's kernels.
 */
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { settledPrecision } from "../../src/policy/precision.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { matmulPrecision, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import { createGenerator, type Generator } from "../../src/policy/decode/generate.ts";
import { decodeWidths } from "../../src/policy/decode/kv_blocks.ts";
import { samplingOptions } from "../../src/policy/decode/options.ts";
import { trainableWeights } from "../../src/policy/adapters.ts";
import { makePassReplays } from "../../src/policy/pass_replays.ts";
import { type ScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import type { Learner } from "../../src/train/learner.ts";
import { passesAtOnce } from "../../src/train/frozen_passes.ts";
import { fittingPlan, planMemory } from "../../src/train/memory_plan.ts";
import { prepareUpdate, type TrainedRollout } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { plannedModels } from "../job_model.ts";
import type { LlamaShape } from "../random_llama.ts";
import type { NamedShape } from "../shapes.ts";
import type { Device } from "./devices.ts";
import { ALONE, passesSeen, tellPasses, type Tracker, trackPlace } from "./place.ts";
import { recordCalls, type RecordedCall, type Recording } from "./record.ts";

/** What of the config a prediction chooses; what is left out is as the shape and the program would have it. */
export interface StepOptions {
  lora?: keyof typeof LORA;
  precision?: RunConfig["matmul_precision"];
  /** The step alone: neither a generation that ends evenly nor tokens of other widths. */
  stepOnly?: boolean;
}

const LORA = {
  qv: { use_peft: true, lora_target_modules: ["q_proj", "v_proj"] },
  "all-linear": { use_peft: true, lora_target_modules: "all-linear" },
  none: { use_peft: false },
} satisfies Record<string, Partial<RunConfig>>;

export interface RecordedStep {
  lora: keyof typeof LORA;
  config: RunConfig;
  /** Tokens of a prompt. */
  prompt: number;
  rowsPerPass: number;
  recomputesLayers: boolean;
  /** By the memory plan, score models counted. */
  peakBytes: number;
  /** Of peakBytes. */
  scoreBytes: number;
  /** What is trained: tensors, and numbers in all of them. */
  trained: { tensors: number; values: number };
  step: Recording;
  /** A generation whose completions end one after the other, evenly from the first token to the last. */
  ending: Recording;
  /** The kernels of one token of so many rows. */
  widths: { rows: number; calls: RecordedCall[] }[];
}

/** A completion that ends nowhere: no token has this id. */
const NO_END = [-1];
/** What a memory plan leaves free for what it does not count. */
const PLANNED_SHARE = 0.95;
const SCORE_MODELS = ["reward", "cost"];

/** A score model on the policy's own trunk, without adapters: as much work as one of its size. */
function scoreModelOf({ adapters: _none, ...trunk }: Policy): ScoreModel {
  const shape = [1, trunk.config.hiddenSize];
  const tensor = emptyTensor(shape);
  const scoreHead = { name: "score_head.weight", shape, format: "f32" as const, tensor, grad: null };
  const raw = { bias: null, label: 0, padId: null, type: "reward" as const, normalizer: null };
  return { trunk, scoreHead, ...raw, replays: makePassReplays() };
}

/** Bytes of the score models' weights, in 16 bits. */
function scoreBytes({ hidden: D, intermediate: F, layers, heads, kvHeads, vocab }: LlamaShape): number {
  return SCORE_MODELS.length * 2 *
    (layers * (2 * D * D + 2 * D * D * kvHeads / heads + 3 * D * F) + vocab * D);
}

/** Ids that differ from prompt to prompt and from completion to completion, so that only prompts are shared. */
const idsOf = (count: number, first: number) => Array.from({ length: count }, (_, t) => (first + t) % 997);

interface Job {
  config: RunConfig;
  learner: Learner;
  score: ScoreModel;
  prompts: number[][];
  rollouts: TrainedRollout[];
  updates: number;
  tracker: Tracker;
}

function rolloutsOf(prompts: readonly number[][], config: RunConfig): TrainedRollout[] {
  const given = prompts.map((ids) => ({ ids }));
  const { num_generations: group, max_completion_length: length } = config;
  return given.flatMap((prompt, p) =>
    Array.from({ length: group }, (_, g): TrainedRollout => ({
      prompt,
      tokens: idsOf(length, 1 + p * group + g),
      end: "length",
      logprobs: null,
    }))
  );
}

async function withGenerator<R>(
  { learner, config }: Job,
  maxTokens: number,
  body: (generator: Generator) => Promise<R>,
): Promise<R> {
  const options = { ...samplingOptions(learner.policy, config), eosIds: NO_END, maxTokens };
  const generator = createGenerator(learner.policy, options);
  try {
    return await body(generator);
  } finally {
    generator.dispose();
  }
}

/** Generates all completions in full length. @param findStop as of a GenerationRequest */
async function generate(job: Job, findStop?: (tokens: readonly number[]) => number | null): Promise<void> {
  const { prompts, config, tracker } = job;
  tracker.enter("prefill", { ...ALONE, sequence: prompts[0].length });
  const request = { prompts, groupSize: config.num_generations, seed: 1, step: 1, findStop };
  await withGenerator(job, config.max_completion_length, (generator) => generator.generate(request));
}

/** Ends the n-th completion that it is shown after its share of the most tokens: n out of so many. */
function endingEvenly(completions: number, most: number): (tokens: readonly number[]) => number | null {
  const ends = new Map<readonly number[], number>();
  return (tokens) => {
    if (!ends.has(tokens)) ends.set(tokens, Math.ceil((ends.size + 1) / completions * most));
    const end = ends.get(tokens)!;
    return tokens.length >= end ? end : null;
  };
}

async function runStep(job: Job): Promise<void> {
  const { config, learner, score, rollouts, updates, tracker } = job;
  await generate(job);
  tracker.enter("score", ALONE);
  const texts = rollouts.map(({ prompt, tokens }) => [...prompt.ids, ...tokens]);
  for (const _model of SCORE_MODELS) {
    for (let start = 0; start < texts.length; start += config.scorer_batch_size) {
      await scoreSequences(score, texts.slice(start, start + config.scorer_batch_size));
    }
  }
  tracker.enter("reference", ALONE);
  const prepared = prepareUpdate(learner, rollouts, 1, updates, config);
  tracker.enter("training", ALONE);
  await updatePolicy(learner, prepared, {
    combined: rollouts.map((_, i) => i % 3),
    learningRates: Array<number>(updates).fill(1e-6),
    config,
  });
}

/** The kernels of one token of so many rows, all of one prompt. */
async function recordToken(job: Job, rows: number): Promise<RecordedCall[]> {
  const { prompts: [prompt], tracker } = job;
  const request = { prompts: [prompt], groupSize: rows, seed: 1, step: 1 };
  const { calls, events } = await recordCalls(tracker.placeOf, async () => {
    tracker.enter("prefill", { ...ALONE, sequence: prompt.length });
    await withGenerator(job, 2, (generator) => generator.generate(request));
  });
  return events.flatMap((event) =>
    event.type === "dispatch" && event.phase === "decode" ? [calls[event.call]] : []
  );
}

/**
 * Records a step of a shape for a device.
 * @throws Error when the device cannot multiply in the precision that is asked for
 */
export async function recordStep(
  { shape, promptTokens: P, settings }: NamedShape,
  device: Device,
  { lora = settings.use_peft ? "qv" : "none", precision, stepOnly = false }: StepOptions,
): Promise<RecordedStep> {
  const base = { ...defaultConfig(), beta: 0.02, eval_jsonl: null, ...settings, ...LORA[lora] };
  const asked: RunConfig = precision ? { ...base, matmul_precision: precision } : base;
  const config = await rehearse(() => Promise.resolve(settledPrecision(asked)), device.seen);
  const batch = batchShape(config);
  const format = config.use_peft ? "bf16" : "f32";
  const models = plannedModels({ shape, format, promptTokens: P, evalPrompts: 0 }, config);
  const scored = scoreBytes(shape);
  const budget = PLANNED_SHARE * device.memoryBytes - scored;
  const room = { budgetBytes: budget, isSoftware: device.matrixFlops === null };
  const planned: typeof planMemory = (...given) =>
    planMemory(given[0], given[1], given[2], given[3], device.seen);
  const { rowsPerPass, recomputesLayers, peakBytes } = await fittingPlan(
    models,
    config,
    batch,
    room,
    planned,
  );
  const { num_generations: group, max_completion_length: C } = config;
  const tracker = trackPlace(P, group);
  // Nothing is predicted from a completion's last token, so it is not trained on; it is scored.
  const training = passesSeen(P - 1, C, Math.min(rowsPerPass, group));
  const frozenRows = rowsPerPass * passesAtOnce(rowsPerPass, group > 1, config);
  const frozen = passesSeen(P - 1, C, Math.min(frozenRows, group));
  const before = matmulPrecision();
  const recorded = await rehearse(async () => {
    setMatmulPrecision(config.matmul_precision);
    try {
      const policy = await models.makePolicy();
      const learner = models.makeLearner(policy, config, { rowsPerPass, recomputesLayers });
      const score = scoreModelOf(learner.policy);
      tellPasses(learner.replays.policy, "training", training, tracker);
      tellPasses(learner.replays.reference, "reference", frozen, tracker);
      tellPasses(score.replays, "score", passesSeen(P, C, group), tracker);
      const prompts = Array.from({ length: batch.promptsPerGeneration }, (_, p) => idsOf(P, 100 * (p + 1)));
      const rollouts = rolloutsOf(prompts, config);
      const job: Job = {
        config,
        learner,
        score,
        prompts,
        rollouts,
        updates: batch.updatesPerGeneration,
        tracker,
      };
      const step = await recordCalls(tracker.placeOf, () => runStep(job));
      const stop = endingEvenly(rollouts.length, C);
      const ending = stepOnly
        ? { calls: [], events: [] }
        : await recordCalls(tracker.placeOf, () => generate(job, stop));
      const widths: RecordedStep["widths"] = [];
      for (const rows of stepOnly ? [] : decodeWidths(rollouts.length)) {
        widths.push({ rows, calls: await recordToken(job, rows) });
      }
      const weights = trainableWeights(learner.policy);
      const values = weights.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
      return { step, ending, widths, trained: { tensors: weights.length, values } };
    } finally {
      setMatmulPrecision(before);
    }
  }, device.seen);
  const plan = { rowsPerPass, recomputesLayers, peakBytes: peakBytes + scored, scoreBytes: scored };
  return { lora, config, prompt: P, ...plan, ...recorded };
}
