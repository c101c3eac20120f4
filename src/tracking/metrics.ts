/**
 * Names and values of everything that a run logs. A step's record goes in, one flat row `{name: number}`
 * comes out. The names without a prefix and those under `completions/` and `clip_ratio/` are TRL's, so that
 * its dashboards fit.
 */
import { EVAL_METRICS } from "../rl/eval_metrics.ts";
import { rewardStatistics, type ScaleRewards } from "../rl/advantages.ts";
import { exactInterval } from "../rl/binomial.ts";
import { CLIP_METRICS, type ClipMetrics } from "../rl/policy_terms.ts";
import { SAMPLER_METRICS, type samplerMetrics } from "../rl/sampler_weights.ts";
import type { AdvantageTerms } from "../rl/composition.ts";
import type { End } from "../rl/ends.ts";
import { isSafe } from "../rl/quadrants.ts";
import { extent, mean, standardDeviation } from "./statistics.ts";

const STEP_METRICS = [
  "iteration",
  "epoch",
  "num_tokens",
  "loss",
  "grad_norm",
  "nonfinite_steps",
  "learning_rate",
  "reward",
  "reward_std",
  "frac_reward_zero_std",
  "kl",
  "entropy",
  "policy_loss",
  "entropy_coef",
  ...CLIP_METRICS,
  ...SAMPLER_METRICS,
  "helpfulness/mean",
  "cost/mean",
  "combined/mean",
  "combined/std",
  "combined/min",
  "combined/max",
  "safety/safe_ratio",
  "safety/unsafe_count_batch",
  "safety/total_count_batch",
  "unperturbed/helpfulness",
  "unperturbed/cost",
  "unperturbed/safe_ratio",
  "unperturbed/total_count",
  "lambda/value",
  "lambda/effective",
  "lambda/J_C",
  "lambda/J_C_raw",
  "lambda/J_C_ema",
  "lambda/d",
  "completions/mean_length",
  "completions/min_length",
  "completions/max_length",
  "completions/mean_terminated_length",
  "completions/min_terminated_length",
  "completions/max_terminated_length",
  "completions/clipped_ratio",
  "completions/hallucinated_turn_ratio",
  "prompts/truncated_ratio",
  "scorer/cut_fraction",
] as const;

/** The names that measure the machine and not the training: they differ between two runs of the same seed. */
export const TIMING_METRICS = [
  "step_time",
  "tokens_per_second",
  "seconds/generate",
  "seconds/score",
  "seconds/update",
  "scorer/retries",
  "scorer/wait_s",
  "time/perturbation_application",
  "time/broadcast",
  "time/iteration",
] as const;

/** Names that evolution strategies alone log (es_metrics.ts). */
export const ES_METRICS: readonly string[] = [
  "iteration",
  "unperturbed/helpfulness",
  "unperturbed/cost",
  "unperturbed/safe_ratio",
  "unperturbed/total_count",
  "time/perturbation_application",
  "time/broadcast",
  "time/iteration",
];

/** Every name that each run's rows may hold, in their order there; those of a scorer's parts follow STEP_METRICS. */
export const METRIC_NAMES = [...STEP_METRICS, ...TIMING_METRICS, ...EVAL_METRICS] as const;

/** Of a scorer's named parts, as TRL's rewards/{name}/mean and /std; costs beside them. */
type PartMetric = `${"" | "eval/"}${"rewards" | "costs"}/${string}/${"mean" | "std"}`;
/** Of each of several costs, what lambda/* and the safe ratios are of one. */
type CostMetric =
  | `lambda/${string}/${"value" | "effective" | "J_C" | "J_C_raw" | "J_C_ema" | "d"}`
  | `${"" | "eval/"}costs/${string}/safe_ratio`
  | `eval/lambda/${string}`;
type NamedMetric = PartMetric | CostMetric;
type FixedMetric = (typeof METRIC_NAMES)[number];

export type MetricName = FixedMetric | NamedMetric;

