/** What the centred scores are divided by. */
export type ScaleRewards = "group" | "batch" | "none";

interface GroupAdvantages {
  /** [N], same order as the scores. */
  advantages: Float64Array;
  /** Mean score of each group, [N / groupSize]; NaN for a group without any score. */
  groupMeans: Float64Array;
  /** Standard deviation (n - 1) of each group; NaN with fewer than two scores, 0 where a group is one completion. */
  groupStds: Float64Array;
}

/** What a step logs of its scores, under TRL's names. */
interface RewardStatistics {
  /** Mean of all scores; NaN without any. */
  reward: number;
  /** Standard deviation (n - 1) of all scores; NaN with fewer than two. */
  rewardStd: number;
  /** Share of completions whose deviation, of the group or (`batch`) of the batch, is 0: they give no gradient. */
  fracRewardZeroStd: number;
}

/** Keeps the division finite when all scores of a group agree. */
const ADVANTAGE_EPSILON = 1e-4;

/** Spread below which a group counts as having none: the absolute tolerance of torch.isclose. */
const ZERO_STD = 1e-8;

/**
 * Group-relative advantages (GRPO, arXiv:2402.03300), as TRL: A = (r - mean_g) / (std + 1e-4), with the standard
 * deviation (ddof 1) of the group, of the whole batch (`batch`), or no division (`none`).
 * A NaN score marks a completion without one: its advantage is 0 and it enters no mean and no deviation. Where the
 * deviation has fewer than two scores to go by, the advantage is 0 too.
 *
 * @param scores [N], groups lie one after the other
 * @throws RangeError when N is not a multiple of `groupSize`, or `groupSize` < 1
 */
export function groupAdvantagesF64(
  scores: ArrayLike<number>,
  groupSize: number,
  scaleRewards: ScaleRewards,
): GroupAdvantages {
  const { all, groups } = grouped(scores, groupSize);
  const batchStd = meanAndStd(all).std;
  const moments = groups.map(meanAndStd);
  const advantages = Float64Array.from(all, (score, i) => {
    const { mean, std } = moments[Math.floor(i / groupSize)]!;
    const centred = score - mean;
    const advantage = scaleRewards === "none"
      ? centred
      : centred / ((scaleRewards === "group" ? std : batchStd) + ADVANTAGE_EPSILON);
    return Number.isNaN(advantage) ? 0 : advantage;
  });
  return {
    advantages,
    groupMeans: Float64Array.from(moments, ({ mean }) => mean),
    groupStds: Float64Array.from(moments, ({ std }) => std),
  };
}

/**
 * Mean, deviation and spread of a step's scores, as TRL logs them; NaN scores count nowhere.
 *
 * @param scores [N], groups lie one after the other
 * @throws RangeError when N is not a multiple of `groupSize`, or `groupSize` < 1
 */
export function rewardStatistics(
  scores: ArrayLike<number>,
  groupSize: number,
  scaleRewards: ScaleRewards,
): RewardStatistics {
  const { all, groups } = grouped(scores, groupSize);
  const { mean, std } = meanAndStd(all);
  const stds = scaleRewards === "batch" ? [std] : groups.map((group) => meanAndStd(group).std);
  return {
    reward: mean,
    rewardStd: std,
    fracRewardZeroStd: stds.filter((s) => s <= ZERO_STD).length / stds.length,
  };
}

function grouped(scores: ArrayLike<number>, groupSize: number): { all: number[]; groups: number[][] } {
  if (!Number.isInteger(groupSize) || groupSize < 1 || scores.length % groupSize !== 0) {
    throw new RangeError(
      `Cannot group ${scores.length} scores: need a multiple of the group size, got group size ${groupSize}`,
    );
  }
  const all = Array.from(scores);
  const count = all.length / groupSize;
  return {
    all,
    groups: Array.from({ length: count }, (_, g) => all.slice(g * groupSize, (g + 1) * groupSize)),
  };
}

/**
 * Mean and standard deviation (ddof 1) of the scores that are there, by two passes. Sums run over the differences
 * from the first score: where all agree, every difference is exactly 0. A list of one has deviation 0; a list with
 * fewer than two scores in it has none.
 */
function meanAndStd(scores: readonly number[]): { mean: number; std: number } {
  const present = scores.filter((score) => !Number.isNaN(score));
  const first = present[0] ?? NaN;
  const mean = first + present.reduce((sum, score) => sum + (score - first), 0) / present.length;
  if (present.length < 2) return { mean, std: scores.length === 1 ? 0 : NaN };
  const squares = present.reduce((sum, score) => sum + (score - mean) ** 2, 0);
  return { mean, std: Math.sqrt(squares / (present.length - 1)) };
}
