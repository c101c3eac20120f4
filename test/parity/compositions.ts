/** Advantages of several rewards and costs, against TRL's own lines and a plain statement (golden/make/compositions.py). */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { composedAdvantages } from "../../src/ops/loss/group_advantages.ts";
import type { ScaleRewards } from "../../src/rl/advantages.ts";
import {
  type AdvantageComposition,
  type AdvantageTerms,
  advantageTerms,
  composedAdvantagesF64,
} from "../../src/rl/composition.ts";
import { type ParityLine, worstRelative } from "./line.ts";

type Stated = Record<"advantage" | "ppo_lag", number[]>;

interface Case {
  group_size: number;
  weights: number[];
  lambdas: number[];
  /** null: a reward that does not apply. */
  rewards: (number | null)[][];
  costs: number[][];
  gdpo: { float32: number[]; float64: number[] };
  stated: Record<ScaleRewards, Stated> | null;
}

const CASES: Case[] =
  JSON.parse(readFileSync(new URL("../golden/compositions.json", import.meta.url), "utf8")).cases;

function termsOf(
  composition: AdvantageComposition,
  { weights, lambdas, rewards, costs }: Case,
): AdvantageTerms {
  const parts = rewards.map((scores, m) => ({
    weight: weights[m],
    scores: scores.map((score) => score ?? NaN),
  }));
  const reward = costs[0].map((_, i) =>
    parts.reduce((sum, { weight, scores }) => Number.isNaN(scores[i]) ? sum : sum + weight * scores[i], 0)
  );
  return advantageTerms(composition, {
    reward,
    rewards: parts,
    costs: costs.map((scores, k) => ({ scores, lambdas: scores.map(() => lambdas[k]) })),
  })!;
}

/** A composition of a case, as it should be. */
interface Comparison {
  terms: AdvantageTerms;
  size: number;
  scale: ScaleRewards;
  expected: number[];
}

const ofTrl = (precision: "float32" | "float64"): Comparison[] =>
  CASES.map((one) => ({
    terms: termsOf("gdpo", one),
    size: one.group_size,
    scale: "group",
    expected: one.gdpo[precision],
  }));

const STATED: Comparison[] = CASES.flatMap((one) =>
  Object.entries(one.stated ?? {}).flatMap(([scale, ofScale]) =>
    (["advantage", "ppo_lag"] as const).map((composition) => ({
      terms: termsOf(composition, one),
      size: one.group_size,
      scale: scale as ScaleRewards,
      expected: ofScale[composition],
    }))
  )
);

const worstTwin = (comparisons: readonly Comparison[]) =>
  Math.max(
    ...comparisons.map(({ terms, size, scale, expected }) =>
      worstRelative(composedAdvantagesF64(terms, size, scale), expected, 1)
    ),
  );

async function worstOnGpu(comparisons: readonly Comparison[]): Promise<number> {
  let worst = 0;
  for (const { terms, size, scale, expected } of comparisons) {
    const advantages = tf.tidy(() => composedAdvantages(terms, size, scale));
    worst = Math.max(worst, worstRelative(await readFloats(advantages), expected, 1));
    advantages.dispose();
  }
  return worst;
}

const TRL = "TRL GRPOTrainer, multi_objective_aggregation normalize_then_sum";
const STATEMENT = "a plain Python statement; scale_rewards group, batch and none";
const MEASURE = "relative to max(|A|, 1)";

export const lines: ParityLine[] = [
  {
    what: "gdpo on the GPU: several rewards and costs, and rewards that do not apply everywhere",
    reference: `${TRL}, f32`,
    measure: MEASURE,
    limit: 2e-6,
    worst: () => worstOnGpu(ofTrl("float32")),
  },
  {
    what: "The same in f64",
    reference: `${TRL}, in float64`,
    measure: MEASURE,
    limit: 4e-15,
    worst: () => worstTwin(ofTrl("float64")),
  },
  {
    what: "advantage and ppo_lag on the GPU",
    reference: STATEMENT,
    measure: MEASURE,
    limit: 4e-5,
    reason: "f32: parts as large as 100 cancel to about 1 without scaling",
    worst: () => worstOnGpu(STATED),
  },
  {
    what: "The same in f64",
    reference: STATEMENT,
    measure: MEASURE,
    limit: 2e-14,
    worst: () => worstTwin(STATED),
  },
];
