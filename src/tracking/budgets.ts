/** What a run had spent when it logged a row: what runs of different kinds can be held against each other by. */
import type { MetricName, MetricRow } from "./metrics.ts";
import { TREND_STEPS } from "./trend.ts";

/** Since the start of the run; null where none of its rows tells. */
export interface Spent {
  /** Completions of training that a scorer judged. */
  completions: number | null;
  /** Of prompts and completions. */
  tokens: number | null;
  /** Wall time within steps. */
  minutes: number | null;
}

const BUDGETS = ["completions", "tokens", "minutes"] as const satisfies readonly (keyof Spent)[];

/** What had been spent at each of the rows. */
export function spentAt(rows: readonly MetricRow[]): Spent[] {
  const knows = (name: MetricName) => rows.some((row) => row[name] !== undefined);
  const [hasCounts, hasTokens, hasTimes] = (["safety/total_count_batch", "num_tokens", "step_time"] as const)
    .map(knows);
  let completions = 0;
  let tokens = 0;
  let seconds = 0;
  return rows.map((row) => {
    completions += (row["safety/total_count_batch"] ?? 0) + (row["unperturbed/total_count"] ?? 0);
    tokens = row.num_tokens ?? tokens;
    seconds += row.step_time ?? 0;
    return {
      completions: hasCounts ? completions : null,
      tokens: hasTokens ? tokens : null,
      minutes: hasTimes ? seconds / 60 : null,
    };
  });
}

/** How far several runs were when they had spent the same. */
export interface EqualBudget {
  kind: (typeof BUDGETS)[number];
  /** The most that all of them spent. */
  value: number;
  /**
   * Of each run that tells: means of its last TREND_STEPS rows within the budget, and the step that it was at. Those of
   * evolution strategies are of the policy itself: what its members write tells of the noise on them too.
   */
  runs: { run: number; step: number; reward: number | null; safeRatio: number | null }[];
}

/** For each kind of budget that at least two runs tell of. */
export function equalBudgets(runs: readonly { rows: readonly MetricRow[] }[]): EqualBudget[] {
  const spent = runs.map(({ rows }) => spentAt(rows));
  return BUDGETS.flatMap((kind) => {
    const ends = spent.map((rows) => rows.at(-1)?.[kind] ?? 0);
    const telling = runs.flatMap((_, run) => ends[run] > 0 ? [run] : []);
    if (telling.length < 2) return [];
    const value = Math.min(...telling.map((run) => ends[run]));
    return [{
      kind,
      value,
      runs: telling.map((run) => {
        const within = runs[run].rows.filter((_, i) => spent[run][i][kind]! <= value);
        const last = within.at(-1);
        return {
          run,
          step: last?.step ?? 0,
          reward: lastMean(within, "unperturbed/helpfulness") ?? lastMean(within, "helpfulness/mean"),
          safeRatio: lastMean(within, "unperturbed/safe_ratio") ?? lastMean(within, "safety/safe_ratio"),
        };
      }),
    }];
  });
}

function lastMean(rows: readonly MetricRow[], name: MetricName): number | null {
  const known = rows.filter((row) => Number.isFinite(row[name])).slice(-TREND_STEPS);
  if (known.length === 0) return null;
  return known.reduce((sum, row) => sum + row[name]!, 0) / known.length;
}
