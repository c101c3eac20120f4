/** Rules that keep lambda as it began; J is reported nonetheless. */
import type { LambdaRule, LambdaState, Moved } from "./rule.ts";

const kept = {
  rectifies: false,
  countsOnlyExcess: true,
  adapts: false,
  least: () => 0,
  step: ({ lambda }: LambdaState): Moved => ({ lambda }),
};

export const fixed: LambdaRule = {
  ...kept,
  source: "a penalty, arXiv:1805.11074",
  help: "lambda_cost all along",
};

export const oneShot: LambdaRule = {
  ...kept,
  source: "arXiv:2405.19544",
  help:
    "all along the lambda that solves the dual over scored completions of the policy that the run begins with",
};