/** One line of metrics.jsonl. What does not exist (`kl` without a reference policy) has no name in it. */
export type MetricRow =
  & { step: number }
  & { [name in FixedMetric]?: number }
  & { [name in NamedMetric]: number };

/** What the scorer and lambda made of a list of completions; index i is the same completion in all three. */
export interface Judgements {
  /** Helpfulness R of each completion. */
  rewards: readonly number[];
  /** Cost C of each completion, of several the largest; safe means C <= 0. */
  costs: readonly number[];
  /** R - lambda * C of each completion, of several costs R - lambda_1 * C_1 - lambda_2 * C_2 and so on. */
  combined: readonly number[];
  /** What the parts of a score said, by "rewards/NAME" or "costs/NAME"; NaN where a part does not apply. */
  named?: Readonly<Record<string, readonly number[]>>;
}

/**
 * One generation batch over all ranks and the optimizer steps made of it (one, unless steps_per_generation or
 * num_iterations say otherwise). Completions are prompt-major: those of a prompt are adjacent.
 */
export interface StepRecord extends Judgements {
  /** Number of optimizer steps done since the start of the run. */
  step: number;
  /** How many of them this record is of; loss, gradNorm, kl, entropy and clipMetrics are means over these. */
  optimizerSteps: number;
  /** Passes over the training prompts, fractional. */
  epoch: number;
  /** Prompt and completion tokens seen since the start of the run. */
  numTokens: number;
  /** Completions per prompt, G. */
  numGenerations: number;
  /** Whose deviation divides the advantages. */
  scaleRewards: ScaleRewards;
  /** What advantages are made of, where not of `combined`. */
  terms?: AdvantageTerms | null;
  /** Of each cost. */
  lambdas: readonly LambdaRecord[];
  /** Tokens of each completion, its EOS included. */
  completionLengths: readonly number[];
  /** How each of them ended. */
  ends: readonly End[];
  /** Completions that went on to write a turn of the user's. */
  hallucinatedTurns: number;
  /** How many of this step's completions answer a prompt that had to be shortened. */
  truncatedPrompts: number;
  /** As gradNorm, of the steps that were made; left out where none was. */
  loss?: number;
  /** Global L2 norm of the gradient before clipping. */
  gradNorm?: number;
  /** Steps of the record that were skipped, since loss or gradient were infinite or NaN. */
  nonfiniteSteps: number;
  learningRate: number;
  /** Mean k3 estimate, nats per token; left out when beta = 0. */
  kl?: number;
  /** Mean entropy of the sampling distribution, nats per token; left out when not computed. */
  entropy?: number;
  /** As loss, but without its entropy bonus, and the bonus's coefficient after the step; left out without one. */
  entropyBonus?: { policyLoss: number; coef: number };
  /** Shares of tokens that were clipped, as the loss type logs them (rl/policy_terms.ts). */
  clipMetrics?: ClipMetrics;
  /** The sampler held against the trainer (rl/sampler_weights.ts); left out where it kept no log-probs. */
  samplerMetrics?: ReturnType<typeof samplerMetrics>;
  /** Wall time of the whole step and of its phases, seconds. */
  stepSeconds: number;
  phaseSeconds: { generate: number; score: number; update: number };
  /** How asking the scorer services went, on all ranks; left out where none is asked. */
  asked?: AskedScorers;
}

/** lambda after a step's update, and J = mean cost + d: clamped if so configured, raw, and smoothed. */
export interface LambdaRecord {
  /** Of the cost; null where there is one. */
  name: string | null;
  value: number;
  /** Its weight beside scores that are divided by their deviation (rl/lambda/effective.ts); where that is known. */
  effective?: number;
  jc: number;
  jcRaw: number;
  jcEma: number;
  d: number;
}

/** What asking scorer services for the scores of a step took. */
export interface AskedScorers {
  /** Requests that were sent again. */
  retries: number;
  /** Seconds spent on requests that had failed, until they succeeded; the most that a rank did. */
  waitSeconds: number;
  /** Share of the answers that a service read only up to its limit; left out where none says so. */
  cutFraction?: number;
}

