// How a row becomes the policy's prompt: in Beaver's one turn, by a chat template, or as it stands.

import { messageOf } from "../files/errors.ts";
import { formatPrompt, type Message, type PromptLayout, userText } from "../../rl/conversation.ts";
import {
  type ChatTemplate,
  type ChatTemplateText,
  compileChatTemplate,
  RefusedByTemplate,
  type TemplateVariables,
} from "../tokenizer/chat_template.ts";
import { readNamedTemplate } from "../tokenizer/chat_template_files.ts";
import { chatEncoder } from "../tokenizer/marked_chat.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { cutUserText } from "./prompt_cut.ts";

/** What a row asks: a text, or a conversation whose last turn is the user's. */
export type RowPrompt = string | readonly Message[];

export interface EncodedConversation {
  ids: number[];
  /** The last user message, as much of it as fits. */
  user: string;
  /** The whole conversation with it, a system prompt included. */
  messages: readonly Message[];
  truncated: boolean;
}

export interface PromptFormat {
  readonly layout: PromptLayout;
  /** In words: which template, and where it comes from. */
  readonly description: string;
  /** What is to be known of it, once prompts were encoded. */
  notices(): string[];
  /**
   * At most `maxPromptLength` ids; the last user message loses its end where it is too long, all else stays whole.
   * @throws RangeError when all else is too long by itself
   * @throws TypeError when the format has no place for such a conversation
   * @throws Error when the template refuses it
   */
  encode(prompt: RowPrompt, maxPromptLength: number): EncodedConversation;
}

export interface FormatSettings {
  /** "beaver", "model", "none" or "file:PATH"; null: "model" where the tokenizer has a chat template, else "beaver". */
  readonly chatTemplate: string | null;
  /** Put before conversations that bring no system message. */
  readonly systemPrompt: string | null;
  /** Further variables of the template. */
  readonly templateKwargs: TemplateVariables | null;
}

/** Variables that every template is given. */
const RESERVED = ["messages", "add_generation_prompt"];

/** Named by every message about what a format cannot take. */
const REMEDY =
  `set chat_template to "model" for the tokenizer's own template, or to file:PATH of one, to train on conversations`;

/**
 * The format of a run's prompts.
 * @throws Error when the template is missing or cannot be read
 * @throws TypeError when the settings ask a format for what it has no place for
 */
export async function openPromptFormat(
  tokenizer: Tokenizer,
  settings: FormatSettings,
): Promise<PromptFormat> {
  const { chatTemplate } = settings;
  if (chatTemplate === "beaver") return fixedFormat(settings, beaverFormat(tokenizer, "Beaver's"));
  if (chatTemplate === "none") return fixedFormat(settings, plainFormat(tokenizer));
  const named = await readNamedTemplate(chatTemplate);
  if (named) return chatFormat(tokenizer, named, settings);
  const own = await tokenizer.readChatTemplate();
  if (own !== null) return chatFormat(tokenizer, own, settings);
  if (chatTemplate === null) {
    return fixedFormat(settings, beaverFormat(tokenizer, "Beaver's (the tokenizer has no chat template)"));
  }
  throw new Error(
    `Cannot use chat_template: "model": required a chat template in chat_template.jinja or tokenizer_config.json ` +
      `beside the tokenizer, got neither; set chat_template to "beaver", "none" or file:PATH`,
  );
}

/** @throws TypeError when settings of chat templates are given to a format that reads none of them */
function fixedFormat(settings: FormatSettings, format: PromptFormat): PromptFormat {
  const given = settings.systemPrompt !== null
    ? "system_prompt"
    : settings.templateKwargs !== null
    ? "chat_template_kwargs"
    : undefined;
  if (given === undefined) return format;
  throw new TypeError(
    `Cannot use ${given} with chat_template "${format.layout}", which has no place for it; remove ${given}, or ` +
      REMEDY,
  );
}

/** "BEGINNING OF CONVERSATION: USER: {user} ASSISTANT:" behind BOS. */
export function beaverFormat(tokenizer: Tokenizer, description = "Beaver's"): PromptFormat {
  return {
    layout: "beaver",
    description,
    notices: () => [],
    encode(prompt, maxPromptLength) {
      const asked = userText(typeof prompt === "string" ? prompt : onlyUserTurn(prompt));
      const { ids, text, truncated } = tokenizer.encodePrompt(asked, formatPrompt, maxPromptLength);
      const user = userText(text);
      return { ids, user, messages: [{ role: "user", content: user }], truncated };
    },
  };
}

