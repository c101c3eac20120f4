/** What a run should have logged, worked out from its completions and scores: the rules written once more, plainly. */
import type { MetricRow } from "../../src/tracking/metrics.ts";
import type { Sample } from "../../src/tracking/samples.ts";

const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);
const mean = (list: readonly number[]) => sum(list) / list.length;
const deviation = (list: readonly number[]) =>
  Math.sqrt(sum(list.map((value) => (value - mean(list)) ** 2)) / (list.length - 1));

/** Tokens of a completion that is cut after `longest`: a character each, and the end token where it ended before. */
export const tokenCount = (completion: string, longest: number): number => {
  const characters = completion.replaceAll("R:", "R").length;
  return characters < longest ? characters + 1 : longest;
};

/** Group advantages: (score - mean) / (deviation + 1e-4), the deviation being the group's, the batch's or none. */
export function advantages(
  scores: readonly number[],
  groupSize: number,
  scale: "group" | "batch" | "none",
): number[] {
  return scores.map((score, i) => {
    const first = i - i % groupSize;
    const group = scores.slice(first, first + groupSize);
    const centred = score - mean(group);
    return scale === "none" ? centred : centred / (deviation(scale === "group" ? group : scores) + 1e-4);
  });
}

export interface FirstLoss {
  type: "grpo" | "bnpo" | "dr_grpo" | "dapo";
  longest: number;
  groupSize: number;
  scale?: "group" | "batch" | "none";
  /** Completions of a micro-batch. */
  microBatch?: number;
  /** Whether completions that were cut count for nothing. */
  masked?: boolean;
}

/** The loss of a run's first step: each ratio is 1, the policy is its reference, so it is -(weights x advantages). */
export function firstLoss(table: readonly Sample[], rule: FirstLoss): number {
  const { type, longest, groupSize, scale = "group", microBatch = table.length, masked = false } = rule;
  const advantage = advantages(table.map(({ combined }) => combined), groupSize, scale);
  const lengths = table.map(({ completion }) => tokenCount(completion, longest))
    .map((length, i) => masked && table[i].completion.replaceAll("R:", "R").length === longest ? 0 : length);
  const weightOf = (i: number): number => {
    const first = i - i % microBatch;
    switch (type) {
      case "grpo":
        return 1 / table.length / Math.max(lengths[i], 1);
      case "bnpo":
        return microBatch / table.length / sum(lengths.slice(first, first + microBatch));
      case "dr_grpo":
        return 1 / table.length / longest;
      case "dapo":
        return 1 / sum(lengths);
    }
  };
  return -sum(lengths.map((length, i) => length * weightOf(i) * advantage[i]));
}

export interface LambdaRule {
  lambda_cost: number;
  lambda_adapt: boolean;
  cost_threshold_d: number;
  lambda_lr: number;
  lambda_min: number;
  lambda_max: number;
  jc_ema_beta: number;
  lambda_pos_cost_only: boolean;
}

/** lambda after each row, from the mean costs that the rows log. */
export function lambdas(rows: readonly MetricRow[], rule: LambdaRule): number[] {
  let lambda = rule.lambda_cost;
  let average: number | null = null;
  return rows.map((row) => {
    const raw = row["cost/mean"]! + rule.cost_threshold_d;
    const violation = rule.lambda_pos_cost_only ? Math.max(raw, 0) : raw;
    average = average === null ? violation : rule.jc_ema_beta * average + (1 - rule.jc_ema_beta) * violation;
    if (rule.lambda_adapt) {
      lambda = Math.min(
        Math.max(lambda * Math.exp(rule.lambda_lr * average), rule.lambda_min),
        rule.lambda_max,
      );
    }
    return lambda;
  });
}
