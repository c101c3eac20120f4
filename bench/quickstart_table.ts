/** The runners of --quickstart as a table. Pure. */
import type { QuickstartReport } from "./quickstart_bench.ts";
import { alignColumns, notRun, spreadOf, threeDigits, times } from "./table.ts";

const LEGEND = [
  "step    sampling, scoring over HTTP, lambda, reference, loss, backward, AdamW and the log, until the next may begin",
  "x ours  over this project's seconds; steps are taken in turn, after one each that warms up",
  "means   over the timed steps; completions are drawn anew by each, so these need not be equal",
].join("\n");

export function quickstartTable(title: string, report: QuickstartReport): string {
  const { completions, maxTokens, runners, skipped } = report;
  const cells = runners.map(({ name, timing, means }) => [
    name,
    threeDigits(timing.seconds),
    spreadOf(timing),
    times(timing.seconds / runners[0].timing.seconds),
    means.tokens.toFixed(1),
    means.reward.toFixed(2),
    means.cost.toFixed(2),
    means.lambda.toFixed(2),
  ]);
  return [
    title,
    `a step of the quickstart, ${completions} completions of at most ${maxTokens} tokens, one scorer service for all`,
    "",
    alignColumns([["", "step s", "+-", "x ours", "tokens", "reward", "cost", "lambda"], ...cells]),
    ...skipped.map(notRun),
    "",
    LEGEND,
  ].join("\n");
}
