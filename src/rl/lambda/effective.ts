/** What lambda amounts to where scores are divided by their deviation. */
import { deviationOf } from "../spread.ts";

/** Spread at or below which a group counts as having none: the absolute tolerance of torch.isclose. */
const ZERO_SPREAD = 1e-8;

/**
 * lambda sigma_C / sigma_S, mean over groups: dividing S = R - lambda C by the group's deviation sigma_S leaves the
 * cost with this weight, in units of its own deviation (arXiv:2602.05863). Groups whose S has no spread teach nothing
 * and are left out, as are those with a score that is missing.
 *
 * @param costs as they enter S
 * @param combined S; groups lie one after the other
 * @returns undefined where no group counts
 */
export function effectiveLambda(
  lambda: number,
  { costs, combined, groupSize }: {
    costs: readonly number[];
    combined: readonly number[];
    groupSize: number;
  },
): number | undefined {
  const weights: number[] = [];
  for (let from = 0; from < combined.length; from += groupSize) {
    const spread = deviationOf(combined.slice(from, from + groupSize));
    const weight = lambda * deviationOf(costs.slice(from, from + groupSize)) / spread;
    if (spread > ZERO_SPREAD && Number.isFinite(weight)) weights.push(weight);
  }
  return weights.length === 0 ? undefined : weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
}
