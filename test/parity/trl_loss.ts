/** The GRPO loss against TRL's own _compute_loss; test/golden/make/trl_loss.py wrote the numbers. */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { entropyBonus, entropyBonusF64, entropyBonusGradF64 } from "../../src/ops/loss/entropy_bonus.ts";
import { policyWeights } from "../../src/ops/loss/policy_weights.ts";
import { grpoLoss } from "../../src/ops/loss/grpo_loss.ts";
import { grpoLossF64, type TokenLossConfig } from "../../src/rl/loss.ts";
import { type CompletionStats, type LossMeans, lossMeans } from "../../src/rl/loss_means.ts";
import {
  appliedEntropyCoef,
  type EntropyConfig,
  entropyThreshold,
  initialEntropyControl,
  nextEntropyControl,
} from "../../src/rl/entropy.ts";
import { LOSS_TYPES } from "../../src/rl/loss_types.ts";
import { type PolicyWeightsConfig, policyWeightsF64 } from "../../src/rl/policy_weights.ts";
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

/** The entropy bonus that adapts: TRL's coefficient after each optimizer step, and the loss, which is the bonus. */
interface AdaptiveBonus extends Omit<EntropyConfig, "use_adaptive_entropy"> {
  steps: { entropy: number; loss: number; coef: number }[];
}

type Inputs = "logprobs" | "oldLogprobs" | "refLogprobs" | "samplerLogprobs" | "entropies" | "advantages";

interface GoldenCase extends TokenLossConfig, SamplerWeightsConfig, Omit<PolicyWeightsConfig, "loss_type"> {
  top_entropy_quantile: number;
  entropy_coef: number;
  importance_sampling_correction: boolean;
  mask_truncated_completions: boolean;
  gradient_accumulation_steps: number;
  steps_per_generation: number;
  on_policy: boolean;
  loss: number;
  /** Row-major [completions, tokens]. */
  gradient: number[];
  /** The same with respect to the entropies; null without a bonus. */
  entropyGradient: number[] | null;
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
  adaptiveBonus: AdaptiveBonus;
}

const golden: Golden = JSON.parse(
  readFileSync(new URL("../golden/trl_loss.json", import.meta.url), "utf8"),
);

/** What a case comes to on our side. */
interface Outcome {
  loss: number;
  /** As the golden one. */
  gradient: ArrayLike<number>;
  entropyGradient: ArrayLike<number>;
  /** One for each micro-batch. */
  means: (LossMeans & { entropy?: number; policyLoss?: number })[];
  sampler: SamplerMeans;
}

function countedLengths({ mask_truncated_completions: leavesOut }: GoldenCase): number[] {
  return golden.lengths.map((length, b) => leavesOut && golden.truncated[b] ? 0 : length);
}

