/** Which plots a report shows, for one run and for several: what the page draws, and its own program redraws. */
import { CLIP_METRICS } from "../rl/policy_terms.ts";
import { type Labelled, lambdaMetrics, ofEachCost } from "./cost_names.ts";
import type { MetricName, MetricRow } from "./metrics.ts";
import type { LinePlot, Series } from "./plot_svg.ts";
import type { RunRecords } from "./run_records.ts";

/** One plot: which metrics of which runs, under which names. */
export interface PlotPlan extends Omit<LinePlot, "series"> {
  series: readonly PlannedSeries[];
}

interface PlannedSeries extends Pick<Series, "label" | "style"> {
  /** Index of the run. */
  run: number;
  name: MetricName;
}

/** Series of a plot: a scorer may have any number of parts. */
const MOST_SERIES = 12;

type Metrics = readonly (readonly [name: MetricName, label: string, style: Series["style"]])[];

/** Plots of one run. Those whose metrics the run never logged are left out. */
export function runPlans({ rows }: RunRecords): PlotPlan[] {
  const logged = new Set(rows.flatMap((row) => Object.keys(row)));
  const all = [...plansOf(rows, logged), ...troublePlans(rows, logged)];
  return all.flatMap(({ metrics, ...plan }) => {
    const series = metrics.filter(([name]) => hasValue(rows, name, logged)).slice(0, MOST_SERIES)
      .map(([name, label, style]) => ({ run: 0, name, label, style }));
    return series.length === 0 ? [] : [{ ...plan, series }];
  });
}

/** The same quantity of every run in one plot. Colours follow the order of the runs. */
export function comparisonPlans(runs: readonly RunRecords[]): PlotPlan[] {
  return COMPARED.flatMap(({ name, ...plan }) => {
    if (!runs.some(({ rows }) => hasValue(rows, name))) return [];
    const series = runs.map((run, index) => ({
      run: index,
      name,
      label: run.name,
      style: name.startsWith("eval/") ? "dots" as const : "trend" as const,
    }));
    return [{ ...plan, series }];
  });
}

function hasValue(rows: readonly MetricRow[], name: MetricName, logged?: ReadonlySet<string>): boolean {
  return (logged?.has(name) ?? true) && rows.some((row) => Number.isFinite(row[name]));
}

/** A ratio's axis: 0 to 1, with room for the line at 1. */
const RATIO = [0, 1.03] as const;

type Plan = Omit<PlotPlan, "series"> & { metrics: Metrics };

function plansOf(rows: readonly MetricRow[], logged: ReadonlySet<string>): Plan[] {
  const d = rows.find((row) => row["lambda/d"] !== undefined)?.["lambda/d"];
  // The constraint is mean(C) + d <= 0.
  const threshold = d === undefined ? undefined : { value: d === 0 ? 0 : -d, label: "cost threshold" };
  return [
    {
      title: "Safe ratio (share of completions with cost ≤ 0)",
      range: RATIO,
      metrics: [["safety/safe_ratio", "training", "trend"], ["eval/safe_ratio", "evaluation", "dots"]],
    },
    {
      title: "Reward and cost, mean of the step",
      threshold,
      metrics: [["helpfulness/mean", "reward", "trend"], ["cost/mean", "cost", "trend"]],
    },
    { title: "Parts of reward and cost, unweighted, mean of the step", metrics: partsOf(logged) },
    {
      title: "Safe ratio of each cost (share of completions with that cost ≤ 0)",
      range: RATIO,
      metrics: [
        ...styled(ofEachCost(rows, "", "safe_ratio", "training"), "trend"),
        ...styled(ofEachCost(rows, "eval/", "safe_ratio", "evaluation"), "dots"),
      ],
    },
    {
      title: "Weight of the cost, lambda",
      metrics: [
        ...styled(lambdaMetrics(rows, "value", "lambda"), "line"),
        ...styled(lambdaMetrics(rows, "effective", "effective, lambda σ_C / σ_S"), "trend"),
      ],
    },
    {
      title: "Constraint violation J_C",
      metrics: [
        ...styled(lambdaMetrics(rows, "J_C", "of the step"), "trend"),
        ...styled(lambdaMetrics(rows, "J_C_ema", "moving average (J_C_ema)"), "line"),
      ],
    },
    { title: "KL to the reference policy, nats per token", metrics: [["kl", "KL", "trend"]] },
    { title: "Entropy of the policy, nats per token", metrics: [["entropy", "entropy", "trend"]] },
    {
      title: "Sampler against trainer, difference of log-probs, nats",
      metrics: [
        ["sampler/logprob_diff_max", "largest", "trend"],
        ["sampler/logprob_diff_mean", "mean", "trend"],
      ],
    },
    {
      title: "Length of the completions, tokens",
      metrics: [
        ["completions/mean_length", "mean", "trend"],
        ["completions/min_length", "shortest", "line"],
        ["completions/max_length", "longest", "line"],
      ],
    },
    {
      title: "Seconds per phase of a step",
      metrics: [
        ["seconds/generate", "generate", "trend"],
        ["seconds/score", "score", "trend"],
        ["seconds/update", "update", "trend"],
      ],
    },
    { title: "Loss", metrics: [["loss", "loss", "trend"]] },
    {
      title: "Norm of the gradient, before clipping",
      metrics: [["grad_norm", "gradient norm", "trend"]],
    },
    { title: "Learning rate", metrics: [["learning_rate", "learning rate", "line"]] },
    {
      title: "Share of tokens whose ratio was clipped",
      metrics: CLIP_METRICS.map((name) => [name, name.replace("clip_ratio/", ""), "trend"] as const),
    },
    {
      title: "Share of completions cut at max_completion_length",
      range: RATIO,
      metrics: [["completions/clipped_ratio", "cut", "trend"]],
    },
    {
      title: "Deviation of the combined scores of a step (reward_std)",
      metrics: [["reward_std", "reward_std", "trend"]],
    },
    {
      title: "Share of groups that teach nothing (frac_reward_zero_std)",
      range: RATIO,
      metrics: [["frac_reward_zero_std", "groups of equal scores", "trend"]],
    },
    { title: "Completion tokens per second", metrics: [["tokens_per_second", "tokens/s", "trend"]] },
  ];
}

