/** Scores completions while others are still being sampled. */
import type { Answer, Scorer, Scores } from "../scorer/protocol.ts";
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

const answerOf = ({ prompt, text, tokens }: Rollout): Answer => ({
  prompt: prompt.user,
  messages: prompt.messages,
  completion: text,
  tokens,
  columns: prompt.columns,
});

/**
 * Requests go one after the other, in the order in which the rollouts ended; that order and the requests' sizes depend
 * on the completions alone, not on the clock.
 */
export function scoreEarly(scorer: Scorer, options: { batchSize: number; step: number }): EarlyScoring {
  const { batchSize } = options;
  const scores: Scores = { rewards: [], costs: [] };
  const waiting: { rollout: Rollout; place: number }[] = [];
  let requests = Promise.resolve();

  async function request(batch: typeof waiting): Promise<void> {
    const { rewards, costs } = await scorer.score(batch.map(({ rollout }) => answerOf(rollout)), options);
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
