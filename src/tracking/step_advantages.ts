/** Advantages of a step's completions, for what is kept and shown of them. */
import { groupAdvantagesF64 } from "../rl/advantages.ts";
import type { StepRecord } from "./metrics.ts";

/** Of each completion among its group's, as the formula gives it in f64; 0 without a score. @returns [N] */
export function stepAdvantages(
  { combined, numGenerations, scaleRewards }: Pick<
    StepRecord,
    "combined" | "numGenerations" | "scaleRewards"
  >,
): Float64Array {
  const known = combined.map((score) => Number.isFinite(score) ? score : NaN);
  return groupAdvantagesF64(known, numGenerations, scaleRewards).advantages;
}
