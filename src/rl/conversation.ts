/** A turn of a conversation, as chat templates take it. What else a row's messages hold goes to the template too. */
export interface Message {
  /** "system", "user" or "assistant"; templates of some models know more. */
  readonly role: string;
  readonly content: string;
}

/** How prompts are laid out: as Beaver's one turn, by a chat template, or not at all. */
export type PromptLayout = "beaver" | "chat" | "none";

/** What stands before and after the user's text in the prompt of the Beaver (PKU safe-rlhf) models. */
export const PROMPT_PREFIX = "BEGINNING OF CONVERSATION: USER: ";
export const PROMPT_SUFFIX = " ASSISTANT:";

function isTemplated(text: string): boolean {
  return text.length >= PROMPT_PREFIX.length + PROMPT_SUFFIX.length && text.startsWith(PROMPT_PREFIX) &&
    text.endsWith(PROMPT_SUFFIX);
}

/**
 * "BEGINNING OF CONVERSATION: USER: {user} ASSISTANT:", without a space after the last colon. A text that
 * already holds the whole template is used as it is, so the function is idempotent. The user's own text is
 * never looked into: "USER:" or "ASSISTANT:" inside it stay where they are.
 */
export function formatPrompt(user: string): string {
  return isTemplated(user) ? user : PROMPT_PREFIX + user + PROMPT_SUFFIX;
}

/** The text a score model reads: the prompt, then the response with nothing in between. */
export function formatConversation(prompt: string, response: string): string {
  return formatPrompt(prompt) + response;
}

/** The user's text alone, of a templated prompt or of a plain one. */
export function userText(prompt: string): string {
  return isTemplated(prompt) ? prompt.slice(PROMPT_PREFIX.length, -PROMPT_SUFFIX.length) : prompt;
}

/**
 * The text before the first stop string, and which one it was (the earliest; of two that start at the same
 * place, the first listed). Empty stop strings are ignored.
 */
export function trimAtStopString(
  text: string,
  stopStrings: readonly string[],
): { text: string; stopString: string | null } {
  let end = text.length;
  let stopString: string | null = null;
  for (const candidate of stopStrings) {
    const at = candidate === "" ? -1 : text.indexOf(candidate);
    if (at >= 0 && at < end) {
      end = at;
      stopString = candidate;
    }
  }
  return { text: text.slice(0, end), stopString };
}

/** Begins the user's turn in Beaver's layout. */
const BEAVER_USER = "USER:";

/** The stop strings of a run: those that are set, or for null those that end an answer in the layout of its prompts. */
export function stopStringsOf(setting: readonly string[] | null, layout: PromptLayout): readonly string[] {
  return setting ?? (layout === "beaver" ? [BEAVER_USER] : []);
}

/**
 * True when a completion goes on to write its own "USER:" turn. Policies learn to, because a reward model
 * likes a made-up thankful user. Look at the completion before stop strings are cut off. In other layouts than
 * Beaver's a turn begins with a control token, which ends the completion; there "USER:" is a word like any other.
 */
export function hasHallucinatedTurn(completion: string, layout: PromptLayout = "beaver"): boolean {
  return layout === "beaver" && /(?<![\p{L}\p{N}_])USER:/u.test(completion);
}
