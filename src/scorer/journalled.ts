/** A scorer that is not asked again what it answered before a kill. */
import { createHash } from "node:crypto";
import type { Answer, ScoreOptions, Scorer } from "./protocol.ts";

/** A name for what is asked: of whom, for which step, and all that may be read of each answer. */
function questionKey(judge: unknown, answers: readonly Answer[], step: number | undefined): string {
  const asked = answers.map(({ prompt, messages, completion, tokens, columns }) =>
    [prompt, messages, completion, tokens, columns] as const
  );
  const text = JSON.stringify(
    [judge, step ?? null, asked],
    (_, value) => typeof value === "bigint" ? `${value}n` : value,
  );
  return createHash("sha256").update(text).digest("hex");
}

/**
 * The same scorer, which takes from the journal of a call what it holds, and leaves its answers there.
 * @param judge what says who answers, JSON-safe: another one is asked anew
 */
export function journalled<Kind extends Scorer>(scorer: Kind, judge: unknown): Kind {
  return {
    ...scorer,
    async score(answers: readonly Answer[], options: ScoreOptions = {}) {
      const { journal } = options;
      if (!journal || answers.length === 0) return await scorer.score(answers, options);
      const key = questionKey(judge, answers, options.step);
      const known = journal.take(key, answers.length);
      if (known !== null) return known;
      const scores = await scorer.score(answers, options);
      journal.put(key, scores);
      return scores;
    },
  };
}