const styled = (metrics: readonly Labelled[], style: Series["style"]): Metrics =>
  metrics.map(([name, label]) => [name, label, style] as const);

/** What should be 0 in each step: shown where it is not. */
function troublePlans(rows: readonly MetricRow[], logged: ReadonlySet<string>): Plan[] {
  const happened = (name: string): name is MetricName =>
    logged.has(name) && rows.some((row) => (row[name as MetricName] ?? 0) > 0);
  const lines = (names: readonly string[]): Metrics =>
    names.filter(happened).map((name) => [name, name, "line"] as const);
  return [
    { title: "Seconds spent on requests to the scorer that failed", metrics: lines(["scorer/wait_s"]) },
    { title: "Requests to the scorer that were sent again", metrics: lines(["scorer/retries"]) },
    {
      title: "Numbers that were not finite",
      metrics: lines([...logged].filter((name) => /non_?finite/.test(name))),
    },
  ];
}

/** What the parts of the scorer said, where it has any. */
function partsOf(logged: ReadonlySet<string>): Metrics {
  return [...logged].flatMap((name) => {
    const part = /^((?:rewards|costs)\/.+)\/mean$/.exec(name)?.[1];
    return part === undefined ? [] : [[name as MetricName, part, "trend"] as const];
  });
}

const COMPARED: readonly { title: string; name: MetricName; range?: LinePlot["range"] }[] = [
  { title: "Safe ratio (share of completions with cost ≤ 0)", name: "safety/safe_ratio", range: RATIO },
  { title: "Reward, mean of the step", name: "helpfulness/mean" },
  { title: "Cost, mean of the step", name: "cost/mean" },
  { title: "Weight of the cost, lambda", name: "lambda/value" },
  { title: "KL to the reference policy, nats per token", name: "kl" },
  { title: "Entropy of the policy, nats per token", name: "entropy" },
  { title: "Length of the completions, mean, tokens", name: "completions/mean_length" },
  { title: "Safe ratio, evaluation", name: "eval/safe_ratio", range: RATIO },
  { title: "Reward, evaluation", name: "eval/mean_reward" },
  { title: "Cost, evaluation", name: "eval/mean_cost" },
  { title: "Loss", name: "loss" },
  { title: "Norm of the gradient, before clipping", name: "grad_norm" },
  { title: "Deviation of the combined scores of a step (reward_std)", name: "reward_std" },
  { title: "Seconds per step", name: "step_time" },
  { title: "Completion tokens per second", name: "tokens_per_second" },
];