function onlyUserTurn(messages: readonly Message[]): string {
  const [{ role, content }] = messages;
  if (messages.length === 1 && role === "user") return content;
  const roles = messages.map((message) => message.role).join(", ");
  throw new TypeError(
    `Beaver's prompt holds one user message and no other, got messages of ${roles}; ${REMEDY}`,
  );
}

/** The text as it is, control tokens in it included, behind BOS. */
export function plainFormat(tokenizer: Tokenizer): PromptFormat {
  const { frontIds, longestToken, encodeRendered } = tokenizer;
  return {
    layout: "none",
    description: "none: prompts as they are",
    notices: () => [],
    encode(prompt, maxPromptLength) {
      if (typeof prompt !== "string") {
        throw new TypeError(
          `chat_template "none" takes texts, got a list of ${prompt.length} messages; ${REMEDY}`,
        );
      }
      const idsOf = (text: string) => [...frontIds, ...encodeRendered(text)];
      const fit = { idsOf, maxPromptLength, encode: encodeRendered, longestToken };
      const { ids, kept: user, truncated } = cutUserText(prompt, fit);
      return { ids, user, messages: [{ role: "user", content: user }], truncated };
    },
  };
}

/**
 * Makes a function that gives the ids of conversations as transformers' apply_chat_template does; control tokens of
 * messages stay text.
 */
export function conversationEncoder(tokenizer: Tokenizer, template: ChatTemplate, kwargs: TemplateVariables) {
  const control = tokenizer.addedTokens
    .filter(({ content, special }) =>
      special || (content.trim() !== "" && template.ownText.includes(content))
    )
    .map(({ content }) => content);
  const encodeMessages = chatEncoder(control, {
    rendered: tokenizer.encodeRendered,
    asText: tokenizer.encodeAsText,
  });
  return (messages: readonly Message[]) =>
    encodeMessages(
      { messages, kwargs },
      ({ messages, kwargs }) => template.render(messages, { ...tokenizer.namedTokens, ...kwargs }),
    );
}

/** As transformers' apply_chat_template with add_generation_prompt; control tokens of messages stay text. */
function chatFormat(
  tokenizer: Tokenizer,
  text: ChatTemplateText,
  { systemPrompt = null, templateKwargs }: Partial<FormatSettings> = {},
): PromptFormat {
  const reserved = Object.keys(templateKwargs ?? {}).find((name) => RESERVED.includes(name));
  if (reserved !== undefined) {
    throw new TypeError(
      `Cannot take ${reserved} of chat_template_kwargs: the prompt's own is given; remove it`,
    );
  }
  const template = compileChatTemplate(text);
  const idsOf = conversationEncoder(tokenizer, template, templateKwargs ?? {});
  const conversationOf = (prompt: RowPrompt): readonly Message[] => {
    const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    const needsSystem = systemPrompt !== null && messages[0].role !== "system";
    return needsSystem ? [{ role: "system", content: systemPrompt }, ...messages] : messages;
  };
  return {
    layout: "chat",
    description: `chat template of ${text.source}`,
    notices: () =>
      template.readsDate
        ? [
          `The chat template of ${text.source} writes today's date into prompts, so that another day's run has ` +
          "others; chat_template_kwargs may hold what it reads in its place (often date_string)",
        ]
        : [],
    encode(prompt, maxPromptLength) {
      const asked = conversationOf(prompt);
      const last = asked[asked.length - 1];
      const withLast = (content: string) => [...asked.slice(0, -1), { ...last, content }];
      try {
        const { ids, kept, truncated } = cutUserText(last.content, {
          idsOf: (content) => idsOf(withLast(content)),
          maxPromptLength,
          encode: tokenizer.encodeWithoutSpecial,
          longestToken: tokenizer.longestToken,
        });
        return { ids, user: kept, messages: truncated ? withLast(kept) : asked, truncated };
      } catch (error) {
        if (error instanceof RefusedByTemplate) {
          throw new Error(`the chat template of ${text.source} refuses it: ${error.message}`, {
            cause: error,
          });
        }
        const message = messageOf(error);
        if (message.includes(text.source)) throw error;
        throw new RangeError(`${message} (by the chat template of ${text.source})`, { cause: error });
      }
    },
  };
}
