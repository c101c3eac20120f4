/** Scores completions while others are still being sampled. */
import { answerOf, type Decode } from "../scorer/answer.ts";
import type { ScoreJournal, Scorer, Scores } from "../scorer/protocol.ts";
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
 * Requests go one after the other, or so many at once as there are services, in the order in which the rollouts ended;
 * that order and the requests' sizes depend on the completions alone, not on the clock.
 */
export function scoreEarly(
  scorer: Scorer,
  { batchSize, step, decode, journal }: {
    batchSize: number;
    step: number;
    decode: Decode;
    journal?: ScoreJournal;
  },
): EarlyScoring {
  const scores: Scores = { rewards: [], costs: [] };
  const named: Record<string, number[]> = {};
  const waiting: { rollout: Rollout; place: number }[] = [];
  /** Each sends one request after the other. */
  const lines = Array.from({ length: scorer.callsAtOnce?.() ?? 1 }, () => Promise.resolve());
  let sent = 0;

  async function request(batch: typeof waiting): Promise<void> {
    const answers = batch.map(({ rollout: { prompt, text, tokens } }) => {
      const { user, messages, columns, ids } = prompt;
      return answerOf({ prompt: user, messages, completion: text, tokens, columns }, ids, decode);
    });
    const judged = await scorer.score(answers, { batchSize, step, ...(journal && { journal }) });
    const put = (all: number[], values: readonly number[]) =>
      batch.forEach(({ place }, i) => all[place] = values[i]);
    put(scores.rewards, judged.rewards);
    put(scores.costs, judged.costs);
    for (const [name, values] of Object.entries(judged.named ?? {})) put(named[name] ??= [], values);
  }

  function send(): void {
    const batch = waiting.splice(0, batchSize);
    const line = sent++ % lines.length;
    lines[line] = lines[line].then(() => request(batch));
    lines[line].catch(() => {}); // finish() tells
  }

  return {
    add(rollouts, first) {
      waiting.push(...rollouts.map((rollout, i) => ({ rollout, place: first + i })));
      while (waiting.length >= batchSize) send();
    },
    async finish() {
      if (waiting.length > 0) send();
      await Promise.all(lines);
      // A request whose scores lack a name that another's have leaves holes: it does not apply there.
      const whole = (values: readonly number[]) => scores.rewards.map((_, place) => values[place] ?? NaN);
      const filled = Object.entries(named).map(([name, values]) => [name, whole(values)] as const);
      return filled.length === 0 ? scores : { ...scores, named: Object.fromEntries(filled) };
    },
  };
}
