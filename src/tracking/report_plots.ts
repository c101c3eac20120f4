/** Which plots a report shows, for one run and for several. */
import { isHelpful } from "../rl/quadrants.ts";
import type { MetricName, MetricRow } from "./metrics.ts";
import { linePlot, plotLegend, scatterPlot, scatterRange } from "./plot_svg.ts";
import type { LinePlot, Series } from "./plot_svg.ts";
import type { RunRecords } from "./run_records.ts";
import { seriesOf } from "./trend.ts";

/** One plot of a run: which metrics, under which names. */
interface PlotPlan extends Omit<LinePlot, "series"> {
  metrics: readonly (readonly [name: MetricName, label: string, style: Series["style"]])[];
}

/** Plots of one run, as `<figure>`s. Those whose metrics the run never logged are left out. */
export function runPlots(run: RunRecords): string[] {
  return plotPlans(run.rows).flatMap(({ metrics, ...plot }) => {
    const series = metrics.map(([name, label, style]) => ({ label, style, ...seriesOf(run.rows, name) }));
    const present = series.filter(({ values }) => values.length > 0);
    if (present.length === 0) return [];
    const legend = present.length > 1 ? plotLegend(present.map(({ label }) => label)) : "";
    return [`<figure>${linePlot({ ...plot, series: present })}${legend}</figure>`];
  });
}

/** The same quantity of every run in one plot. Colours follow the order of the runs. */
export function comparisonPlots(runs: readonly RunRecords[]): string[] {
  return COMPARED.flatMap(({ title, name, range }) => {
    const series = runs.map((run) => ({
      label: run.name,
      style: "trend" as const,
      ...seriesOf(run.rows, name),
    }));
    if (series.every(({ values }) => values.length === 0)) return [];
    return [`<figure>${linePlot({ title, series, range })}</figure>`];
  });
}

/** Reward against cost: first and last train window and last evaluation, all on the same axes. */
export function scatterPlots(run: RunRecords): string[] {
  const ranges = {
    x: scatterRange(run.scatters.flatMap(({ rewards }) => rewards)),
    y: scatterRange(run.scatters.flatMap(({ costs }) => costs)),
  };
  return run.scatters.map(({ split, step, from_step, total, rewards, costs }) => {
    const steps = from_step === step ? `step ${step}` : `steps ${from_step}–${step}`;
    const title = split === "eval" ? `Evaluation, ${steps}` : `Training, ${steps}`;
    const helpful = rewards.filter(isHelpful).length;
    const shown = rewards.length < total
      ? `${rewards.length} of ${total} completions shown`
      : `${total} completions`;
    const caption = `${shown}; ${helpful} of them helpful (reward above 0).`;
    return `<figure>${
      scatterPlot({ title, rewards, costs, ranges })
    }<figcaption>${caption}</figcaption></figure>`;
  });
}

/** A ratio's axis: 0 to 1, with room for the line at 1. */
const RATIO = [0, 1.03] as const;

function plotPlans(rows: readonly MetricRow[]): PlotPlan[] {
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
    { title: "Parts of reward and cost, unweighted, mean of the step", metrics: partsOf(rows) },
    { title: "Weight of the cost, lambda", metrics: [["lambda/value", "lambda", "line"]] },
    {
      title: "Constraint violation J_C",
      metrics: [["lambda/J_C", "of the step", "trend"], [
        "lambda/J_C_ema",
        "moving average (J_C_ema)",
        "line",
      ]],
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
  ];
}

/** What the parts of the scorer said, where it has any. */
function partsOf(rows: readonly MetricRow[]): PlotPlan["metrics"] {
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  return [...names].flatMap((name) => {
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
  { title: "Seconds per step", name: "step_time" },
];
