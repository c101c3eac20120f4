// Fits a templated prompt into a token budget by cutting the user's text from its end. Pure.

/** Stands for the user's text when a template is taken apart; a private-use character no text should hold. */
const PROBE = "\uF8FF";

/**
 * What comes before and after the user's text.
 * @throws RangeError when the template changes or repeats it
 */
function splitTemplate(template: (userText: string) => string): [head: string, tail: string] {
  const parts = template(PROBE).split(PROBE);
  if (parts.length !== 2) {
    throw new RangeError(
      `Cannot use this prompt template: it holds the user's text ${parts.length - 1} times, not once`,
    );
  }
  return [parts[0], parts[1]];
}

/** What a prompt must fit, and how it is read. */
export interface Fit {
  template(userText: string): string;
  /** Tokens of the whole prompt, those of `frontIds` too. */
  maxPromptLength: number;
  /** Before the prompt: BOS, or none. */
  frontIds: readonly number[];
  /** Ids of plain text. */
  encode(text: string): number[];
  /** Characters of the longest token. */
  longestToken: number;
}

/**
 * Ids of template(userText), at most `maxPromptLength` with `frontIds`; see Tokenizer.encodePrompt.
 * The cut text is the longest found, in whole code points, whose ids begin the ids of the whole text.
 * @throws RangeError when the template alone is too long or does not hold the user's text once as it is
 */
export function cutToFit(
  userText: string,
  { template, maxPromptLength, frontIds, encode, longestToken }: Fit,
): { ids: number[]; text: string; truncated: boolean } {
  if (!Number.isSafeInteger(maxPromptLength) || maxPromptLength < 1) {
    throw new RangeError(`Cannot fit a prompt: max_prompt_length ${maxPromptLength} is no whole number >= 1`);
  }
  const [head, tail] = splitTemplate(template);
  const wholeText = template(userText);
  const idsOf = (text: string) => [...frontIds, ...encode(text)];
  const fits = (ids: readonly number[]) => ids.length <= maxPromptLength;
  const longestText = maxPromptLength * longestToken;
  if (wholeText.length <= longestText) {
    const ids = idsOf(wholeText);
    if (fits(ids)) return { ids, text: wholeText, truncated: false };
  }
  const smallest = idsOf(head + tail);
  if (!fits(smallest)) {
    throw new RangeError(
      `Cannot fit the prompt template into max_prompt_length = ${maxPromptLength}: it takes ${smallest.length} ` +
        `tokens without any user text; set max_prompt_length to more than ${smallest.length}`,
    );
  }
  // A text that came with the template around it is cut inside that template.
  const inner = wholeText.slice(head.length, wholeText.length - tail.length);
  const points = Array.from(inner.slice(0, longestText + 1));
  const kept = longestPrefix(points, (text) => fits(idsOf(head + text + tail)), encode);
  const text = head + kept + tail;
  return { ids: idsOf(text), text, truncated: true };
}

/** Bisects for the cut, then steps back to the nearest token boundary. */
function longestPrefix(
  points: readonly string[],
  fits: (text: string) => boolean,
  encode: (text: string) => number[],
): string {
  const prefix = (length: number) => points.slice(0, length).join("");
  let low = 0;
  let high = points.length;
  while (low + 1 < high) {
    const middle = (low + high) >>> 1;
    if (fits(prefix(middle))) low = middle;
    else high = middle;
  }
  const whole = encode(prefix(points.length));
  const endsAtToken = (text: string) => encode(text).every((id, i) => whole[i] === id);
  while (low > 0 && !(endsAtToken(prefix(low)) && fits(prefix(low)))) low--;
  return prefix(low);
}
