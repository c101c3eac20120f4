/** What lambdas and advantages are made of: the scores of all ranks together. */
import { constraintsOf, namedRewardsOf } from "../config/constraints.ts";
import type { RunConfig } from "../config/sweep.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherNumbers, gatherTexts } from "../parallel/gather.ts";
import { type AdvantageTerms, advantageTerms } from "../rl/composition.ts";
import {
  combineScores,
  type LambdaState,
  type LambdaUpdate,
  updateLambda,
  weighedCosts,
} from "../rl/lambda.ts";
import { effectiveLambda } from "../rl/lambda/effective.ts";
import type { Scores } from "../scorer/protocol.ts";
import type { Judgements, LambdaRecord } from "../tracking/metrics.ts";

/** What the lambdas made of the scores. All lists are of all ranks, in the order of the prompts. */
export interface WeighedScores extends Judgements {
  /** One of each cost, this rank's. */
  lambdas: readonly LambdaState[];
  /** Of each rank, where each has lambdas of its own; else null. */
  rankLambdas: readonly (readonly LambdaState[])[] | null;
  /** What is logged of each. */
  records: readonly LambdaRecord[];
  /** What advantages are made of, where not of `combined`. */
  terms: AdvantageTerms | null;
}

/**
 * Scores of all ranks meet, before anything is made of a group: one lambda of each cost for all and the same advantages
 * everywhere, with the bits that one rank would give them. With `lambda_scope: rank` each has its own, from its own
 * costs.
 * @param own of this rank's completions, all ranks having as many
 * @param before the lambdas of the step before, in the order of the costs
 */
export async function weighScores(
  { communicator, config }: { communicator: Communicator; config: RunConfig },
  own: Scores,
  before: readonly LambdaState[],
): Promise<WeighedScores> {
  const rewards = await gatherNumbers(communicator, own.rewards);
  const costs = await gatherNumbers(communicator, own.costs);
  const named = await gatherNamed(communicator, own.named);
  const all = { rewards, costs, named };
  const isOfRank = config.lambda_scope === "rank";
  const constraints = constraintsOf(config);
  const updates = constraints.map(({ name, settings }, k) =>
    updateLambda(before[k], { costs: costsOf(isOfRank ? own : all, name) }, settings)
  );
  const combined = constraints.reduce<ArrayLike<number>>(
    (sum, { name, settings }, k) =>
      combineScores(sum, weighedCosts(costsOf(own, name), settings), updates[k].lambda),
    own.rewards,
  );
  const rankLambdas = isOfRank ? await gatherLambdas(communicator, updates.map(stateOf)) : null;
  const perRank = own.rewards.length;
  const lambdasOf = (k: number) =>
    rewards.map((_, i) => rankLambdas?.[Math.floor(i / perRank)][k].lambda ?? updates[k].lambda);
  const allCombined = await gatherNumbers(communicator, Array.from(combined));
  const weighed = constraints.map(({ name, settings }) => weighedCosts(costsOf(all, name), settings));
  return {
    lambdas: updates.map(stateOf),
    rankLambdas,
    records: constraints.map(({ name, settings }, k) => ({
      ...lambdaRecord(name, updates[k], settings),
      effective: effectiveLambda(updates[k].lambda, {
        costs: weighed[k],
        combined: allCombined,
        groupSize: config.num_generations,
      }),
    })),
    combined: allCombined,
    terms: advantageTerms(config.advantage_composition, {
      reward: rewards,
      rewards: rewardsOf(all, config),
      costs: weighed.map((scores, k) => ({ scores, lambdas: lambdasOf(k) })),
    }),
    ...all,
  };
}

type Judged = Pick<Judgements, "rewards" | "costs" | "named">;

/** The costs of a name; the only ones where there is none. */
const costsOf = ({ costs, named }: Judged, name: string | null): readonly number[] =>
  name === null ? costs : named![`costs/${name}`];

/** The rewards by their weights; the only one where they have no names. */
const rewardsOf = ({ rewards, named }: Judged, config: RunConfig) =>
  namedRewardsOf(config)?.map(({ name, weight }) => ({ weight, scores: named![`rewards/${name}`] })) ??
    [{ weight: 1, scores: rewards }];

/** What is kept of an update. */
export const stateOf = ({ j: _j, jRaw: _jRaw, ...state }: LambdaUpdate): LambdaState => state;

/** What is logged of an update, but for what it amounts to among standardized scores. */
export const lambdaRecord = (
  name: string | null,
  { lambda, j, jRaw, jEma }: LambdaUpdate,
  { cost_threshold_d }: { cost_threshold_d: number },
): LambdaRecord => ({ name, value: lambda, jc: j, jcRaw: jRaw, jcEma: jEma, d: cost_threshold_d });

/** The lambdas of each rank, to the bit, as JSON keeps doubles. */
async function gatherLambdas(
  communicator: Communicator,
  own: readonly LambdaState[],
): Promise<LambdaState[][]> {
  const all = await gatherTexts(communicator, [JSON.stringify(own)]);
  return all.map((text) => JSON.parse(text));
}

/** Named scores of all ranks, whose scorers give the same names. */
async function gatherNamed(
  communicator: Communicator,
  named: Scores["named"],
): Promise<Judgements["named"]> {
  if (named === undefined) return undefined;
  const gathered: Record<string, readonly number[]> = {};
  for (const name of Object.keys(named).sort()) {
    gathered[name] = await gatherNumbers(communicator, named[name]);
  }
  return gathered;
}
