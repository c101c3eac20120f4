/** Scores completions while others are still being sampled. */
import { answerOf, type Decode } from "../scorer/answer.ts";
import type { Scorer, Scores } from "../scorer/protocol.ts";
import type { Rollout } from "./rollout.ts";

export interface EarlyScoring {
  /** Takes rollouts that are whole; sends them once they fill a request. @param first place of the first among all */
  add(rollouts: readonly Rollout[], first: number): void;
  /**
   * Sends the rest, and waits for all.
   * @returns scores in the rollouts' places
   * @throws ScorerUnavailableError or ScorerContractError when the scorer does
   */
  finish(): Promise<Scores>;
}

/**
 * Requests go one after the other, in the order in which the rollouts ended; that order and the requests' sizes depend
 * on the completions alone, not on the clock.
 */
export function scoreEarly(
  scorer: Scorer,
  { batchSize, step, decode }: { batchSize: number; step: number; decode: Decode },
): EarlyScoring {
  const scores: Scores = { rewards: [], costs: [] };
  const waiting: { rollout: Rollout; place: number }[] = [];
  let requests = Promise.resolve();

  async function request(batch: typeof waiting): Promise<void> {
    const answers = batch.map(({ rollout: { prompt, text, tokens } }) => {
      const { user, messages, columns, ids } = prompt;
      return answerOf({ prompt: user, messages, completion: text, tokens, columns }, ids, decode);
    });
    const { rewards, costs } = await scorer.score(answers, { batchSize, step });
    batch.forEach(({ place }, i) => {
      scores.rewards[place] = rewards[i];
      scores.costs[place] = costs[i];
    });
  }

  function send(): void {
    const batch = waiting.splice(0, batchSize);
    requests = requests.then(() => request(batch));
    requests.catch(() => {}); // finish() tells
  }

  return {
    add(rollouts, first) {
      waiting.push(...rollouts.map((rollout, i) => ({ rollout, place: first + i })));
      while (waiting.length >= batchSize) send();
    },
    async finish() {
      if (waiting.length > 0) send();
      await requests;
      return scores;
    },
  };
}