/** One evaluation over the whole eval set. */
export interface EvalRecord extends Judgements {
  step: number;
  /** Those of the combined scores. */
  lambdas: readonly Pick<LambdaRecord, "name" | "value">[];
  /** Tokens of each completion, and how it ended; for the table. */
  completionLengths: readonly number[];
  ends: readonly End[];
}

/**
 * The row of one generation batch.
 *
 * `reward` is TRL's name for the mean of what the advantages are made of, here the combined score;
 * `reward_std` is its standard deviation (divisor n - 1) over the whole step. A completion without a score
 * (not finite) is in no mean and no count.
 *
 * @throws RangeError when the judgements do not line up or do not divide into groups
 */
export function stepRow(record: StepRecord): MetricRow {
  checkJudgements(record);
  const combined = record.combined.map((score) => Number.isFinite(score) ? score : NaN);
  const statistics = rewardStatistics(combined, record.numGenerations, record.scaleRewards);
  const tokens = record.completionLengths.reduce((sum, length) => sum + length, 0);
  const total = record.rewards.length;
  return definedOnly({
    step: record.step,
    epoch: record.epoch,
    num_tokens: record.numTokens,
    loss: record.loss,
    grad_norm: record.gradNorm,
    nonfinite_steps: record.nonfiniteSteps > 0 ? record.nonfiniteSteps : undefined,
    learning_rate: record.learningRate,
    reward: known(statistics.reward),
    reward_std: known(statistics.rewardStd),
    frac_reward_zero_std: statistics.fracRewardZeroStd,
    kl: record.kl,
    entropy: record.entropy,
    policy_loss: record.entropyBonus?.policyLoss,
    entropy_coef: record.entropyBonus?.coef,
    ...record.clipMetrics,
    ...record.samplerMetrics,
    ...alignmentMetrics(record),
    ...lambdaMetrics(record.lambdas),
    ...lengthMetrics(record),
    "completions/hallucinated_turn_ratio": share(record.hallucinatedTurns, total),
    "prompts/truncated_ratio": share(record.truncatedPrompts, total),
    "scorer/cut_fraction": record.asked?.cutFraction,
    ...namedMetrics(record),
    ...safeRatios(record, record.lambdas),
    step_time: record.stepSeconds,
    tokens_per_second: share(tokens, record.stepSeconds),
    "seconds/generate": record.phaseSeconds.generate,
    "seconds/score": record.phaseSeconds.score,
    "seconds/update": record.phaseSeconds.update,
    "scorer/retries": record.asked?.retries,
    "scorer/wait_s": record.asked?.waitSeconds,
  });
}

/**
 * The row of one evaluation.
 *
 * @throws RangeError when the judgements do not line up
 */
export function evalRow(record: Omit<EvalRecord, "completionLengths" | "ends">): MetricRow {
  checkJudgements(record);
  const costs = record.costs.filter(Number.isFinite);
  return definedOnly({
    step: record.step,
    "eval/mean_reward": mean(record.rewards.filter(Number.isFinite)),
    "eval/mean_cost": mean(costs),
    "eval/mean_combined": mean(record.combined.filter(Number.isFinite)),
    ...Object.fromEntries(
      record.lambdas.map(({ name, value }) => [name === null ? "eval/lambda" : `eval/lambda/${name}`, value]),
    ),
    "eval/safe_ratio": share(costs.filter(isSafe).length, costs.length),
    ...unsafeShareBounds(costs),
    "eval/total_samples": record.rewards.length,
    ...namedMetrics(record, "eval/"),
    ...safeRatios(record, record.lambdas, "eval/"),
  });
}

/** Under lambda/, of several costs under lambda/NAME/. */
export function lambdaMetrics(lambdas: readonly LambdaRecord[]): Partial<MetricRow> {
  return Object.fromEntries(
    lambdas.flatMap(({ name, value, effective, jc, jcRaw, jcEma, d }) => {
      const prefix = name === null ? "lambda" : `lambda/${name}`;
      return Object.entries({ value, effective, J_C: jc, J_C_raw: jcRaw, J_C_ema: jcEma, d })
        .map(([key, number]) => [`${prefix}/${key}`, number]);
    }),
  );
}

