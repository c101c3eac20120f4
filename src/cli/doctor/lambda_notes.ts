/** What `doctor` says of lambda: what its rule cannot do, and what the rows of a run that began show of it. */
import { join } from "node:path";
import { runFolder } from "../../assembly/run_folder.ts";
import { constraintsOf } from "../../config/constraints.ts";
import type { Config } from "../../config/schema.ts";
import { sweepRuns } from "../../config/sweep.ts";
import { messageOf } from "../../io/files/errors.ts";
import { readIfThere } from "../../io/files/presence.ts";
import { LAMBDA_RULES, ruleNameOf } from "../../rl/lambda/rules.ts";
import { lambdaFindings } from "../../tracking/lambda_findings.ts";
import { parseMetrics } from "../../tracking/run_records.ts";
import type { Finding } from "./diagnosis.ts";

/** Of the settings, then of each of their runs that has rows. */
export async function lambdaNotes(config: Config): Promise<Finding[]> {
  const rests = constraintsOf(config).flatMap(({ name: cost, settings }): Finding[] => {
    const name = ruleNameOf(settings);
    const { adapts, countsOnlyExcess } = LAMBDA_RULES[name];
    if (!adapts || !countsOnlyExcess) return [];
    const detail =
      `lambda_rule ${name}: it rises while costs are above the limit and can never fall; signed and pid let it`;
    return [{ mark: "note", subject: cost === null ? "lambda" : `lambda of ${cost}`, detail }];
  });
  const ofRuns = await Promise.all(
    sweepRuns(config).map(async (run): Promise<Finding[]> => {
      const path = join(runFolder(run), "metrics.jsonl");
      try {
        const rows = parseMetrics(await readIfThere(path, "read") ?? "", path);
        return lambdaFindings(rows, run).map(({ text }) => ({
          mark: "note",
          subject: "lambda",
          detail: `${runFolder(run)}: ${text}`,
        }));
      } catch (error) {
        return [{ mark: "note", subject: "lambda", detail: messageOf(error) }];
      }
    }),
  );
  return [...rests, ...ofRuns.flat()];
}
