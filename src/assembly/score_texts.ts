/** What score models read of a conversation. */
import { cutUserText, tooLongBeginning } from "../io/prompts/prompt_cut.ts";
import { conversationEncoder } from "../io/prompts/prompt_format.ts";
import {
  type ChatTemplateText,
  compileChatTemplate,
  RefusedByTemplate,
} from "../io/tokenizer/chat_template.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { Message } from "../rl/conversation.ts";
import { UnreadableTextError } from "../scorer/protocol.ts";

/** The tokens of a conversation that a score model reads. */
interface ReadTokens {
  ids: number[];
  /** It was longer than is read. */
  isCut: boolean;
}

/**
 * A text as score models read it that have no chat template: BOS, the text, one EOS (also where the text ends with one
 * already). Too long: the end of the answer is cut, the EOS stays, since the score is read there. What is cut off is
 * not made into tokens first, but for a few.
 */
export function conversationIds(tokenizer: Tokenizer, text: string, maxLength: number): ReadTokens {
  const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  const eosText = tokenizer.decode([tokenizer.eosId]);
  const body = eosText !== "" && text.endsWith(eosText) ? text.slice(0, -eosText.length) : text;
  const room = maxLength - 1;
  const ids = [...bos, ...beginningIds(tokenizer, body, tokenizer.encodeWithoutSpecial, maxLength)];
  return { ids: [...ids.slice(0, room), tokenizer.eosId], isCut: ids.length > room };
}

/** Ids of the text, or more than `maxLength` of those that it begins with. */
function beginningIds(
  { longestToken }: Tokenizer,
  text: string,
  idsOf: (text: string) => number[],
  maxLength: number,
): number[] {
  return idsOf(tooLongBeginning(text, { idsOf, maxPromptLength: maxLength, longestToken }) ?? text);
}

/** So many characters for each token that is read are more than most texts have. */
const MANY_CHARACTERS = 4;

/**
 * Makes a function that gives the ids of a conversation and its answer, the last message, by a score model's own chat
 * template: those of transformers' apply_chat_template. Too long: the answer loses its end, the template stays whole.
 *
 * @throws UnreadableTextError when a conversation is too long by itself, or the template refuses it
 * @throws Error when the template cannot be read
 */
function answeredConversationIds(tokenizer: Tokenizer, text: ChatTemplateText) {
  const { encodeWithoutSpecial: encode, longestToken } = tokenizer;
  const idsOf = conversationEncoder(tokenizer, compileChatTemplate(text), { add_generation_prompt: false });
  return (conversation: readonly Message[], maxLength: number): ReadTokens => {
    const answer = conversation[conversation.length - 1];
    const before = conversation.slice(0, -1);
    const idsWith = (content: string) => idsOf([...before, { ...answer, content }]);
    const tooLong = (found: string) =>
      new UnreadableTextError(
        `a conversation takes ${found} without its answer, and ${maxLength} are read; ` +
          "raise scorer_max_length, or lower max_prompt_length",
      );
    const characters = before.reduce((sum, { content }) => sum + content.length, 0);
    // A template may leave some of it out, but not that much.
    if (characters > MANY_CHARACTERS * maxLength * longestToken) {
      throw tooLong("far more tokens than are read");
    }
    try {
      // Asked at once only where it may well be so: it costs as much as reading the conversation.
      if (characters > MANY_CHARACTERS * maxLength) assertAloneFits();
      const fit = { idsOf: idsWith, maxPromptLength: maxLength, encode, longestToken };
      const { ids, truncated } = cutUserText(answer.content, fit);
      return { ids, isCut: truncated };
    } catch (error) {
      if (error instanceof RefusedByTemplate) {
        const problem = `the chat template of ${text.source} refuses a conversation: ${error.message}`;
        throw new UnreadableTextError(problem, { cause: error });
      }
      if (error instanceof RangeError) assertAloneFits();
      throw error;
    }

    function assertAloneFits(): void {
      const alone = idsWith("").length;
      if (alone > maxLength) throw tooLong(`${alone} tokens`);
    }
  };
}

/** How a score model reads conversations. */
export interface ConversationReader {
  /** Texts alone do not do: it has a chat template of its own. */
  wantsMessages: boolean;
  /**
   * @param conversation the same as messages, the answer last, where they are known
   * @throws UnreadableTextError when it is too long by itself, or the template refuses it
   */
  read(text: string, conversation: readonly Message[] | undefined, maxLength: number): ReadTokens;
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
    read(text, conversation, maxLength) {
      if (conversation) return idsOf(conversation, maxLength);
      const ids = beginningIds(tokenizer, text, tokenizer.encodeRendered, maxLength);
      return { ids: ids.slice(0, maxLength), isCut: ids.length > maxLength };
    },
  };
}
