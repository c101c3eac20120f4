/** The GRPO loss against TRL's own _compute_loss; test/golden/make/trl_loss.py wrote the numbers. */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { grpoLoss } from "../../src/ops/loss/grpo_loss.ts";
import { grpoLossF64, type TokenLossConfig } from "../../src/rl/loss.ts";
import { type CompletionStats, type LossMeans, lossMeans } from "../../src/rl/loss_means.ts";
import { LOSS_TYPES } from "../../src/rl/loss_types.ts";
import {
  type SamplerMeans,
  samplerMeans,
  type SamplerWeightsConfig,
  samplerWeightsF64,
} from "../../src/rl/sampler_weights.ts";
import { samplerWeights } from "../../src/ops/loss/sampler_weights.ts";
import { sequenceWeights } from "../../src/rl/loss_weights.ts";
import { readUpdateStats, type UpdateStats } from "../../src/train/update_stats.ts";
import { type ParityLine, relativeFrobenius, worstRelative } from "./line.ts";

type Inputs = "logprobs" | "oldLogprobs" | "refLogprobs" | "samplerLogprobs" | "entropies" | "advantages";

interface GoldenCase extends TokenLossConfig, SamplerWeightsConfig {
  importance_sampling_correction: boolean;
  mask_truncated_completions: boolean;
  gradient_accumulation_steps: number;
  steps_per_generation: number;
  on_policy: boolean;
  loss: number;
  /** Row-major [completions, tokens]. */
  gradient: number[];
  /** One value for each micro-batch; null: NaN, of no token in the loss. */
  metrics: Record<string, (number | null)[]>;
  /** Over all completions; null without the correction. */
  samplerMetrics: Record<string, number> | null;
}

interface Golden {
  tokens: number;
  lengths: number[];
  truncated: boolean[];
  inputs: Record<Inputs, number[]>;
  cases: GoldenCase[];
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../golden/trl_loss.json", import.meta.url), "utf8"),
);

/** What a case comes to on our side. */
interface Outcome {
  loss: number;
  /** As the golden one. */
  gradient: ArrayLike<number>;
  /** One for each micro-batch. */
  means: (LossMeans & { entropy?: number })[];
  sampler: SamplerMeans;
}

function countedLengths({ mask_truncated_completions: leavesOut }: GoldenCase): number[] {
  return golden.lengths.map((length, b) => leavesOut && golden.truncated[b] ? 0 : length);
}

function weightsOf(golden_case: GoldenCase, lengths: number[]): Float64Array {
  const passes = golden_case.gradient_accumulation_steps;
  const windows = golden_case.steps_per_generation / passes;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return sequenceWeights(golden_case.loss_type, lengths, {
    microBatchSizes: new Array(passes).fill(lengths.length / passes),
    maxCompletionLength: golden.tokens,
    // As the generator: each further step of the generation batch has one token more.
    totalTokens: (tokens * windows + windows - 1) / windows,
  });
}

function* microBatches(golden_case: GoldenCase): Generator<[start: number, end: number]> {
  const size = golden.lengths.length / golden_case.gradient_accumulation_steps;
  for (let start = 0; start < golden.lengths.length; start += size) yield [start, start + size];
}

function twinOutcome(golden_case: GoldenCase): Outcome {
  const { inputs, tokens } = golden;
  const lengths = countedLengths(golden_case);
  const oldLogprobs = golden_case.on_policy ? inputs.logprobs : inputs.oldLogprobs;
  const held = golden.lengths.map((length, b) => {
    const part = (values: number[]) => values.slice(b * tokens, b * tokens + length);
    return samplerWeightsF64(part(oldLogprobs), part(inputs.samplerLogprobs), golden_case);
  });
  const { loss, gradient, completions } = grpoLossF64({
    ...inputs,
    oldLogprobs,
    tokenWeights: golden_case.importance_sampling_correction
      ? held.flatMap(({ weights }) => [...weights, ...Array<number>(tokens - weights.length).fill(NaN)])
      : null,
    refLogprobs: golden_case.beta === 0 ? null : inputs.refLogprobs,
    completionMask: inputs.logprobs.map((_, i) => i % tokens < lengths[Math.floor(i / tokens)] ? 1 : 0),
    weights: weightsOf(golden_case, lengths),
  }, golden_case);
  const meansOf = (stats: CompletionStats[]) => lossMeans(stats, golden_case.importance_sampling_level);
  return {
    loss,
    gradient,
    means: [...microBatches(golden_case)].map(([start, end]) => meansOf(completions.slice(start, end))),
    sampler: samplerMeans(held.map(({ stats }) => stats), golden_case),
  };
}

