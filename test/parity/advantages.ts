/** Group advantages and the statistics of the rewards, against TRL's own lines (golden/make/advantages.py). */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { groupAdvantages } from "../../src/ops/loss/group_advantages.ts";
import { groupAdvantagesF64, rewardStatistics, type ScaleRewards } from "../../src/rl/advantages.ts";
import { type ParityLine, worstRelative } from "./line.ts";

interface Expected {
  advantages: number[];
  /** null: NaN. */
  reward: number | null;
  reward_std: number | null;
  frac_reward_zero_std: number;
}

interface Case {
  name: string;
  group_size: number;
  scale_rewards: ScaleRewards;
  /** null: a completion without a score. */
  scores: (number | null)[];
  float32: Expected;
  float64: Expected;
}

const CASES: Case[] =
  JSON.parse(readFileSync(new URL("../golden/advantages.json", import.meta.url), "utf8")).cases;

const orNaN = (values: readonly (number | null)[]) => values.map((value) => value ?? NaN);

/** TRL's f32 sums lose digits where scores lie far from 0; there only its f64 is a reference. */
const IN_F32 = CASES.filter(({ name }) => name !== "far from zero");

async function worstOnGpu(cases: readonly Case[], precision: "float32" | "float64"): Promise<number> {
  let worst = 0;
  for (const one of cases) {
    const advantages = tf.tidy(() =>
      groupAdvantages(tf.tensor1d(orNaN(one.scores), "float32"), one.group_size, one.scale_rewards)
    );
    worst = Math.max(worst, worstRelative(await readFloats(advantages), one[precision].advantages, 1));
    advantages.dispose();
  }
  return worst;
}

function worstTwin(): number {
  return Math.max(...CASES.map(({ scores, group_size, scale_rewards, float64 }) => {
    const { advantages } = groupAdvantagesF64(orNaN(scores), group_size, scale_rewards);
    return worstRelative(advantages, float64.advantages, 1);
  }));
}

function worstStatistics(): number {
  return Math.max(...CASES.map(({ scores, group_size, scale_rewards, float64 }) => {
    const { reward, rewardStd, fracRewardZeroStd } = rewardStatistics(
      orNaN(scores),
      group_size,
      scale_rewards,
    );
    const expected = orNaN([float64.reward, float64.reward_std, float64.frac_reward_zero_std]);
    const actual = [reward, rewardStd, fracRewardZeroStd];
    if (actual.some((value, i) => Number.isNaN(value) !== Number.isNaN(expected[i]))) return Infinity;
    const defined = (values: number[]) => values.filter((value) => !Number.isNaN(value));
    return worstRelative(defined(actual), defined(expected));
  }));
}

const TRL = "TRL GRPOTrainer, scale_rewards group, batch and none";
const MEASURE = "relative to max(|A|, 1)";

export const lines: ParityLine[] = [
  {
    what: "Group advantages on the GPU, unscored completions and groups without spread among them",
    reference: `${TRL}, f32`,
    measure: MEASURE,
    limit: 2e-6,
    reason: "scores near 0: at mean 20 and deviation 1, TRL's f32 is itself 3e-6 from its f64",
    worst: () => worstOnGpu(IN_F32, "float32"),
  },
  {
    what: "The same on the GPU, and scores far from 0",
    reference: `${TRL}, in float64 on the same f32 scores`,
    measure: MEASURE,
    limit: 1e-6,
    worst: () => worstOnGpu(CASES, "float64"),
  },
  {
    what: "Group advantages in f64",
    reference: `${TRL}, in float64`,
    measure: MEASURE,
    limit: 2e-15,
    worst: worstTwin,
  },
  {
    what: "reward, reward_std and frac_reward_zero_std",
    reference: `${TRL}, in float64`,
    measure: "relative; NaN exactly where TRL has NaN",
    limit: 2e-15,
    worst: worstStatistics,
  },
];
