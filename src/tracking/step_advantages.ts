/** Advantages of a step's completions, for what is kept and shown of them. */
import { advantagesOf } from "../rl/composition.ts";
import type { StepRecord } from "./metrics.ts";

/** Of each completion among its group's, as the formula gives it in f64; 0 without a score. @returns [N] */
export function stepAdvantages(
  { combined, terms, numGenerations, scaleRewards }: Pick<
    StepRecord,
    "combined" | "terms" | "numGenerations" | "scaleRewards"
  >,
): ArrayLike<number> {
  const known = combined.map((score) => Number.isFinite(score) ? score : NaN);
  return advantagesOf({ combined: known, terms }, numGenerations, scaleRewards);
}