/** 1 for tokens that are in the loss. */
function maskOf(golden_case: GoldenCase): number[] {
  const lengths = countedLengths(golden_case);
  return golden.inputs.logprobs.map((_, i) =>
    Number(i % golden.tokens < lengths[Math.floor(i / golden.tokens)])
  );
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

/** What the entropies of a case's tokens come to. */
interface OfEntropy {
  /** Row-major, 1 for tokens that count; null: all do. */
  mask: number[] | null;
  /** Of the entropies of each completion. */
  bonusWeights: number[];
}

function entropyOf(golden_case: GoldenCase): OfEntropy {
  const { inputs, tokens } = golden;
  const lengths = countedLengths(golden_case);
  const isCounted = (i: number) => i % tokens < lengths[Math.floor(i / tokens)];
  const threshold = golden_case.top_entropy_quantile < 1
    ? entropyThreshold(
      Float32Array.from(inputs.entropies.filter((_, i) => isCounted(i))),
      golden_case.top_entropy_quantile,
    )
    : -Infinity;
  const mask = inputs.entropies.map((entropy, i) => Number(isCounted(i) && entropy >= threshold));
  const kept = Math.max(mask.reduce((sum, one) => sum + one, 0), 1);
  return {
    mask: golden_case.top_entropy_quantile < 1 ? mask : null,
    bonusWeights: lengths.map((length) => length === 0 ? 0 : golden_case.entropy_coef / kept),
  };
}

function twinOutcome(golden_case: GoldenCase): Outcome {
  const { inputs, tokens } = golden;
  const lengths = countedLengths(golden_case);
  const oldLogprobs = golden_case.on_policy ? inputs.logprobs : inputs.oldLogprobs;
  const { mask, bonusWeights } = entropyOf(golden_case);
  const held = golden.lengths.map((length, b) => {
    const part = (values: number[]) => values.slice(b * tokens, b * tokens + length);
    const ofSampler = samplerWeightsF64(part(oldLogprobs), part(inputs.samplerLogprobs), golden_case);
    const corrects = golden_case.importance_sampling_correction;
    const { weights, sequenceWeight } = policyWeightsF64({
      logprobs: part(inputs.logprobs),
      oldLogprobs: part(oldLogprobs),
      samplerLogprobs: part(corrects ? inputs.samplerLogprobs : oldLogprobs),
      samplerWeights: corrects ? ofSampler.weights : null,
      tokenMask: mask && part(mask),
      advantage: inputs.advantages[b],
    }, golden_case);
    return { stats: ofSampler.stats, weights, sequenceWeight: lengths[b] === 0 ? 1 : sequenceWeight };
  });
  const { loss: policyLoss, gradient, completions } = grpoLossF64({
    ...inputs,
    oldLogprobs,
    tokenWeights: held.flatMap(({ weights }) => [
      ...weights,
      ...Array<number>(tokens - weights.length).fill(NaN),
    ]),
    sequenceWeights: held.map(({ sequenceWeight }) => sequenceWeight),
    refLogprobs: golden_case.beta === 0 ? null : inputs.refLogprobs,
    completionMask: maskOf(golden_case),
    weights: weightsOf(golden_case, lengths),
  }, golden_case);
  const offsets = [...lengths.keys(), lengths.length].map((b) => b * tokens);
  const weights = { bonusWeights, tokenMask: mask ?? maskOf(golden_case), offsets };
  const [zero, one] = [0, 1].map((value) => new Float64Array(lengths.length).fill(value));
  const bonus = entropyBonusF64(zero, inputs.entropies, weights);
  const meansOf = (stats: CompletionStats[]) => lossMeans(stats, golden_case.importance_sampling_level);
  return {
    loss: policyLoss + bonus.reduce((sum, value) => sum + value, 0),
    gradient,
    entropyGradient: entropyBonusGradF64(one, inputs.entropies.length, weights),
    means: [...microBatches(golden_case)].map(([start, end]) => meansOf(completions.slice(start, end))),
    sampler: samplerMeans(held.map(({ stats }) => stats), golden_case),
  };
}

/** One micro-batch on the GPU, its completions end to end and three spare tokens behind them. */
async function kernelMicroBatch(
  golden_case: GoldenCase,
  [start, end]: readonly [number, number],
  gradients: Record<"gradient" | "entropyGradient", Float64Array>,
) {
  const { inputs, tokens } = golden;
  const counted = countedLengths(golden_case);
  const lengths = golden.lengths.slice(start, end);
  const places = lengths.flatMap((length, b) => Array.from({ length }, (_, t) => (start + b) * tokens + t));
  const spare = [0, 0, 0];
  const pick = (name: Inputs) => tf.tensor1d([...places.map((i) => inputs[name][i]), ...spare]);
  const offsets = lengths.reduce((sums, length) => [...sums, sums[sums.length - 1] + length], [0]);
  const weights = weightsOf(golden_case, counted).map((weight, b) => counted[b] === 0 ? 0 : weight);
  const { mask, bonusWeights } = entropyOf(golden_case);
  const tokenMask = mask && tf.tensor1d([...places.map((i) => mask[i]), ...spare]);
  const scales = tf.tensor2d([inputs.advantages.slice(start, end), [...weights.slice(start, end)]]);
  const context = {
    oldLogprobs: golden_case.on_policy ? null : pick("oldLogprobs"),
    refLogprobs: pick("refLogprobs"),
    offsets: tf.tensor1d(offsets, "int32"),
    advantagesAndWeights: scales,
  };
  const [given, entropies] = [pick("logprobs"), pick("entropies")];
  const policies = { trainer: context.oldLogprobs ?? given, sampler: pick("samplerLogprobs") };
  const held = samplerWeights(policies, context.offsets, golden_case);
  const corrects = golden_case.importance_sampling_correction;
  const { weights: tokenWeights, sequenceWeights } = policyWeights({
    logprobs: given,
    oldLogprobs: policies.trainer,
    samplerLogprobs: corrects ? policies.sampler : policies.trainer,
    samplerWeights: corrects ? held.weights : null,
    tokenMask,
    offsets: context.offsets,
    advantagesAndWeights: scales,
  }, golden_case);
  const bonus = {
    bonusWeights: tf.tensor1d(bonusWeights.slice(start, end)),
    tokenMask,
    offsets: context.offsets,
  };
  let stats: Tensor | null = null;
  const { value, grads } = tf.valueAndGrads((logprobs: Tensor, entropy: Tensor) => {
    const made = grpoLoss({ ...context, logprobs, entropy, tokenWeights }, golden_case);
    stats = tf.keep(made.stats);
    return entropyBonus(made.losses, entropy, bonus);
  })([given, entropies], tf.ones([end - start]));
  const [derivatives, ofEntropy] = await Promise.all(grads.map(readFloats));
  places.forEach((place, i) => {
    gradients.gradient[place] = derivatives[i];
    gradients.entropyGradient[place] = ofEntropy[i];
  });
  const logged = await Promise.all([value, stats!, held.stats, sequenceWeights].map(readFloats));
  const values = Float32Array.from([0, 0, ...logged.flatMap((part) => [...part])]);
  tf.dispose([value, ...grads, stats!, held.stats, held.weights, tokenWeights, sequenceWeights]);
  const made = readUpdateStats(values, counted.slice(start, end), end - start, golden_case);
  // Where there is a bonus, this micro-batch is the step.
  const kept = places.filter((place) =>
    counted[Math.floor(place / golden.tokens)] > 0 && (mask?.[place] ?? 1) === 1
  );
  const entropy = kept.reduce((sum, place) => sum + inputs.entropies[place], 0) / Math.max(kept.length, 1);
  return { values, stats: { ...made, policyLoss: made.loss + golden_case.entropy_coef * entropy } };
}

/** The statistics of a step of which each micro-batch logged so much. */
function samplerOf(golden_case: GoldenCase, values: readonly Float32Array[], size: number): SamplerMeans {
  const all = Float32Array.from([0, 0, ...values.flatMap((part) => [...part.subarray(2)])]);
  return readUpdateStats(all, countedLengths(golden_case), size, golden_case).sampler;
}

async function kernelOutcome(golden_case: GoldenCase): Promise<Outcome> {
  const gradients = {
    gradient: new Float64Array(golden_case.gradient.length),
    entropyGradient: new Float64Array(golden_case.gradient.length),
  };
  const means: UpdateStats[] = [];
  const logged: Float32Array[] = [];
  const batches = [...microBatches(golden_case)];
  for (const batch of batches) {
    const { values, stats } = await kernelMicroBatch(golden_case, batch, gradients);
    means.push(stats);
    logged.push(values);
  }
  const sampler = samplerOf(golden_case, logged, golden.lengths.length / batches.length);
  return { loss: means.reduce((sum, { loss }) => sum + loss, 0), ...gradients, means, sampler };
}

/** What a run would log of a micro-batch. */
function loggedOf(
  { loss_type, entropy_coef }: GoldenCase,
  means: Outcome["means"][number],
): Record<string, number | undefined> {
  const { kl, entropy, policyLoss } = means;
  const ofLossType = LOSS_TYPES[loss_type].policyTerm.clipMetrics(means);
  return { kl, entropy, policy_loss: policyLoss, entropy_coef, ...ofLossType };
}

/** Worst error of the metrics that both sides have; each logged one of TRL's is known to us. */
function metricsError(golden_case: GoldenCase, { means }: Outcome): number {
  const logged = means.map((one) => loggedOf(golden_case, one));
  const errors = Object.entries(golden_case.metrics).map(([name, expected]) => {
    if (!(name in logged[0])) throw new Error(`TRL logs "${name}", which has no counterpart here`);
    if (logged[0][name] === undefined) return 0; // the twin makes no entropy
    const defined = [...expected.keys()].filter((i) => expected[i] !== null);
    const least = name === "policy_loss" ? 0.01 : 1e-3; // as the loss
    return worstRelative(defined.map((i) => logged[i][name]!), defined.map((i) => expected[i]!), least);
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

/** The derivatives with respect to the entropies, where TRL's loss has any. */
const entropyGradientError = ({ entropyGradient }: GoldenCase, outcome: Outcome) =>
  entropyGradient === null ? 0 : relativeFrobenius(outcome.entropyGradient, entropyGradient);

/** Worst error of the coefficient that adapts, and of the bonus that each step makes of it. */
function adaptiveError(): number {
  const { steps, ...given } = golden.adaptiveBonus;
  const config = { ...given, use_adaptive_entropy: true };
  let control = initialEntropyControl(config);
  return Math.max(...steps.map(({ entropy, loss, coef }) => {
    const bonus = -appliedEntropyCoef(control, config) * entropy;
    control = nextEntropyControl(control, entropy, config);
    return worstRelative([bonus, control.coef], [loss, coef], 0.01);
  }));
}

const variety =
  `${golden.cases.length} settings of loss_type, ratio level, clipping, KL, accumulation, correction of the sampler, ` +
  "masks of completions and tokens, entropy bonus";
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
    what: "its gradient with respect to the entropies, f64 twin",
    reference,
    measure: "relative Frobenius",
    limit: 0,
    worst: () => worstOver(twinOutcome, entropyGradientError),
  },
  {
    what: "entropy bonus that adapts, over ten optimizer steps of two micro-batches",
    reference,
    measure: "relative (to at least 0.01)",
    limit: 1e-15,
    worst: () => Promise.resolve(adaptiveError()),
  },
  {
    what: "loss, GPU kernel",
    reference,
    measure: "relative (to at least 0.01)",
    limit: 1e-5,
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
    what: "its gradient with respect to the entropies, GPU kernel",
    reference,
    measure: "relative Frobenius",
    limit: 3e-7,
    worst: () => worstOver(kernelOutcome, entropyGradientError),
  },
  {
    what: "kl, entropy, policy loss, clip ratios and phi of each micro-batch, GPU kernel",
    reference: "TRL's logged metrics",
    measure: "relative (to at least 0.001)",
    limit: 3e-5,
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
