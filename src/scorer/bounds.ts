/** Scores too large to be any: of a broken scorer, and more than the arithmetic of advantages and losses bears. */
import { WrongSetting } from "./apis/api.ts";
import { excerpt } from "./messages.ts";
import type { Answer, Scorer, Scores } from "./protocol.ts";

/** Default of scorer_max_abs_score. */
export const MAX_ABS_SCORE = 1e6;

/**
 * Those with names are looked at too, as far as they are part of what is trained on.
 * @param isTrainedOn whether one of such a name is
 * @throws WrongSetting when a score is beyond +-maxAbs; it names the first and what it was given to
 */
export function assertBounded(
  { rewards, costs, named = {} }: Pick<Scores, "rewards" | "costs" | "named">,
  answers: readonly Answer[],
  maxAbs: number,
  isTrainedOn: (name: string) => boolean = () => true,
): void {
  const ofNames = Object.entries(named).filter(([name]) => isTrainedOn(name));
  for (const [kind, scores] of [["rewards", rewards], ["costs", costs], ...ofNames] as const) {
    const i = scores.findIndex((score) => Math.abs(score) > maxAbs);
    if (i < 0) continue;
    throw new WrongSetting(
      `"${kind}"[${i}] is ${scores[i]}, for an answer to "${excerpt(answers[i].prompt, 80)}"; ` +
        `need a score between -${maxAbs} and ${maxAbs}`,
      "mend the scorer, or raise scorer_max_abs_score",
    );
  }
}

/**
 * A scorer whose scores are held to +-maxAbs; functions and sums of scorers have no answer of a service to check.
 * @param trainedOn names of those that count beside the sums
 */
export function boundedScorer(scorer: Scorer, maxAbs: number, trainedOn: readonly string[] = []): Scorer {
  // By name, as a scorer that is given may be of a class.
  return {
    sharesGpu: scorer.sharesGpu,
    ...(scorer.takeStats && { takeStats: () => scorer.takeStats!() }),
    ...(scorer.callsAtOnce && { callsAtOnce: () => scorer.callsAtOnce!() }),
    async score(answers, options) {
      const scores = await scorer.score(answers, options);
      try {
        assertBounded(scores, answers, maxAbs, (name) => trainedOn.includes(name));
      } catch (error) {
        if (!(error instanceof WrongSetting)) throw error;
        throw new RangeError(`Scores are broken: ${error.message}; ${error.remedy}`, { cause: error });
      }
      return scores;
    },
  };
}
