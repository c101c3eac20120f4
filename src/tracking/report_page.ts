/** The report as one HTML page that needs nothing else: no request, light and dark. It is whole without its program. */
import { PLOT_CSS, plotLegend } from "./plot_svg.ts";
import { contentPolicy, inertJson, pagePrograms } from "./page_programs.ts";
import { escapeHtml } from "./printable.ts";
import { pageData } from "./report_data.ts";
import { comparisonPlots, runPlots, scatterPlots } from "./report_plots.ts";
import { endTables, sampleSection, samplesTable, sideBySide } from "./report_samples.ts";
import {
  beforeAfterTable,
  bestSentence,
  budgetsTable,
  changesTable,
  comparisonTable,
  configTable,
  differencesTable,
  factsTable,
  frontier,
  headlineTable,
  lambdaNotes,
} from "./report_sections.ts";
import { section } from "./report_table.ts";
import { weightsComparison, weightsSection } from "./report_weights.ts";
import type { RunRecords } from "./run_records.ts";
import type { TokenizedSample } from "./samples.ts";

export interface PageOptions {
  /** Whether the page asks the server that it came from for newer rows. */
  isLive?: boolean;
}

interface PageForm extends PageOptions {
  /** Whether samples stand in the order of their tables. */
  keepsOrder?: boolean;
}

/** Page of one run. */
export function runPage(run: RunRecords, options: PageOptions = {}): string {
  const steps = run.rows.length === 0
    ? "no steps yet"
    : `steps ${run.rows[0].step} to ${run.rows.at(-1)!.step}`;
  const scatters = scatterPlots(run);
  return page(run.name, [run], [
    `<p class="lead" data-part="lead">${algorithmOf(run)} run, ${steps}.${escapeHtml(bestSentence(run))}</p>`,
    lambdaNotes(run),
    section("In numbers", headlineTable(run.rows)),
    ...unlessEmpty("Before and after", beforeAfterTable(run.rows) + sideBySide([run])),
    drawn("Over the steps", "plots", SMOOTHING_NOTE + plots(runPlots(run))),
    ...(run.changes.length === 0 ? [] : [section("Changed on the way", changesTable(run.changes))]),
    ...(scatters.length === 0 ? [] : [drawn("Reward against cost", "scatter", plots(scatters))]),
    ...unlessEmpty("How far the weights moved", weightsSection(run)),
    `<div id="samples"></div>`,
    ...endTables(run).map(sampleSection),
    ...unlessEmpty("Run", factsTable(run)),
    ...(Object.keys(run.config).length === 0 ? [] : [section("Config", configTable(run.config))]),
  ], options);
}

/**
 * Page of kept completions that were asked for.
 * @param about what was asked for and how many there are of it
 * @param samples in their order, each with its step
 */
export function rolloutsPage(
  name: string,
  about: string,
  samples: readonly { step: number; sample: TokenizedSample }[],
): string {
  const tables = samples.map(({ step, sample }) => ({ split: "train" as const, step, samples: [sample] }));
  const run = {
    name,
    rows: [],
    tables,
    scatters: [],
    config: {},
    facts: {},
    changes: [],
    weightChange: null,
  };
  return page(name, [run], [
    `<p class="lead" data-part="lead">${escapeHtml(about)}</p>`,
    `<div id="samples"></div>`,
    `<div class="static">${samplesTable(samples.map(({ sample }) => sample))}</div>`,
  ], { keepsOrder: true });
}

/** What it trained by, where its config tells. */
const algorithmOf = ({ config: { algorithm } }: RunRecords) => algorithm === "es" ? "ES" : "GRPO";

/** Page that lays several runs, such as a sweep over beta, over each other. */
export function comparisonPage(runs: readonly RunRecords[], options: PageOptions = {}): string {
  const legend = plotLegend(runs.map((run) => run.name));
  return page(`${runs.length} runs compared`, runs, [
    section("In numbers", comparisonTable(runs)),
    ...unlessEmpty("Reward and safety", frontier(runs)),
    ...unlessEmpty("At equal budgets", budgetsTable(runs)),
    ...unlessEmpty("Settings that differ", differencesTable(runs)),
    drawn("Over the steps", "plots", `${SMOOTHING_NOTE}${legend}${plots(comparisonPlots(runs))}`),
    ...unlessEmpty("How far the weights moved", weightsComparison(runs)),
    ...unlessEmpty("Side by side", sideBySide(runs)),
    `<div id="samples"></div>`,
  ], options);
}

const unlessEmpty = (title: string, content: string) => content === "" ? [] : [section(title, content)];

/** A section that the page's program draws anew into `id`, in the place of what stands here. */
function drawn(title: string, id: string, content: string): string {
  return `<section><h2>${title}</h2><div id="${id}"></div><div class="static">${content}</div></section>`;
}

const SMOOTHING_NOTE = `<p class="note">Faint: each step. Bold: moving mean over neighbouring steps.</p>`;

function plots(figures: readonly string[]): string {
  return `<div class="plots">${figures.join("\n")}</div>`;
}

const PAGE_CSS = `
:root{color-scheme:light dark;--back:#fff;--front:#1f2937;--line:#d1d5db;--soft:#6b7280;--good:#00694c;
--bad:#b23c00}
@media (prefers-color-scheme:dark){:root{--back:#111827;--front:#e5e7eb;--line:#374151;--soft:#9ca3af;
--good:#2fc79a;--bad:#ff8f4d}}
body{max-width:76rem;margin:0 auto;padding:1rem 1.25rem 4rem;background:var(--back);color:var(--front);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.15rem;margin:2rem 0 .5rem;display:inline-block}
.lead,.note,figcaption{color:var(--soft);margin:0}.note{font-size:.85rem}figure{margin:0}
figcaption{font-size:.85rem;padding-left:.3rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(26rem,100%),1fr));gap:1.5rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
.text,th[scope=row]{text-align:left}
th[scope=col]{color:var(--soft);font-weight:500;vertical-align:bottom}th[scope=row]{font-weight:500}
.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
td.text{white-space:pre-wrap;overflow-wrap:anywhere;min-width:14rem}
.safe{color:var(--good)}.unsafe{color:var(--bad);font-weight:600}summary{cursor:pointer}
`;

function page(
  title: string,
  runs: readonly RunRecords[],
  sections: readonly string[],
  { isLive = false, keepsOrder = false }: PageForm,
): string {
  const { scripts, css } = pagePrograms();
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(scripts, isLive)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${css}${PAGE_CSS}${PLOT_CSS}</style></head>
<body${isLive ? " data-live" : ""}><main><h1>${escapeHtml(title)}</h1>
${sections.join("\n")}
</main>
<script type="application/json" id="data">${inertJson(pageData(runs, keepsOrder))}</script>
${scripts.map((script) => `<script>${script}</script>`).join("\n")}
</body></html>
`;
}
