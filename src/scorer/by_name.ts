/** Rewards and costs taken by name out of what a scorer gives: which are summed, and which are held to a limit. */
import { largestCosts } from "../rl/quadrants.ts";
import { show } from "./messages.ts";
import type { ScoreKind, Scorer, Scores } from "./protocol.ts";

/** A score by its name in metrics, and by the scorer's own. */
export interface NamedScore {
  name: string;
  field: string;
}

export interface WantedScores {
  /** The reward is their sum by weight; null: the scorer's whole reward is. */
  rewards: readonly (NamedScore & { weight: number })[] | null;
  /** The cost is the largest of them; null: the scorer's whole cost is. */
  costs: readonly NamedScore[] | null;
}

/**
 * The same scorer, whose rewards and costs are those of the names wanted; each of them is in `named` too, under its
 * name here, and what else the scorer gave stays there to be watched.
 *
 * `score` rejects with RangeError when the scorer gives no score of a name, or none that is finite for a completion.
 */
export function scorerByName(scorer: Scorer, wanted: WantedScores): Scorer {
  if (wanted.rewards === null && wanted.costs === null) return scorer;
  return {
    sharesGpu: scorer.sharesGpu,
    ...(scorer.takeStats && { takeStats: () => scorer.takeStats!() }),
    ...(scorer.callsAtOnce && { callsAtOnce: () => scorer.callsAtOnce!() }),
    score: async (answers, options) =>
      answers.length === 0 ? { rewards: [], costs: [] } : taken(await scorer.score(answers, options), wanted),
  };
}

function taken(scores: Scores, { rewards, costs }: WantedScores): Scores {
  const named = { ...scores.named };
  const take = (kind: ScoreKind, list: readonly NamedScore[]) => {
    const lists = list.map(({ field }) => listOf(kind, field, list.length, scores));
    for (const { field } of list) delete named[`${kind}/${field}`];
    list.forEach(({ name }, k) => named[`${kind}/${name}`] = lists[k]);
    return lists;
  };
  const ofCosts = costs && take("costs", costs);
  ofCosts?.forEach((values, k) => assertEach(values, costs![k].name));
  const ofRewards = rewards && take("rewards", rewards);
  return {
    ...scores,
    rewards: ofRewards ? scores.rewards.map((_, i) => weightedSum(ofRewards, rewards!, i)) : scores.rewards,
    costs: ofCosts ? largestCosts(ofCosts) : scores.costs,
    named,
  };
}

/** A scorer's list of a name. One score alone may be the list that has no name. */
function listOf(kind: ScoreKind, field: string, wanted: number, { named = {}, ...scores }: Scores): number[] {
  const list = named[`${kind}/${field}`];
  if (list !== undefined) return list;
  const names = Object.keys(named).filter((name) => name.startsWith(`${kind}/`));
  if (wanted === 1 && names.length === 0) return scores[kind];
  const has = names.length > 0
    ? `it gives ${names.map((name) => name.slice(kind.length + 1)).join(", ")}`
    : "it gives one list without a name";
  throw new RangeError(
    `${kind} names "${field}", which the scorer does not give: ${has}; correct the name or its field in ${kind}, or ` +
      "have the scorer give it",
  );
}

/** @throws RangeError when one is missing: a lambda cannot weigh it, nor is the completion known to be safe */
function assertEach(costs: readonly number[], name: string): void {
  const i = costs.findIndex((cost) => !Number.isFinite(cost));
  if (i < 0) return;
  throw new RangeError(
    `Cost "${name}" of completion ${i} is ${
      show(Number.isNaN(costs[i]) ? null : costs[i])
    }; need a finite number of ` +
      "each cost that has a limit: have it give a cost at or below 0 where it does not apply",
  );
}

/** Parts that do not apply count as nothing, as TRL's nansum. */
function weightedSum(
  lists: readonly number[][],
  rewards: readonly { name: string; weight: number }[],
  i: number,
): number {
  if (lists.every((values) => Number.isNaN(values[i]))) {
    const names = rewards.map(({ name }) => `"${name}"`).join(", ");
    throw new RangeError(
      `No reward applies to completion ${i}: all of ${names} gave none; need one at least`,
    );
  }
  return lists.reduce(
    (sum, values, k) => Number.isNaN(values[i]) ? sum : sum + rewards[k].weight * values[i],
    0,
  );
}
