/**
 * Writes the plots of a quickstart run that README shows: docs/quickstart_safe_ratio.svg, docs/quickstart_lambda.svg,
 * docs/quickstart_before.svg and docs/quickstart_after.svg.
 *
 *   npm run train && node --import tsx scripts/quickstart/pictures.ts outputs/quickstart/beta0.02_seed42_unified
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { readRun } from "../../src/assembly/run_records.ts";
import { PLOT_CSS } from "../../src/tracking/plot_svg.ts";
import { runPlots, scatterPlots } from "../../src/tracking/report_plots.ts";

const STYLE = `<style>${PLOT_CSS.replaceAll("\n", "")}</style>`;

/** The picture of a figure, as a file of its own. */
function standAlone(figure: string | undefined): string {
  const [, attributes, body] = /<svg([^>]*)>([^]*?)<\/svg>/.exec(figure ?? "") ?? [];
  if (body === undefined) throw new Error("The run has no such plot: train the quickstart to its end");
  return `<svg xmlns="http://www.w3.org/2000/svg"${attributes}>${STYLE}${body}</svg>\n`;
}

const [runDir] = process.argv.slice(2);
if (runDir === undefined) {
  throw new RangeError("Give the run's folder, as outputs/quickstart/beta0.02_seed42_unified");
}
const run = await readRun(runDir);
const plots = runPlots(run);
const scatters = scatterPlots(run);
const named = (title: string) => plots.find((plot) => plot.includes(title));
const pictures = {
  safe_ratio: named("Safe ratio"),
  lambda: named("lambda"),
  before: scatters[0],
  after: scatters.at(-1),
};
for (const [name, figure] of Object.entries(pictures)) {
  writeFileSync(new URL(`../../docs/quickstart_${name}.svg`, import.meta.url), standAlone(figure));
}
