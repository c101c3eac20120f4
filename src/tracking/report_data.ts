/** What the page's own program is given: columns of numbers, points and samples, each within its share of 3 MB. */
import { escapeControls } from "../config/controls.ts";
import type { MetricName } from "./metrics.ts";
import { inertJson } from "./page_programs.ts";
import { comparisonPlans, type PlotPlan, runPlans } from "./plot_plans.ts";
import { truncateText } from "./printable.ts";
import type { RunRecords } from "./run_records.ts";
import type { Sample } from "./samples.ts";
import { evenlySpacedIndices } from "./statistics.ts";

/** Numbers of all columns together. */
const MOST_NUMBERS = 80_000;
const MOST_ROWS = 2000;
/** Points of all scatter plots together. */
const MOST_POINTS = 20_000;
/** Of all samples together, and of one text. */
const SAMPLES_BYTES = 700_000;
const TEXT_CHARACTERS = 20_000;

type Column = readonly (number | null)[];

/** A sample as the page's program has it: texts with their control characters spelled out. */
interface ShownSample {
  run: number;
  split: string;
  step: number;
  [column: string]: string | number | null;
}

interface RunData {
  label: string;
  /** Steps that one point is the mean of. */
  stepsPerPoint: number;
  x: { step: Column; tokens: Column; minutes: Column };
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

/** The data of a page of these runs; of one run, or of several compared. */
export function pageData(runs: readonly RunRecords[]): PageData {
  const plots = runs.length === 1 ? runPlans(runs[0]) : comparisonPlans(runs);
  const names = new Set(plots.flatMap(({ series }) => series.map(({ name }) => name)));
  const mostRows = Math.min(MOST_ROWS, Math.ceil(MOST_NUMBERS / ((names.size + 3) * runs.length)));
  return {
    runs: runs.map((run) => runData(run, [...names], mostRows, MOST_POINTS / runs.length)),
    plots,
    ...shownSamples(runs),
  };
}

function runData(run: RunRecords, names: MetricName[], mostRows: number, mostPoints: number): RunData {
  let tokens = 0;
  let seconds = 0;
  const x = run.rows.map((row) => {
    tokens = row.num_tokens ?? tokens;
    seconds += row.step_time ?? 0;
    return { step: row.step, tokens, minutes: seconds / 60 };
  });
  const stepsPerPoint = Math.max(1, Math.ceil(run.rows.length / mostRows));
  const column = (values: readonly (number | undefined)[]) => means(values, stepsPerPoint);
  const each = run.scatters.length === 0 ? 0 : Math.max(10, Math.floor(mostPoints / run.scatters.length));
  return {
    label: escapeControls(run.name),
    stepsPerPoint,
    x: {
      step: column(x.map(({ step }) => step)),
      tokens: column(x.map(({ tokens }) => tokens)),
      minutes: column(x.map(({ minutes }) => minutes)),
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
function means(values: readonly (number | undefined)[], count: number): Column {
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

/** The last tables first, then the first ones, then those between, as long as there is room. */
function shownSamples(runs: readonly RunRecords[]): Pick<PageData, "samples" | "samplesTotal"> {
  const tables = runs.flatMap(({ tables }, run) => tables.map((table) => ({ ...table, run })));
  const samplesTotal = tables.reduce((sum, { samples }) => sum + samples.length, 0);
  const isEnd = (one: typeof tables[number], sign: 1 | -1) =>
    !tables.some(({ run, split, step }) =>
      run === one.run && split === one.split && sign * step > sign * one.step
    );
  const rank = (one: typeof tables[number]) => isEnd(one, 1) ? 0 : isEnd(one, -1) ? 1 : 2;
  const ranked = tables.map((table) => ({ table, rank: rank(table) })).sort((a, b) => a.rank - b.rank);
  const samples: ShownSample[] = [];
  let left = SAMPLES_BYTES;
  for (const { table: { run, split, step, samples: rows } } of ranked) {
    for (const sample of rows) {
      const one = { run, split, step, ...shownColumns(sample) };
      left -= Buffer.byteLength(inertJson(one));
      if (left < 0) return { samples, samplesTotal };
      samples.push(one);
    }
  }
  return { samples, samplesTotal };
}

/** Texts and numbers of a sample, the scores of its parts among them; anything else is left out. */
function shownColumns({ scores, ...sample }: Sample): Record<string, string | number | null> {
  const shown: Record<string, string | number | null> = Object.create(null);
  for (const [name, value] of Object.entries({ ...sample, ...scores }) as [string, unknown][]) {
    if (name === "run" || name === "split" || name === "step") continue;
    const key = escapeControls(truncateText(name, 100));
    if (typeof value === "string") shown[key] = escapeControls(truncateText(value, TEXT_CHARACTERS));
    else if (typeof value === "number") shown[key] = short(value);
    else if (typeof value === "boolean") shown[key] = value ? "yes" : "no";
  }
  return shown;
}
