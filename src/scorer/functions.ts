/** Scorers of one's own functions, and several scorers as one. */
import { show } from "./messages.ts";
import type { Answer, ScoreOptions, Scorer, ScorerStats, Scores } from "./protocol.ts";

/** A number for each answer; null where the function does not apply to it, as TRL's None. */
export type FunctionScores = ArrayLike<number | null>;

export interface ScoreFunction {
  /** In metrics and messages. */
  name: string;
  /** Of its numbers in the sum; 0: watched only. Default 1. */
  weight?: number;
  /** Judges all answers of a call at once; may be async. */
  score(answers: readonly Answer[], options: ScoreOptions): FunctionScores | Promise<FunctionScores>;
}

export interface ScoreFunctions {
  rewards?: readonly ScoreFunction[];
  costs?: readonly ScoreFunction[];
}

type Kind = "rewards" | "costs";
/** As messages call a function of each. */
const FUNCTION_OF = { rewards: "Reward function", costs: "Cost function" } as const;
const CALLED_WITH = "it is called with one list of answers {prompt, completion, columns, ...}";

/**
 * A Scorer of functions: a reward is the weighted sum of the reward functions that apply to the answer, a cost that of
 * the cost functions (TRL's reward_funcs and reward_weights, sum_then_normalize). Without reward or cost functions the
 * rewards or costs are 0. All functions of a call run at once; `named` holds what each said, unweighted.
 *
 * @throws RangeError when there is no function, a name is empty or stands twice, or a weight is not finite
 *
 * `score` rejects with
 * - Error: a function failed; its own error is the cause;
 * - TypeError: it gave another number of scores than there are answers, or one that is neither finite nor null;
 * - RangeError: no function applied to an answer (TRL leaves such a completion out of its group; here it has to have a
 *   score);
 * - the reason of `signal`, when aborted.
 */
export function functionScorer({ rewards = [], costs = [] }: ScoreFunctions): Scorer {
  if (rewards.length + costs.length === 0) {
    throw new RangeError("functionScorer needs at least one function in rewards or costs, got none");
  }
  assertFunctions("rewards", rewards);
  assertFunctions("costs", costs);
  return {
    async score(answers, options = {}) {
      const [ofRewards, ofCosts] = await Promise.all([
        judge("rewards", rewards, answers, options),
        judge("costs", costs, answers, options),
      ]);
      return {
        rewards: ofRewards.sums,
        costs: ofCosts.sums,
        named: { ...ofRewards.named, ...ofCosts.named },
      };
    },
  };
}

/** A part of a combined score. */
export interface WeightedScorer {
  scorer: Scorer;
  /** Of its rewards in the sum. Default 1. */
  rewardWeight?: number;
  /** Of its costs in the sum. Default 1. */
  costWeight?: number;
}

/**
 * Several scorers as one: all are asked at once, and rewards and costs are the weighted sums.
 * @throws RangeError when there is none, or a weight is not finite
 *
 * `score` rejects with what the first that fails rejects with, and with RangeError where two name a score alike.
 */
export function combineScorers(parts: readonly (Scorer | WeightedScorer)[]): Scorer {
  if (parts.length === 0) throw new RangeError("combineScorers needs at least one scorer, got none");
  const weighted = parts.map((part) => "scorer" in part ? part : { scorer: part });
  weighted.forEach(({ rewardWeight, costWeight }, i) => {
    assertWeight(`rewardWeight of scorer ${i}`, rewardWeight);
    assertWeight(`costWeight of scorer ${i}`, costWeight);
  });
  return {
    async score(answers, options) {
      const judged = await Promise.all(weighted.map(({ scorer }) => scorer.score(answers, options)));
      const sumOf = (kind: Kind, weightOf: (part: WeightedScorer) => number) =>
        answers.map((_, i) =>
          judged.reduce((sum, scores, part) => sum + weightOf(weighted[part]) * scores[kind][i], 0)
        );
      return {
        rewards: sumOf("rewards", ({ rewardWeight = 1 }) => rewardWeight),
        costs: sumOf("costs", ({ costWeight = 1 }) => costWeight),
        ...mergeNamed(judged),
      };
    },
    sharesGpu: weighted.some(({ scorer }) => scorer.sharesGpu),
    ...mergeStats(weighted.map(({ scorer }) => scorer)),
  };
}

/** Of several scorers that are asked at once: what they count is added up. */
function mergeStats(scorers: readonly Scorer[]): Pick<Scorer, "takeStats" | "callsAtOnce"> {
  const callsAtOnce = () => Math.min(...scorers.map((scorer) => scorer.callsAtOnce?.() ?? 1));
  if (scorers.every(({ takeStats }) => takeStats === undefined)) return { callsAtOnce };
  return {
    callsAtOnce,
    takeStats() {
      const stats = scorers.map((scorer) => scorer.takeStats?.()).filter((one) => one !== undefined);
      const sum = (key: keyof ScorerStats) => stats.reduce((total, one) => total + one[key], 0);
      return { retries: sum("retries"), waitSeconds: sum("waitSeconds"), told: sum("told"), cut: sum("cut") };
    },
  };
}