/** One micro-batch on the GPU, its completions end to end and three spare tokens behind them. */
async function kernelMicroBatch(
  golden_case: GoldenCase,
  [start, end]: readonly [number, number],
  gradient: Float64Array,
) {
  const { inputs, tokens } = golden;
  const counted = countedLengths(golden_case);
  const lengths = golden.lengths.slice(start, end);
  const places = lengths.flatMap((length, b) => Array.from({ length }, (_, t) => (start + b) * tokens + t));
  const spare = [0, 0, 0];
  const pick = (name: Inputs) => tf.tensor1d([...places.map((i) => inputs[name][i]), ...spare]);
  const offsets = lengths.reduce((sums, length) => [...sums, sums[sums.length - 1] + length], [0]);
  const weights = weightsOf(golden_case, counted).map((weight, b) => counted[b] === 0 ? 0 : weight);
  const scales = tf.tensor2d([inputs.advantages.slice(start, end), [...weights.slice(start, end)]]);
  const context = {
    oldLogprobs: golden_case.on_policy ? null : pick("oldLogprobs"),
    refLogprobs: pick("refLogprobs"),
    entropy: pick("entropies"),
    offsets: tf.tensor1d(offsets, "int32"),
    advantagesAndWeights: scales,
  };
  const given = pick("logprobs");
  const policies = { trainer: context.oldLogprobs ?? given, sampler: pick("samplerLogprobs") };
  const held = samplerWeights(policies, context.offsets, golden_case);
  const tokenWeights = golden_case.importance_sampling_correction ? held.weights : null;
  let stats: Tensor | null = null;
  const { value, grad } = tf.valueAndGrad((logprobs: Tensor) => {
    const made = grpoLoss({ ...context, logprobs, tokenWeights }, golden_case);
    stats = tf.keep(made.stats);
    return made.losses;
  })(given, tf.ones([end - start]));
  const derivatives = await readFloats(grad);
  places.forEach((place, i) => gradient[place] = derivatives[i]);
  const logged = await Promise.all([value, stats!, held.stats].map(readFloats));
  const values = Float32Array.from([0, 0, ...logged.flatMap((part) => [...part])]);
  tf.dispose([value, grad, stats!, held.stats, held.weights]);
  return { values, stats: readUpdateStats(values, counted.slice(start, end), end - start, golden_case) };
}

/** The statistics of a step of which each micro-batch logged so much. */
function samplerOf(golden_case: GoldenCase, values: readonly Float32Array[], size: number): SamplerMeans {
  const all = Float32Array.from([0, 0, ...values.flatMap((part) => [...part.subarray(2)])]);
  return readUpdateStats(all, countedLengths(golden_case), size, golden_case).sampler;
}

async function kernelOutcome(golden_case: GoldenCase): Promise<Outcome> {
  const gradient = new Float64Array(golden_case.gradient.length);
  const means: UpdateStats[] = [];
  const logged: Float32Array[] = [];
  const batches = [...microBatches(golden_case)];
  for (const batch of batches) {
    const { values, stats } = await kernelMicroBatch(golden_case, batch, gradient);
    means.push(stats);
    logged.push(values);
  }
  const sampler = samplerOf(golden_case, logged, golden.lengths.length / batches.length);
  return { loss: means.reduce((sum, { loss }) => sum + loss, 0), gradient, means, sampler };
}

/** What a run would log of a micro-batch. */
function loggedOf(
  { loss_type }: GoldenCase,
  means: Outcome["means"][number],
): Record<string, number | undefined> {
  return { kl: means.kl, entropy: means.entropy, ...LOSS_TYPES[loss_type].policyTerm.clipMetrics(means) };
}

