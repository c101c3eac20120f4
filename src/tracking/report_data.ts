/** What the page's own program is given: columns of numbers, points and samples, each within its share of 3 MB. */
import { escapeControls } from "../config/controls.ts";
import { type Spent, spentAt } from "./budgets.ts";
import type { MetricName } from "./metrics.ts";
import { inertJson } from "./page_programs.ts";
import { comparisonPlans, type PlotPlan, runPlans } from "./plot_plans.ts";
import { truncateText } from "./printable.ts";
import type { RunRecords } from "./run_records.ts";
import type { TokenizedSample } from "./samples.ts";
import { evenlySpacedIndices } from "./statistics.ts";

/** Numbers of all columns together. */
const MOST_NUMBERS = 80_000;
const MOST_ROWS = 2000;
/** Points of all scatter plots together. */
const MOST_POINTS = 20_000;
/** Of all samples together, of their tokens besides, and of one text. */
const SAMPLES_BYTES = 600_000;
const TOKENS_BYTES = 400_000;
const TEXT_CHARACTERS = 20_000;

type Column = readonly (number | null)[];

/** A sample as the page's program has it: texts with their control characters spelled out. */
interface ShownSample {
  run: number;
  split: string;
  step: number;
  /** Of the completion's tokens, where there is room: texts, log-probs, and those under the reference policy. */
  tokens?: { texts: string[]; logprobs: Column; refLogprobs: Column };
  columns: Readonly<Record<string, string | number | null>>;
}

interface RunData {
  label: string;
  /** Steps that one point is the mean of. */
  stepsPerPoint: number;
  x: Record<"step" | keyof Spent, Column>;
  columns: Record<string, Column>;
  scatters: { split: string; step: number; from: number; total: number; rewards: Column; costs: Column }[];
}

interface PageData {
  runs: RunData[];
  plots: readonly PlotPlan[];
  samples: ShownSample[];
  /** How many there are of which `samples` are as many as have room. */
  samplesTotal: number;
}

/**
 * The data of a page of these runs; of one run, or of several compared.
 * @param keepsOrder of the tables of samples, which come as they were asked for
 */
export function pageData(runs: readonly RunRecords[], keepsOrder = false): PageData {
  const plots = runs.length === 1 ? runPlans(runs[0]) : comparisonPlans(runs);
  const names = new Set(plots.flatMap(({ series }) => series.map(({ name }) => name)));
  const mostRows = Math.min(MOST_ROWS, Math.ceil(MOST_NUMBERS / ((names.size + 4) * runs.length)));
  return {
    runs: runs.map((run) => runData(run, [...names], mostRows, MOST_POINTS / runs.length)),
    plots,
    ...shownSamples(runs, keepsOrder),
  };
}

function runData(run: RunRecords, names: MetricName[], mostRows: number, mostPoints: number): RunData {
  const spent = spentAt(run.rows);
  const stepsPerPoint = Math.max(1, Math.ceil(run.rows.length / mostRows));
  const column = (values: readonly (number | null | undefined)[]) => means(values, stepsPerPoint);
  const each = run.scatters.length === 0 ? 0 : Math.max(10, Math.floor(mostPoints / run.scatters.length));
  return {
    label: escapeControls(run.name),
    stepsPerPoint,
    x: {
      step: column(run.rows.map(({ step }) => step)),
      completions: column(spent.map(({ completions }) => completions)),
      tokens: column(spent.map(({ tokens }) => tokens)),
      minutes: column(spent.map(({ minutes }) => minutes)),
    },
    columns: Object.fromEntries(
      names.map((name) => [name, column(run.rows.map((row) => row[name]))] as const)
        .filter(([, values]) => values.some((value) => value !== null)),
    ),
    scatters: run.scatters.map(({ split, step, from_step: from, total, rewards, costs }) => {
      const kept = evenlySpacedIndices(rewards.length, each);
      const part = (values: readonly number[]) => kept.map((index) => short(values[index]));
      return { split, step, from, total, rewards: part(rewards), costs: part(costs) };
    }),
  };
}

/** Means of `count` neighbours each; null where none of them is finite. */
function means(values: readonly (number | null | undefined)[], count: number): Column {
  return Array.from({ length: Math.ceil(values.length / count) }, (_, i) => {
    const known = values.slice(i * count, (i + 1) * count).filter((value): value is number =>
      Number.isFinite(value)
    );
    return known.length === 0 ? null : short(known.reduce((sum, value) => sum + value, 0) / known.length);
  });
}

/** A number in as many digits as a plot can show; null where it is not finite. */
const short = (value: number): number | null =>
  Number.isFinite(value) ? Number(value.toPrecision(Number.isInteger(value) ? 12 : 5)) : null;

/** What there is room for of the last tables, then of the first ones, then of those between; or in their order. */
function shownSamples(
  runs: readonly RunRecords[],
  keepsOrder: boolean,
): Pick<PageData, "samples" | "samplesTotal"> {
  const tables = runs.flatMap(({ tables }, run) => tables.map((table) => ({ ...table, run })));
  const samplesTotal = tables.reduce((sum, { samples }) => sum + samples.length, 0);
  const isEnd = (one: typeof tables[number], sign: 1 | -1) =>
    !tables.some(({ run, split, step }) =>
      run === one.run && split === one.split && sign * step > sign * one.step
    );
  const rank = (one: typeof tables[number]) => isEnd(one, 1) ? 0 : isEnd(one, -1) ? 1 : 2;
  const ranked = tables.map((table) => ({ table, rank: keepsOrder ? 0 : rank(table) }))
    .sort((a, b) => a.rank - b.rank);
  const samples: ShownSample[] = [];
  let left = SAMPLES_BYTES;
  let leftForTokens = TOKENS_BYTES;
  for (const { table: { run, split, step, samples: rows } } of ranked) {
    for (const sample of rows) {
      const one: ShownSample = { run, split, step, columns: shownColumns(sample) };
      left -= Buffer.byteLength(inertJson(one));
      if (left < 0) return { samples, samplesTotal };
      samples.push(one);
      const tokens = shownTokens(sample);
      const bytes = tokens === undefined ? 0 : Buffer.byteLength(inertJson(tokens));
      if (tokens === undefined || bytes > leftForTokens) continue;
      leftForTokens -= bytes;
      one.tokens = tokens;
    }
  }
  return { samples, samplesTotal };
}

/** Undefined where there are none, or nothing is known of them. */
function shownTokens({ tokens = [] }: TokenizedSample): ShownSample["tokens"] {
  const known = tokens.some(({ logprob, refLogprob }) => logprob !== null || refLogprob !== null);
  if (!known) return undefined;
  const column = (values: readonly (number | null)[]) => values.map((value) => value && short(value));
  return {
    texts: tokens.map(({ text }) => escapeControls(text)),
    logprobs: column(tokens.map(({ logprob }) => logprob)),
    refLogprobs: column(tokens.map(({ refLogprob }) => refLogprob)),
  };
}

/** Texts and numbers of a sample, the scores of its parts among them; anything else is left out. */
function shownColumns(
  { scores, tokens: _, ...sample }: TokenizedSample,
): Record<string, string | number | null> {
  const shown: Record<string, string | number | null> = Object.create(null);
  for (const [name, value] of Object.entries({ ...sample, ...scores }) as [string, unknown][]) {
    const key = escapeControls(truncateText(name, 100));
    if (typeof value === "string") shown[key] = escapeControls(truncateText(value, TEXT_CHARACTERS));
    else if (typeof value === "number") shown[key] = short(value);
    else if (typeof value === "boolean") shown[key] = value ? "yes" : "no";
  }
  return shown;
}
