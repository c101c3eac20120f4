/** What score models read of a conversation. */
import { cutUserText } from "../io/prompts/prompt_cut.ts";
import { conversationEncoder } from "../io/prompts/prompt_format.ts";
import {
  type ChatTemplateText,
  compileChatTemplate,
  RefusedByTemplate,
} from "../io/tokenizer/chat_template.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { Message } from "../rl/conversation.ts";

/**
 * Ids of a conversation as score models read it that have no chat template: BOS, the text, one EOS (also where the text
 * ends with one already). Too long: the end of the answer is cut, the EOS stays, since the score is read there.
 */
export function conversationIds(tokenizer: Tokenizer, text: string, maxLength: number): number[] {
  const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  const eosText = tokenizer.decode([tokenizer.eosId]);
  const body = eosText !== "" && text.endsWith(eosText) ? text.slice(0, -eosText.length) : text;
  const ids = [...bos, ...tokenizer.encodeWithoutSpecial(body)].slice(0, maxLength - 1);
  return [...ids, tokenizer.eosId];
}

/**
 * Makes a function that gives the ids of a conversation and its answer, the last message, by a score model's own chat
 * template: those of transformers' apply_chat_template. Too long: the answer loses its end, the template stays whole.
 *
 * @throws RangeError when a conversation is too long by itself
 * @throws Error when the template cannot be read, or refuses the conversation
 */
function answeredConversationIds(tokenizer: Tokenizer, text: ChatTemplateText) {
  const idsOf = conversationEncoder(tokenizer, compileChatTemplate(text), { add_generation_prompt: false });
  return (conversation: readonly Message[], maxLength: number): number[] => {
    const answer = conversation[conversation.length - 1];
    const before = conversation.slice(0, -1);
    const idsWith = (content: string) => idsOf([...before, { ...answer, content }]);
    try {
      const { encodeWithoutSpecial: encode, longestToken } = tokenizer;
      return cutUserText(answer.content, { idsOf: idsWith, maxPromptLength: maxLength, encode, longestToken })
        .ids;
    } catch (error) {
      if (error instanceof RefusedByTemplate) {
        const problem = `the chat template of ${text.source} refuses a conversation: ${error.message}`;
        throw new Error(problem, {
          cause: error,
        });
      }
      const alone = idsWith("").length;
      if (alone <= maxLength) throw error;
      throw new RangeError(
        `a conversation takes ${alone} tokens without its answer, and ${maxLength} are read; ` +
          "raise scorer_max_length, or lower max_prompt_length",
      );
    }
  };
}

/** How a score model reads conversations. */
export interface ConversationReader {
  /** Texts alone do not do: it has a chat template of its own. */
  wantsMessages: boolean;
  /** @param conversation the same as messages, the answer last, where they are known */
  read(text: string, conversation: readonly Message[] | undefined, maxLength: number): number[];
}

/**
 * By the chat template of a classifier's tokenizer, where it has one; else, as safe-rlhf's models always, as Beaver's
 * text.
 * @throws Error when the template cannot be read
 */
export async function openConversationReader(
  tokenizer: Tokenizer,
  isClassifier: boolean,
): Promise<ConversationReader> {
  const template = isClassifier ? await tokenizer.readChatTemplate() : null;
  if (!template) {
    return {
      wantsMessages: false,
      read: (text, _, maxLength) => conversationIds(tokenizer, text, maxLength),
    };
  }
  const idsOf = answeredConversationIds(tokenizer, template);
  return {
    wantsMessages: true,
    // A text without messages has been through a template.
    read: (text, conversation, maxLength) =>
      conversation ? idsOf(conversation, maxLength) : tokenizer.encodeRendered(text).slice(0, maxLength),
  };
}
