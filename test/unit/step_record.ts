/** A complete step record of one prompt with four completions, for tests that care about a part of it. */
import type { StepRecord } from "../../src/tracking/metrics.ts";

export function stepRecord(parts: Partial<StepRecord>): StepRecord {
  return {
    step: 1,
    optimizerSteps: 1,
    epoch: 0.1,
    numTokens: 100,
    rewards: [1, 2, 3, 4],
    costs: [-1, 0, 1, 2],
    combined: [2, 2, 2, 2],
    numGenerations: parts.rewards?.length ?? 4,
    scaleRewards: "group",
    lambdas: [{ name: null, value: 1.5, effective: 0.75, jc: 0.5, jcRaw: 0.5, jcEma: 0.25, d: 0 }],
    completionLengths: [5, 5, 5, 5],
    ends: ["eos", "eos", "length", "stop"],
    hallucinatedTurns: 0,
    truncatedPrompts: 0,
    loss: 0.125,
    gradNorm: 1,
    nonfiniteSteps: 0,
    learningRate: 1e-4,
    kl: 0.01,
    entropy: 2,
    clipMetrics: {
      "clip_ratio/low_mean": 0,
      "clip_ratio/low_min": 0,
      "clip_ratio/high_mean": 0,
      "clip_ratio/high_max": 0,
      "clip_ratio/region_mean": 0,
    },
    stepSeconds: 2,
    phaseSeconds: { generate: 1, score: 0.25, update: 0.25 },
    ...parts,
  };
}
