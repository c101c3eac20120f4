/** Answers with the texts that a policy read and wrote, which few scorers ask for. */
import type { Answer } from "./protocol.ts";

/** Text of token ids, control tokens as text. */
export type Decode = (ids: ArrayLike<number>) => string;

/** An answer whose texts are made of tokens when they are asked for, and only then. */
export function answerOf(
  answer: Omit<Answer, "promptText" | "fullText">,
  promptIds: readonly number[],
  decode: Decode,
): Answer {
  return {
    ...answer,
    get promptText() {
      return decode(promptIds);
    },
    get fullText() {
      return decode([...promptIds, ...answer.tokens]);
    },
  };
}