/** One scorer's rewards and another's costs; both are asked at once. */
export function splitScorer(scorers: { rewards: Scorer; costs: Scorer }): Scorer {
  return {
    async score(answers, options) {
      const judged = await Promise.all([
        scorers.rewards.score(answers, options),
        scorers.costs.score(answers, options),
      ]);
      return { rewards: judged[0].rewards, costs: judged[1].costs, ...mergeNamed(judged) };
    },
    ...mergeStats([scorers.rewards, scorers.costs]),
  };
}

function mergeNamed(judged: readonly Scores[]): Pick<Scores, "named"> {
  const named: Record<string, number[]> = {};
  for (const [name, values] of judged.flatMap((scores) => Object.entries(scores.named ?? {}))) {
    if (name in named) throw new RangeError(`Two of the combined scorers name a score "${name}"; rename one`);
    named[name] = values;
  }
  return Object.keys(named).length > 0 ? { named } : {};
}

function assertFunctions(kind: Kind, functions: readonly ScoreFunction[]): void {
  const names = new Set<string>();
  for (const { name, weight, score } of functions) {
    if (typeof name !== "string" || name.trim() === "") {
      throw new RangeError(
        `${FUNCTION_OF[kind]} ${names.size} has the name ${show(name)}; need a non-empty one`,
      );
    }
    if (names.has(name)) throw new RangeError(`Two functions in ${kind} have the name "${name}"; rename one`);
    if (typeof score !== "function") {
      throw new RangeError(`${FUNCTION_OF[kind]} "${name}" has no function "score", but ${show(score)}`);
    }
    assertWeight(`The weight of ${FUNCTION_OF[kind].toLowerCase()} "${name}"`, weight);
    names.add(name);
  }
}

function assertWeight(what: string, weight: number | undefined): void {
  if (weight === undefined || Number.isFinite(weight)) return;
  throw new RangeError(`${what} is ${show(weight)}; need a finite number`);
}

/** What the functions of one kind say, and its weighted sum. */
async function judge(
  kind: Kind,
  functions: readonly ScoreFunction[],
  answers: readonly Answer[],
  options: ScoreOptions,
): Promise<{ sums: number[]; named: Record<string, number[]> }> {
  const judged = await Promise.all(functions.map((own) => callFunction(kind, own, answers, options)));
  const sums = answers.map((answer, i) => {
    if (functions.length > 0 && judged.every((values) => Number.isNaN(values[i]))) {
      const names = functions.map(({ name }) => `"${name}"`).join(", ");
      throw new RangeError(
        `No function in ${kind} applies to completion ${i} (${
          show(answer.completion)
        }): all of ${names} gave null; ` +
          "need a number of at least one",
      );
    }
    return judged.reduce(
      (sum, values, f) => Number.isNaN(values[i]) ? sum : sum + (functions[f].weight ?? 1) * values[i],
      0,
    );
  });
  return { sums, named: Object.fromEntries(functions.map(({ name }, f) => [`${kind}/${name}`, judged[f]])) };
}

/** @returns one number for each answer, NaN where the function does not apply */
async function callFunction(
  kind: Kind,
  { name, score }: ScoreFunction,
  answers: readonly Answer[],
  options: ScoreOptions,
): Promise<number[]> {
  const who = `${FUNCTION_OF[kind]} "${name}"`;
  let values: FunctionScores;
  options.signal?.throwIfAborted();
  try {
    values = await score(answers, options);
  } catch (cause) {
    options.signal?.throwIfAborted();
    const what = cause instanceof Error ? cause.message : String(cause);
    // A slip of the function's own shape, as TRL's (prompts, completions) would make, and not a fault of its work.
    throw new Error(`${who} failed: ${what}${cause instanceof TypeError ? `; ${CALLED_WITH}` : ""}`, {
      cause,
    });
  }
  if (!Array.isArray(values) && !ArrayBuffer.isView(values)) {
    throw new TypeError(`${who} gave ${show(values)}; need a list with a number or null for each answer`);
  }
  if (values.length !== answers.length) {
    throw new TypeError(
      `${who} gave ${values.length} scores for ${answers.length} answers; need one for each`,
    );
  }
  return Array.from(values, (value, i) => {
    if (value === null) return NaN;
    if (Number.isFinite(value)) return value;
    throw new TypeError(
      `${who} gave ${
        show(value)
      } for completion ${i}; need a finite number, or null where it does not apply; ` +
        CALLED_WITH,
    );
  });
}
