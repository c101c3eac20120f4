/** Names of what an evaluation measures. */

export const EVAL_METRICS = [
  "eval/mean_reward",
  "eval/mean_cost",
  "eval/mean_combined",
  "eval/lambda",
  "eval/safe_ratio",
  "eval/unsafe_share_low",
  "eval/unsafe_share_high",
  "eval/total_samples",
] as const;

/** Those that say how good a policy is; of a scorer's named parts, those that PART takes. */
const QUALITIES: readonly string[] = [
  "eval/mean_reward",
  "eval/mean_cost",
  "eval/mean_combined",
  "eval/safe_ratio",
];
const PART = /^eval\/(rewards|costs)\/.+\/(mean|std)$|^eval\/costs\/.+\/safe_ratio$/;

/** In words, for messages. */
export const QUALITY_NAMES = `${QUALITIES.join(", ")}, eval/rewards/NAME/mean, eval/costs/NAME/mean, ` +
  "eval/costs/NAME/safe_ratio";

/** The full name of a metric that says how good a policy is, of "safe_ratio" too; null where there is none such. */
export function qualityName(name: string): string | null {
  const full = `eval/${name.replace(/^eval[/_]/, "")}`;
  return QUALITIES.includes(full) || PART.test(full) ? full : null;
}

/** Whether less of it is better. */
export const isCost = (fullName: string): boolean =>
  fullName === "eval/mean_cost" || /^eval\/costs\/.+\/(mean|std)$/.test(fullName);
