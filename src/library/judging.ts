/** Who judges, as a program says it: functions, scorers, or both. */
import type { RunConfig } from "../config/sweep.ts";
import { combineScorers, functionScorer, type ScoreFunction } from "../scorer/functions.ts";
import type { Scorer } from "../scorer/protocol.ts";
import type { Settings } from "./settings.ts";

export interface Judges {
  /** Their weighted sum is the reward; weight 0 only watches. */
  rewards?: readonly ScoreFunction[];
  /** Their weighted sum is the cost; without any it is 0. */
  costs?: readonly ScoreFunction[];
  /** Adds its own reward and cost to theirs. */
  scorer?: Scorer;
}

/** All of them as one; undefined where the settings alone say who judges. */
export function scorerOf({ rewards = [], costs = [], scorer }: Judges): Scorer | undefined {
  const parts = [
    ...(rewards.length + costs.length > 0 ? [functionScorer({ rewards, costs })] : []),
    ...(scorer ? [scorer] : []),
  ];
  return parts.length > 1 ? combineScorers(parts) : parts[0];
}

/**
 * The settings with calls of whole groups, where functions judge and nobody set scorer_batch_size: a function may then
 * compare the completions of a prompt.
 */
export function withWholeGroups(config: RunConfig, given: Settings): RunConfig {
  if (given.scorer_batch_size !== undefined) return config;
  const { num_generations: size, scorer_batch_size: least } = config;
  return { ...config, scorer_batch_size: size * Math.ceil(least / size) };
}
