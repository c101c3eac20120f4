/** Faults in the rules for lambda, and in what is said of lambda. */
import type { Fault } from "../fault.ts";

const RULES = ["unit/lambda_table.test.ts", "unit/lambda_rules.test.ts"];

export const faults: readonly Fault[] = [
  {
    file: "src/rl/lambda/pid.ts",
    find: "Math.max(0, before +",
    replace: "(before +",
    harm: "pid's sum falls without end while the policy is safe, and takes as long to come back",
    tests: RULES,
  },
  {
    file: "src/rl/lambda/pid.ts",
    find: "Math.max(0, jEma - (averages[0] ?? jEma))",
    replace: "jEma - (averages[0] ?? jEma)",
    harm: "pid lowers lambda because costs fall",
    tests: RULES,
  },
  {
    file: "src/rl/lambda/log_space.ts",
    find: "  rectifies: true,\n",
    replace: "",
    harm: "per_prompt lets safe answers pay for unsafe ones",
    tests: RULES,
  },
  {
    file: "src/rl/lambda/dual.ts",
    find: "(rewards[from + i] - lambda * cost)",
    replace: "(rewards[from + i] + lambda * cost)",
    harm: "one_shot finds the lambda of a policy that seeks costs",
    tests: ["unit/lambda_rules.test.ts"],
  },
  {
    file: "src/rl/lambda/dual.ts",
    find: "sum / groups + settings.cost_threshold_d",
    replace: "sum / groups",
    harm: "one_shot does not know the limit",
    tests: ["unit/lambda_rules.test.ts"],
  },
  {
    file: "src/rl/mean_bound.ts",
    find: "n - 1) * Math.sqrt",
    replace: "n) * Math.sqrt",
    harm: "the pessimistic bound of a few costs is too low",
    tests: RULES,
  },
  {
    file: "src/rl/lambda/effective.ts",
    find: "spread > ZERO_SPREAD &&",
    replace: "",
    harm: "a group that teaches nothing makes the effective lambda huge",
    tests: ["unit/lambda_table.test.ts"],
  },
  {
    file: "src/tracking/lambda_findings.ts",
    find: "if (rule.countsOnlyExcess &&",
    replace: "if (",
    harm: "a lambda that falls is said to be unable to",
    tests: ["unit/lambda_findings.test.ts"],
  },
  {
    file: "src/train/one_shot.ts",
    find: "slice.firstPrompt + round * shape.promptsPerGeneration",
    replace: "slice.firstPrompt",
    harm: "each batch of one_shot's completions is drawn with the same random numbers",
    tests: ["gpu/lambda_start.test.ts"],
  },
  {
    file: "src/train/loop.ts",
    find: "if (start.step === 0) progress = await stepper.begin",
    replace: "progress = await stepper.begin",
    harm: "a run that goes on solves for lambda again, of a policy that is no longer the reference",
    tests: ["gpu/lambda_start.test.ts"],
  },
  {
    file: "src/train/weighed_scores.ts",
    find: "[JSON.stringify(own)]",
    replace: "[JSON.stringify(own.map((state) => ({ ...state, pid: undefined })))]",
    harm: "ranks with a lambda each lose what pid remembers at a resume",
    tests: ["gpu/lambda_start.test.ts"],
  },
  {
    file: "src/tracking/metrics.ts",
    find: "costs.filter((cost) => !isSafe(cost)).length;\n  const [low",
    replace: "costs.filter(isSafe).length;\n  const [low",
    harm: "the bounds of the unsafe share are those of the safe one",
    tests: ["unit/metrics_values.test.ts"],
  },
];
