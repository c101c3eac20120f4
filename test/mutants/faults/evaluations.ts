/** Faults of what an evaluation says, keeps and has judged. */
import type { Fault } from "../fault.ts";

const fault = (file: string, find: string, replace: string, harm: string, ...tests: string[]): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm,
  tests,
});

export const faults: readonly Fault[] = [
  fault(
    "rl/binomial.ts",
    "betaQuantile(1 - tail, count + 1, total - count)",
    "betaQuantile(1 - tail, count, total - count + 1)",
    "the interval of a share of 0 unsafe answers ends at 0",
    "unit/intervals.test.ts",
  ),
  fault(
    "rl/paired.ts",
    "Math.sign(isLessBetter ? -difference : difference)",
    "Math.sign(difference)",
    "the model of higher costs wins",
    "unit/intervals.test.ts",
  ),
  fault(
    "rl/elo.ts",
    "10 ** (-difference / SCALE)",
    "10 ** (difference / SCALE)",
    "beating a weak model counts as beating a strong one",
    "unit/intervals.test.ts",
  ),
  fault(
    "evaluate/summary.ts",
    '    policy_vllm_ckpt: "",\n',
    "",
    "a script of the reference's stops at a key that its summaries have",
    "unit/eval_outputs.test.ts",
  ),
  fault(
    "evaluate/summary.ts",
    "safe_ratio: 100 * safeRatio,",
    "safe_ratio: safeRatio,",
    "the reference's scripts plot 1 % safe where all are",
    "unit/eval_outputs.test.ts",
  ),
  fault(
    "evaluate/kept_rows.ts",
    "lines[0] === JSON.stringify(first)",
    "lines.length > 1",
    "an evaluation goes on with the answers of another model",
    "unit/eval_outputs.test.ts",
  ),
  fault(
    "evaluate/parts.ts",
    "await log?.add(made);",
    "",
    "a killed evaluation begins again",
    "e2e/config_eval_command.test.ts#goes on behind",
  ),
  fault(
    "evaluate/judging.ts",
    "verdict === null || isOwnFirst ?",
    "verdict === null || true ?",
    "a verdict counts for the answer that was shown first",
    "unit/judge_command.test.ts",
  ),
  fault(
    "scorer/chat.ts",
    'redirect: "manual"',
    'redirect: "follow"',
    "the API key follows a redirect",
    "unit/judge_command.test.ts",
  ),
];
