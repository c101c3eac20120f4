/** Which tokens end a completion. */
import type { RunConfig } from "../config/sweep.ts";
import { type ChatTemplate, compileChatTemplate } from "../io/tokenizer/chat_template.ts";
import { readNamedTemplate } from "../io/tokenizer/chat_template_files.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { turnEndOf } from "../io/tokenizer/turn_end.ts";

/** A token at which completions end. */
export interface EndToken {
  id: number;
  /** Its text; "" where the tokenizer has none. */
  token: string;
}

export interface EndSources {
  /** eos_token_ids of the settings; null for all that the model's files name. */
  wanted: readonly number[] | null;
  /** Ids that a file names, by the file. */
  named: ReadonlyMap<string, readonly number[]>;
  tokenizer: Tokenizer;
  /** Rows of the model's head: ids beyond are never sampled. */
  vocabSize: number;
  onMessage?(text: string): void;
}

const listed = (ids: readonly number[]) => ids.join(", ");

/**
 * The end tokens of a policy: eos_token_ids, or else those of config.json, generation_config.json and tokenizer
 * together, since models name their ends in different ones of these. What a file names beyond the vocabulary is left
 * out, and said.
 * @throws RangeError when eos_token_ids holds an id beyond the vocabulary, or no end is left
 */
export function endTokens({ wanted, named, tokenizer, vocabSize, onMessage }: EndSources): EndToken[] {
  const isSampled = (id: number) => Number.isSafeInteger(id) && id >= 0 && id < vocabSize;
  const ids = new Set<number>();
  if (wanted !== null) {
    const wrong = wanted.filter((id) => !isSampled(id));
    if (wrong.length > 0) {
      throw new RangeError(
        `eos_token_ids holds ${listed(wrong)}, but the model's ids are 0 to ${vocabSize - 1}: ` +
          "take the ids from tokenizer.json, or set null for those that the model's files name",
      );
    }
    wanted.forEach((id) => ids.add(id));
  } else {
    for (const [file, all] of [...named, ["the tokenizer", [tokenizer.eosId]] as const]) {
      const beyond = all.filter((id) => !isSampled(id));
      all.filter(isSampled).forEach((id) => ids.add(id));
      if (beyond.length === 0) continue;
      onMessage?.(
        `${file} ends completions at ${listed(beyond)}, beyond the model's ${vocabSize} ids: left out`,
      );
    }
  }
  if (ids.size === 0) {
    throw new RangeError(
      "No completion could end: no file of the model names an end token; set eos_token_ids",
    );
  }
  return [...ids].map((id) => ({ id, token: tokenizer.decode([id]) }));
}

/** As people read it: `2 "</s>", 7 "<|im_end|>"`. */
export function endsText(ends: readonly EndToken[]): string {
  return ends.map(({ id, token }) => `${id} ${JSON.stringify(token)}`).join(", ");
}

/** Of the settings, what says which chat template is used. */
type ChatSettings = Pick<RunConfig, "chat_template" | "chat_template_kwargs">;

/** The chat template of the settings; null where prompts are put into none. */
async function chatTemplateOf(
  tokenizer: Tokenizer,
  { chat_template }: ChatSettings,
): Promise<ChatTemplate | null> {
  if (chat_template === "beaver" || chat_template === "none") return null;
  const text = await readNamedTemplate(chat_template) ?? await tokenizer.readChatTemplate();
  return text === null ? null : compileChatTemplate(text);
}

/**
 * What is to be known where the chat template closes an answer with a token at which completions do not end, as with
 * base models that were given a chat template: they would go on after their answer. null where all is well.
 * @throws Error when the template cannot be read
 */
export async function openTurnNotice(
  tokenizer: Tokenizer,
  ends: readonly EndToken[],
  settings: ChatSettings,
): Promise<string | null> {
  const template = await chatTemplateOf(tokenizer, settings);
  if (template === null) return null;
  const variables = { ...tokenizer.namedTokens, ...settings.chat_template_kwargs };
  const close = turnEndOf(template, tokenizer.addedTokens, variables);
  if (close === undefined || ends.some(({ id }) => id === close.id)) return null;
  const all = [...ends.map(({ id }) => id), close.id];
  return `The chat template closes an answer with ${
    JSON.stringify(close.content)
  } (${close.id}), but completions end ` +
    `at ${endsText(ends)}: answers may run on. Set eos_token_ids: [${listed(all)}] to end them there too`;
}
