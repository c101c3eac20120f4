/** Prompts as the policy reads them and as the scorer is told them. */
import type { EncodedConversation, PromptFormat } from "../io/prompts/prompt_format.ts";
import type { PromptRow } from "../io/prompts/prompts.ts";
import type { Message, PromptLayout } from "../rl/conversation.ts";

export interface Prompt {
  /** The last user message, without any template, as much of it as the policy sees. */
  user: string;
  /** What the policy completes: text and template. */
  ids: number[];
  truncated: boolean;
  /** The conversation that a completion answers, as much of it as the policy sees; a system prompt is part of it. */
  messages: readonly Message[];
  /** The other columns of its row. */
  columns: Readonly<Record<string, unknown>>;
  layout: PromptLayout;
}

export interface EncodingOptions {
  maxPromptLength: number;
  /** Told of a row that cannot be encoded, which is then left out; such a row is thrown where this is left out. */
  onBadRow?(problem: Error): void;
}

/**
 * Encodes prompts; a long user's text loses its end, the template never does.
 * @throws RangeError when a prompt cannot be encoded; it names the row
 */
export function encodePrompts(
  format: PromptFormat,
  rows: readonly PromptRow[],
  { maxPromptLength, onBadRow }: EncodingOptions,
): Prompt[] {
  return rows.flatMap(({ prompt, place, columns }) => {
    let encoded: EncodedConversation;
    try {
      encoded = format.encode(prompt, maxPromptLength);
    } catch (cause) {
      const error = new RangeError(`Prompt of ${place}: ${(cause as Error).message}`, { cause });
      if (onBadRow === undefined) throw error;
      onBadRow(error);
      return [];
    }
    return [{ ...encoded, columns, layout: format.layout }];
  });
}
