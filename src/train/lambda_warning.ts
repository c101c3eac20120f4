/** Looks at whether lambda still does its work. */
import type { RunConfig } from "../config/sweep.ts";
import { lambdaFindings } from "../tracking/lambda_findings.ts";
import type { MetricRow } from "../tracking/metrics.ts";

/** Says each finding once, at the first row that shows it. */
export function lambdaWarning(
  config: RunConfig,
  onMessage: (text: string) => void,
): (rows: readonly MetricRow[]) => void {
  const said = new Set<string>();
  return (rows) => {
    for (const { kind, cost, text } of lambdaFindings(rows, config)) {
      const key = `${kind} ${cost}`;
      if (said.has(key)) continue;
      said.add(key);
      // A constraint that is kept is no trouble yet.
      const weight = kind === "at maximum" ? "Warning" : "Note";
      onMessage(`${weight}: at step ${rows.at(-1)!.step} ${text}`);
    }
  };
}
