// Fits a prompt into a token budget by cutting the user's text from its end. Pure.

/** Stands for the user's text when a template is taken apart; a private-use character no text should hold. */
const PROBE = "\uF8FF";
/** Characters of a first look, for each token there is room for: more than texts have. */
const FIRST_LOOK = 8;
/** So many code points are tried one by one for a token boundary; then the steps double. */
const SINGLE_STEPS = 32;

/** What a prompt must fit, and how it is read. */
export interface Fit {
  /** Ids of the whole prompt with this user's text. */
  idsOf(userText: string): number[];
  /** Of the whole prompt. */
  maxPromptLength: number;
  /** Ids of plain text. */
  encode(text: string): number[];
  /** Characters of the longest token. */
  longestToken: number;
}

/**
 * Ids of the prompt, at most `maxPromptLength`. A cut text is the longest found, in whole code points, whose ids begin
 * the ids of the whole text. A text far too long is not encoded whole, and of one that is, O(log n) beginnings are.
 * @throws RangeError when the prompt is too long even without the user's text
 */
export function cutUserText(userText: string, fit: Fit): { ids: number[]; kept: string; truncated: boolean } {
  const { idsOf, maxPromptLength, encode } = fit;
  if (!Number.isSafeInteger(maxPromptLength) || maxPromptLength < 1) {
    throw new RangeError(`Cannot fit a prompt: max_prompt_length ${maxPromptLength} is no whole number >= 1`);
  }
  const fits = (ids: readonly number[]) => ids.length <= maxPromptLength;
  const beginning = tooLongBeginning(userText, fit);
  if (beginning === null) {
    const ids = idsOf(userText);
    if (fits(ids)) return { ids, kept: userText, truncated: false };
  }
  const points = Array.from(beginning ?? userText);
  const kept = longestPrefix(points, (text) => fits(idsOf(text)), encode);
  const ids = idsOf(kept);
  if (fits(ids)) return { ids, kept, truncated: true };
  throw new RangeError(
    `Cannot fit the prompt template into max_prompt_length = ${maxPromptLength}: it takes ${ids.length} ` +
      `tokens without any user text; set max_prompt_length to more than ${ids.length}`,
  );
}

/** A beginning of the text that is certainly too long; null where only the whole text can tell. */
export function tooLongBeginning(
  text: string,
  { idsOf, maxPromptLength, longestToken }: Omit<Fit, "encode">,
): string | null {
  const most = maxPromptLength * longestToken;
  for (let length = FIRST_LOOK * maxPromptLength; length < text.length; length *= 2) {
    if (length >= most) return text.slice(0, most + 1);
    const beginning = text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
    // Where it ends amid a word it has more tokens than there; twice the room is beyond all doubt.
    if (idsOf(beginning).length > 2 * maxPromptLength + longestToken) return beginning;
  }
  return text.length > most ? text.slice(0, most + 1) : null;
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
  for (let tries = 0; low > 0 && !(endsAtToken(prefix(low)) && fits(prefix(low))); tries++) {
    low = Math.max(0, low - (tries < SINGLE_STEPS ? 1 : 2 ** (tries - SINGLE_STEPS)));
  }
  return prefix(low);
}

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

/** A prompt that is plain text around the user's. */
export interface TemplatedFit extends Omit<Fit, "idsOf"> {
  template(userText: string): string;
  /** Before the prompt: BOS, or none. They count. */
  frontIds: readonly number[];
}

/**
 * Ids of template(userText) behind `frontIds`; see Tokenizer.encodePrompt.
 * @throws RangeError when the template alone is too long or does not hold the user's text once as it is
 */
export function cutToFit(
  userText: string,
  { template, frontIds, ...fit }: TemplatedFit,
): { ids: number[]; text: string; truncated: boolean } {
  const [head, tail] = splitTemplate(template);
  const wholeText = template(userText);
  // A text that came with the template around it is cut inside that template.
  const inner = wholeText.slice(head.length, wholeText.length - tail.length);
  const idsOf = (text: string) => [...frontIds, ...fit.encode(head + text + tail)];
  const { ids, kept, truncated } = cutUserText(inner, { ...fit, idsOf });
  return { ids, text: head + kept + tail, truncated };
}
