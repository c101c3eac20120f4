/** Tokens of a kept completion as texts, each with its log-probs. */
import type { RolloutRecord } from "./rollout_records.ts";
import type { TokenPiece } from "./samples.ts";

/** Text of ids, special tokens among them. */
export type Decode = (ids: readonly number[]) => string;

/** What stands for bytes that are no whole character. */
const INCOMPLETE = "\uFFFD";
/** Tokens that one character can be made of. */
const MOST_TOGETHER = 8;

/**
 * Makes texts of tokens, as each reads behind others.
 * @param anchor ids of a plain text, behind which a token's text keeps its leading space
 */
export function pieceTexts(decode: Decode, anchor: readonly number[]): (ids: readonly number[]) => string {
  const before = decode(anchor);
  const known = new Map<string, string>();
  return (ids) => {
    const key = ids.join(" ");
    let text = known.get(key);
    if (text === undefined) {
      const whole = decode([...anchor, ...ids]);
      text = whole.startsWith(before) ? whole.slice(before.length) : decode(ids);
      known.set(key, text);
    }
    return text;
  };
}

/**
 * The pieces of a completion. Tokens that are parts of one character are one piece, whose log-prob is their sum.
 * @param textOf of `pieceTexts`
 */
export function tokenPieces(
  { completion_ids: ids, logprobs, ref_logprobs: refLogprobs }: Pick<
    RolloutRecord,
    "completion_ids" | "logprobs" | "ref_logprobs"
  >,
  textOf: (ids: readonly number[]) => string,
): TokenPiece[] {
  const pieces: TokenPiece[] = [];
  for (let from = 0; from < ids.length;) {
    let count = 1;
    let text = textOf(ids.slice(from, from + 1));
    if (text.includes(INCOMPLETE)) {
      for (let more = 2; more <= Math.min(MOST_TOGETHER, ids.length - from); more++) {
        const together = textOf(ids.slice(from, from + more));
        if (together.includes(INCOMPLETE)) continue;
        [count, text] = [more, together];
        break;
      }
    }
    const to = from + count;
    pieces.push({ text, logprob: sumOf(logprobs, from, to), refLogprob: sumOf(refLogprobs, from, to) });
    from = to;
  }
  return pieces;
}

/** Null where one of them is not known. */
function sumOf(values: readonly (number | null)[] | null, from: number, to: number): number | null {
  let sum = 0;
  for (let i = from; i < to; i++) {
    const value = values?.[i];
    if (typeof value !== "number" || !Number.isFinite(value)) return null;
    sum += value;
  }
  return sum;
}
