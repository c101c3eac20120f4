/** Who judges, as a program says it: functions, scorers, or both. */
import type { RunConfig } from "../config/sweep.ts";
import { combineScorers, functionScorer, type ScoreFunction } from "../scorer/functions.ts";
import type { Scorer } from "../scorer/protocol.ts";
import type { Settings } from "./settings.ts";

/** Settings of a cost of its own, by their names in `costs` of the config. */
export type OwnConstraint = Omit<
  NonNullable<Settings["costs"]>[number],
  "name" | "field" | "model" | "label"
>;

/** A cost function, and whether it is held to a limit of its own. */
export interface CostFunction extends ScoreFunction {
  /**
   * true, or settings of its lambda: held to its own limit, unweighted, beside others that are; those that are not are
   * then only watched. Left out of all: their weighted sum is the one cost.
   */
  constraint?: true | OwnConstraint;
}

export interface Judges {
  /** Their weighted sum is the reward; weight 0 only watches. */
  rewards?: readonly ScoreFunction[];
  /** Their weighted sum is the cost, unless some are constraints; without any it is 0. */
  costs?: readonly CostFunction[];
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
 * The settings with an entry in `costs` for each cost function that is a constraint.
 * @throws RangeError when settings name costs too
 */
export function withConstraints(caller: string, settings: Settings, { costs = [] }: Judges): Settings {
  const held = costs.flatMap(({ name, constraint }) =>
    constraint ? [{ name, ...(constraint === true ? {} : constraint) }] : []
  );
  if (held.length === 0) return settings;
  if (settings.costs) {
    throw new RangeError(
      `${caller}: costs of config are also named by constraints of cost functions (${
        held.map(({ name }) => name).join(", ")
      }); leave one of them out`,
    );
  }
  return { ...settings, costs: held };
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