/** Share of completions that are safe by each of several costs. */
function safeRatios(
  { named = {} }: Judgements,
  lambdas: readonly { name: string | null }[],
  prefix: "" | "eval/" = "",
): Partial<MetricRow> {
  return Object.fromEntries(
    lambdas.flatMap(({ name }) => {
      if (name === null) return [];
      const costs = (named[`costs/${name}`] ?? []).filter(Number.isFinite);
      const ratio = share(costs.filter(isSafe).length, costs.length);
      return ratio === undefined ? [] : [[`${prefix}costs/${name}/safe_ratio`, ratio]];
    }),
  );
}

/** The exact interval that holds the share of unsafe completions with a confidence of 0.95. */
function unsafeShareBounds(costs: readonly number[]): Partial<MetricRow> {
  if (costs.length === 0) return {};
  const unsafe = costs.filter((cost) => !isSafe(cost)).length;
  const [low, high] = exactInterval(unsafe, costs.length);
  return { "eval/unsafe_share_low": low, "eval/unsafe_share_high": high };
}

/** Mean and deviation of each part over the completions that it applies to. */
export function namedMetrics({ named = {} }: Judgements, prefix: "" | "eval/" = ""): Partial<MetricRow> {
  return Object.fromEntries(
    Object.entries(named).flatMap(([name, values]) => {
      const known = values.filter(Number.isFinite);
      return [
        [`${prefix}${name}/mean`, mean(known)],
        [`${prefix}${name}/std`, standardDeviation(known)],
      ];
    }),
  );
}

export function alignmentMetrics({ rewards, costs, combined }: Judgements): Partial<MetricRow> {
  const finiteCosts = costs.filter(Number.isFinite);
  const finiteCombined = combined.filter(Number.isFinite);
  const [min, max] = extent(finiteCombined) ?? [];
  const safe = finiteCosts.filter(isSafe).length;
  return {
    "helpfulness/mean": mean(rewards.filter(Number.isFinite)),
    "cost/mean": mean(finiteCosts),
    "combined/mean": mean(finiteCombined),
    "combined/std": standardDeviation(finiteCombined),
    "combined/min": min,
    "combined/max": max,
    "safety/safe_ratio": share(safe, finiteCosts.length),
    "safety/unsafe_count_batch": finiteCosts.length - safe,
    "safety/total_count_batch": finiteCosts.length,
  };
}

/** Lengths of all completions, and of those that ended by themselves; 0 where none did, as in TRL. */
export function lengthMetrics(
  { completionLengths, ends }: Pick<StepRecord, "completionLengths" | "ends">,
): Partial<MetricRow> {
  const ended = completionLengths.filter((_, i) => ends[i] !== "length");
  const [min, max] = extent(completionLengths) ?? [];
  const [minEnded, maxEnded] = extent(ended) ?? [0, 0];
  return {
    "completions/mean_length": mean(completionLengths),
    "completions/min_length": min,
    "completions/max_length": max,
    "completions/mean_terminated_length": mean(ended) ?? 0,
    "completions/min_terminated_length": minEnded,
    "completions/max_terminated_length": maxEnded,
    "completions/clipped_ratio": share(completionLengths.length - ended.length, completionLengths.length),
  };
}

export function checkJudgements({ rewards, costs, combined }: Judgements): void {
  if (rewards.length !== costs.length || rewards.length !== combined.length) {
    throw new RangeError(
      `Cannot log scores: need one reward, cost and combined score per completion, ` +
        `got ${rewards.length}, ${costs.length} and ${combined.length}; pass the lists of the same completions`,
    );
  }
}

/** A statistic over no or too few scores has no value. */
function known(statistic: number): number | undefined {
  return Number.isNaN(statistic) ? undefined : statistic;
}

export function share(part: number, whole: number): number | undefined {
  return whole > 0 ? part / whole : undefined;
}

export function definedOnly(
  row: { step: number } & { [name in FixedMetric]?: number | undefined },
): MetricRow {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as MetricRow;
}
