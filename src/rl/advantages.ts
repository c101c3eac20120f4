/** What the centred scores are divided by. */
export type ScaleRewards = "group" | "batch" | "none";

export interface GroupAdvantages {
  /** [N], same order as the scores. */
  advantages: Float64Array;
  /** Mean score of each group, [N / groupSize]; NaN for a group without any score. */
  groupMeans: Float64Array;
  /** Standard deviation (n - 1) of each group; 0 with fewer than two scores. */
  groupStds: Float64Array;
  /** Share of groups whose scores do not differ, hence give no gradient. */
  fracRewardZeroStd: number;
}

/** Keeps the division finite when all scores of a group agree. */
export const ADVANTAGE_EPSILON = 1e-4;

/** Spread below which a group counts as having none. */
const ZERO_STD = 1e-8;

/**
 * Group-relative advantages (GRPO, arXiv:2402.03300): A = (r - mean_g) / (std + 1e-4), with the standard
 * deviation (ddof 1) of the group, of the whole batch (`batch`), or no division (`none`).
 * A NaN score marks a completion without one: its advantage is 0 and it enters no mean and no deviation.
 *
 * @param scores [N], groups lie one after the other
 * @throws RangeError when N is not a multiple of `groupSize`, or `groupSize` < 1.
 */
export function groupAdvantagesF64(
  scores: ArrayLike<number>,
  groupSize: number,
  scaleRewards: ScaleRewards,
): GroupAdvantages {
  if (!Number.isInteger(groupSize) || groupSize < 1 || scores.length % groupSize !== 0) {
    throw new RangeError(
      `Cannot group ${scores.length} scores: need a multiple of the group size, got group size ${groupSize}`,
    );
  }
  const groups = scores.length / groupSize;
  const all = Array.from(scores);
  const batchStd = meanAndStd(all).std;
  const advantages = new Float64Array(scores.length);
  const groupMeans = new Float64Array(groups);
  const groupStds = new Float64Array(groups);
  let withoutSpread = 0;
  for (let g = 0; g < groups; g++) {
    const start = g * groupSize;
    const { mean, std } = meanAndStd(all.slice(start, start + groupSize));
    groupMeans[g] = mean;
    groupStds[g] = std;
    if (std <= ZERO_STD) withoutSpread++;
    const scale = divisor(scaleRewards, std, batchStd);
    for (let i = start; i < start + groupSize; i++) {
      const score = all[i]!;
      advantages[i] = Number.isNaN(score) ? 0 : (score - mean) / scale;
    }
  }
  return { advantages, groupMeans, groupStds, fracRewardZeroStd: groups === 0 ? 0 : withoutSpread / groups };
}

function divisor(scaleRewards: ScaleRewards, groupStd: number, batchStd: number): number {
  if (scaleRewards === "none") return 1;
  return (scaleRewards === "group" ? groupStd : batchStd) + ADVANTAGE_EPSILON;
}

/** Mean and standard deviation (ddof 1) of the scores that are there, by two passes. */
function meanAndStd(scores: readonly number[]): { mean: number; std: number } {
  const present = scores.filter((score) => !Number.isNaN(score));
  const mean = present.reduce((sum, score) => sum + score, 0) / present.length;
  if (present.length < 2) return { mean, std: 0 };
  const squares = present.reduce((sum, score) => sum + (score - mean) ** 2, 0);
  return { mean, std: Math.sqrt(squares / (present.length - 1)) };
}
