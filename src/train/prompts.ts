/** Prompts as the policy reads them and as the scorer is told them. */
import type { EncodedPrompt, Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { PromptRow } from "../io/prompts/prompts.ts";
import { formatPrompt, type Message, userText } from "../rl/conversation.ts";

export interface Prompt {
  /** The user's text, without the template, as much of it as the policy sees. */
  user: string;
  /** Template and text, BOS in front. */
  ids: number[];
  truncated: boolean;
  /** The conversation that a completion answers, as much of it as the policy sees. */
  messages: readonly Message[];
  /** The other columns of its row. */
  columns: Readonly<Record<string, unknown>>;
}

/**
 * Encodes prompts; a long user's text loses its end, the template never does.
 * @throws RangeError when a prompt cannot be encoded; it names the line
 */
export function encodePrompts(
  tokenizer: Tokenizer,
  rows: readonly PromptRow[],
  maxPromptLength: number,
): Prompt[] {
  return rows.map(({ prompt, line, columns }) => {
    let encoded: EncodedPrompt;
    try {
      encoded = tokenizer.encodePrompt(userText(prompt), formatPrompt, maxPromptLength);
    } catch (error) {
      throw new RangeError(`Prompt of line ${line}: ${(error as Error).message}`);
    }
    const user = userText(encoded.text);
    const messages = [{ role: "user", content: user }];
    return { user, ids: encoded.ids, truncated: encoded.truncated, messages, columns };
  });
}