/** Worst error of the metrics that both sides have; each logged one of TRL's is known to us. */
function metricsError(golden_case: GoldenCase, { means }: Outcome): number {
  const logged = means.map((one) => loggedOf(golden_case, one));
  const errors = Object.entries(golden_case.metrics).map(([name, expected]) => {
    if (!(name in logged[0])) throw new Error(`TRL logs "${name}", which has no counterpart here`);
    if (logged[0][name] === undefined) return 0; // the twin makes no entropy
    const defined = [...expected.keys()].filter((i) => expected[i] !== null);
    return worstRelative(defined.map((i) => logged[i][name]!), defined.map((i) => expected[i]!), 1e-3);
  });
  return Math.max(...errors);
}

/** Worst error of what TRL logs of the sampler. */
function samplerError({ samplerMetrics: expected }: GoldenCase, { sampler }: Outcome): number {
  if (expected === null) return 0;
  const logged = {
    "sampling/sampling_logp_difference/mean": sampler.differenceMean,
    "sampling/sampling_logp_difference/max": sampler.differenceMax,
    "sampling/importance_sampling_ratio/min": sampler.weightMin,
    "sampling/importance_sampling_ratio/mean": sampler.weightMean,
    "sampling/importance_sampling_ratio/max": sampler.weightMax,
  };
  const names = Object.keys(logged) as (keyof typeof logged)[];
  return worstRelative(names.map((name) => logged[name]), names.map((name) => expected[name]), 1e-3);
}

async function worstOver(
  outcomeOf: (golden_case: GoldenCase) => Outcome | Promise<Outcome>,
  errorOf: (golden_case: GoldenCase, outcome: Outcome) => number,
): Promise<number> {
  let worst = 0;
  for (const golden_case of golden.cases) {
    worst = Math.max(worst, errorOf(golden_case, await outcomeOf(golden_case)));
  }
  return worst;
}

const lossError = ({ loss }: GoldenCase, outcome: Outcome) => worstRelative([outcome.loss], [loss], 0.01);
const gradientError = ({ gradient }: GoldenCase, outcome: Outcome) =>
  relativeFrobenius(outcome.gradient, gradient);

const variety =
  `${golden.cases.length} settings of loss_type, ratio level, clipping, KL, accumulation, correction of the sampler`;
const reference = "TRL GRPOTrainer._compute_loss, f64";

export const lines: ParityLine[] = [
  {
    what: `loss, f64 twin; ${variety}`,
    reference,
    measure: "relative (to at least 0.01)",
    limit: 5e-14,
    worst: () => worstOver(twinOutcome, lossError),
  },
  {
    what: "its gradient with respect to the log-probs, f64 twin",
    reference,
    measure: "relative Frobenius",
    limit: 1e-15,
    worst: () => worstOver(twinOutcome, gradientError),
  },
  {
    what: "loss, GPU kernel",
    reference,
    measure: "relative (to at least 0.01)",
    limit: 3e-6,
    worst: () => worstOver(kernelOutcome, lossError),
  },
  {
    what: "its gradient with respect to the log-probs, GPU kernel",
    reference,
    measure: "relative Frobenius",
    limit: 1e-6,
    worst: () => worstOver(kernelOutcome, gradientError),
  },
  {
    what: "kl, entropy and clip ratios of each micro-batch, GPU kernel",
    reference: "TRL's logged metrics",
    measure: "relative (to at least 0.001)",
    limit: 1e-5,
    worst: () => worstOver(kernelOutcome, metricsError),
  },
  {
    what: "differences from the sampler and the ratios that correct for them, f64 twin",
    reference: "TRL's logged metrics",
    measure: "relative (to at least 0.001)",
    limit: 2e-15,
    worst: () => worstOver(twinOutcome, samplerError),
  },
  {
    what: "differences from the sampler and the ratios that correct for them, GPU kernel",
    reference: "TRL's logged metrics",
    measure: "relative (to at least 0.001)",
    limit: 2e-6,
    worst: () => worstOver(kernelOutcome, samplerError),
  },
];
