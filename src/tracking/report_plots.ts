/** The plots of a report as figures that need no program. */
import { isHelpful } from "../rl/quadrants.ts";
import { linePlot, plotLegend, scatterPlot, scatterRange } from "./plot_svg.ts";
import { comparisonPlans, type PlotPlan, runPlans } from "./plot_plans.ts";
import type { RunRecords } from "./run_records.ts";
import { thinned } from "./statistics.ts";
import { seriesOf } from "./trend.ts";

/** Points of all lines together, which bounds the page's size. */
const MOST_POINTS = 24_000;

/** Plots of one run, as `<figure>`s. Those whose metrics the run never logged are left out. */
export function runPlots(run: RunRecords): string[] {
  return figures(runPlans(run), [run], true);
}

/** The same quantity of every run in one plot. Colours follow the order of the runs. */
export function comparisonPlots(runs: readonly RunRecords[]): string[] {
  return figures(comparisonPlans(runs), runs, false);
}

function figures(plans: readonly PlotPlan[], runs: readonly RunRecords[], withLegends: boolean): string[] {
  const lines = plans.reduce((sum, { series }) => sum + series.length, 0);
  const most = Math.min(400, Math.ceil(MOST_POINTS / Math.max(lines, 1)));
  return plans.map(({ series, ...plot }) => {
    const drawn = series.map(({ run, name, label, style }) => {
      const { steps, values } = seriesOf(runs[run].rows, name);
      return { label, style, steps: thinned(steps, most), values: thinned(values, most) };
    });
    const legend = withLegends && drawn.length > 1 ? plotLegend(drawn.map(({ label }) => label)) : "";
    return `<figure>${linePlot({ ...plot, series: drawn })}${legend}</figure>`;
  });
}

/** Reward against cost: first and last train window and last evaluation, all on the same axes. */
export function scatterPlots({ scatters }: RunRecords): string[] {
  const train = scatters.filter(({ split }) => split === "train");
  const shown = [
    ...new Set([train[0], train.at(-1), scatters.filter(({ split }) => split === "eval").at(-1)]),
  ]
    .filter((scatter) => scatter !== undefined);
  const ranges = {
    x: scatterRange(shown.flatMap(({ rewards }) => rewards)),
    y: scatterRange(shown.flatMap(({ costs }) => costs)),
  };
  return shown.map(({ split, step, from_step, total, rewards, costs }) => {
    const steps = from_step === step ? `step ${step}` : `steps ${from_step}–${step}`;
    const title = split === "eval" ? `Evaluation, ${steps}` : `Training, ${steps}`;
    const helpful = rewards.filter(isHelpful).length;
    const count = rewards.length < total
      ? `${rewards.length} of ${total} completions shown`
      : `${total} completions`;
    const caption = `${count}; ${helpful} of them helpful (reward above 0).`;
    return `<figure>${
      scatterPlot({ title, rewards, costs, ranges })
    }<figcaption>${caption}</figcaption></figure>`;
  });
}
