// Text to token ids and back with the tokenizer of a local model folder.
//
// Control tokens ("</s>", "<|eot_id|>") in a user's text stay plain text: encodeWithoutSpecial and encodePrompt use
// a second tokenizer built from the same tokenizer.json without them (no added token to match, no vocabulary entry
// or merge to arrive at), so "</s>" becomes the pieces "<", "/", "s", ">". encode() is for trusted text, and
// encodeRendered for what a chat template made of texts (marked_chat.ts keeps their control tokens plain).

import { PreTrainedTokenizer } from "@huggingface/transformers";
import { resolve } from "node:path";
import { pieceDecoder } from "./piece_decoder.ts";
import { cutToFit } from "../prompts/prompt_cut.ts";
import type { ChatTemplateText } from "./chat_template.ts";
import { readChatTemplate } from "./chat_template_files.ts";
import { readTokenizerFiles } from "./files.ts";
import { type AddedToken, type TokenizerJson, withExactSpaces, withoutControlTokens } from "./json.ts";

export interface EncodedPrompt {
  readonly ids: number[];
  /** The text the ids stand for: the template around the user's text, cut if need be. */
  readonly text: string;
  readonly truncated: boolean;
}

export interface Tokenizer {
  /** Ids as the tokenizer's post-processor makes them (BOS in front for Llama); control tokens are recognised. */
  encode(text: string): number[];
  /** Ids of the text alone, every character plain text: no BOS, and never a control token. */
  encodeWithoutSpecial(text: string): number[];
  /**
   * Ids of template(userText) behind the tokens the post-processor puts in front (BOS), at most `maxPromptLength`
   * ids. When it is too long the user's text loses its end, at a token boundary; the template stays whole. No
   * token is put behind the prompt: an EOS there would end it before the answer.
   * @throws RangeError when the template alone is too long or does not hold the user's text once as it is
   */
  encodePrompt(
    userText: string,
    template: (userText: string) => string,
    maxPromptLength: number,
  ): EncodedPrompt;
  /** Ids of the text alone in which added tokens are recognised: no BOS but one that is written. */
  encodeRendered(text: string): number[];
  /** Ids of the text alone, as of one that no added token was ever given. */
  encodeAsText(text: string): number[];
  /** What the post-processor puts before a text: BOS for Llama. What it puts behind would end a prompt. */
  readonly frontIds: readonly number[];
  /** Characters of the longest token: bounds how much text `n` tokens can stand for. */
  readonly longestToken: number;
  /** Tokens that are matched before a text is split. */
  readonly addedTokens: readonly AddedToken[];
  /** bos_token, eos_token and the like, as templates name them. */
  readonly namedTokens: Readonly<Record<string, string>>;
  /**
   * The chat template that lies with the tokenizer; null where there is none.
   * @throws Error when what lies there is none
   */
  readChatTemplate(): Promise<ChatTemplateText | null>;
  /**
   * Text of ids; ids past the vocabulary (padding rows of a model) have none.
   * @throws RangeError when an id is below 0
   */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  /** undefined when the tokenizer has no BOS. */
  readonly bosId: number | undefined;
  readonly eosId: number;
  /** The EOS where no padding token is set. */
  readonly padId: number;
  /** Largest id + 1. */
  readonly vocabSize: number;
  /** Absolute paths of the tokenizer files, to copy into output folders. */
  readonly files: readonly string[];
}

/**
 * Loads the tokenizer of a local folder (relative paths count from the working directory): tokenizer.json with
 * tokenizer_config.json, or a SentencePiece tokenizer.model. Never the network.
 * @throws Error when a file, which it names, is missing or broken; it says what to do
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const folder = resolve(dir);
  const { json, config, files } = await readTokenizerFiles(folder);
  try {
    return {
      ...wrapTokenizer(withExactSpaces(json), config, files),
      readChatTemplate: () => readChatTemplate(folder, config),
    };
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot load the tokenizer in '${folder}': ${problem}; save it again with transformers`, {
      cause,
    });
  }
}

function wrapTokenizer(
  json: TokenizerJson,
  config: Readonly<Record<string, unknown>>,
  files: readonly string[],
): Omit<Tokenizer, "readChatTemplate"> {
  const full = new PreTrainedTokenizer(json, config);
  const idOf = (key: string) => (full as unknown as Record<string, number | undefined>)[`${key}_token_id`];
  const eosId = idOf("eos");
  if (eosId === undefined) {
    throw new Error(
      `required an "eos_token" in tokenizer_config.json that is in the vocabulary, got ` +
        `${JSON.stringify(config.eos_token)}; without it no completion could end`,
    );
  }
  const named = [full.bos_token, full.eos_token, full.pad_token].filter((token) => typeof token === "string");
  const plain = new PreTrainedTokenizer(withoutControlTokens(json, named), config);
  const encodeWithoutSpecial = (text: string) => plain.encode(text, { add_special_tokens: false });
  const frontIds = idsInFront(full);
  const longest = longestToken(json);
  let bare: PreTrainedTokenizer | undefined;
  const withoutAdded = () =>
    bare ??= new PreTrainedTokenizer(
      withoutControlTokens(json, [...named, ...json.added_tokens.map(({ content }) => content)]),
      config,
    );
  const tokenOf = tokensById(json);
  return {
    encode: (text) => full.encode(text),
    encodeWithoutSpecial,
    encodePrompt: (userText, template, maxPromptLength) =>
      cutToFit(userText, {
        template,
        maxPromptLength,
        frontIds,
        encode: encodeWithoutSpecial,
        longestToken: longest,
      }),
    encodeRendered: (text) => full.encode(text, { add_special_tokens: false }),
    encodeAsText: (text) => withoutAdded().encode(text, { add_special_tokens: false }),
    frontIds,
    longestToken: longest,
    addedTokens: json.added_tokens,
    namedTokens: namedTokens(full, config),
    decode: makeDecode(full, json, tokenOf),
    bosId: idOf("bos"),
    eosId,
    padId: idOf("pad") ?? eosId,
    vocabSize: [...tokenOf.keys()].reduce((largest, id) => Math.max(largest, id), -1) + 1,
    files,
  };
}

function tokensById(json: TokenizerJson): Map<number, string> {
  const tokens = new Map(Object.entries(json.model.vocab).map(([token, id]) => [id, token]));
  for (const { id, content } of json.added_tokens) tokens.set(id, content);
  return tokens;
}

function makeDecode(
  full: PreTrainedTokenizer,
  json: TokenizerJson,
  tokenOf: ReadonlyMap<number, string>,
): Tokenizer["decode"] {
  const special = new Set(json.added_tokens.filter((token) => token.special).map(({ id }) => id));
  const decodePieces = pieceDecoder(json.decoder);
  // As transformers, which ignores clean_up_tokenization_spaces for BPE: it would change the text that is scored.
  const cleaned = { clean_up_tokenization_spaces: false };
  return (ids, { skipSpecialTokens = false } = {}) => {
    const list = Array.from(ids);
    const wrong = list.find((id) => !Number.isSafeInteger(id) || id < 0);
    if (wrong !== undefined) {
      throw new RangeError(`Cannot decode token id ${wrong}: required a whole number >= 0`);
    }
    const shown = list.filter((id) => tokenOf.has(id) && !(skipSpecialTokens && special.has(id)));
    if (decodePieces) return decodePieces(shown.map((id) => tokenOf.get(id)!));
    return shown.length === 0 ? "" : full.decode(shown, cleaned);
  };
}

/** Ids the post-processor puts before a text, found by comparing one with and without them. */
function idsInFront(full: PreTrainedTokenizer): number[] {
  const bare = full.encode("a", { add_special_tokens: false });
  const whole = full.encode("a");
  for (let at = 0; at + bare.length <= whole.length; at++) {
    if (bare.every((id, i) => whole[at + i] === id)) return whole.slice(0, at);
  }
  throw new Error("its post_processor changes the text's own tokens");
}

const NAMED = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/** The tokens by their role; transformers.js pads with the EOS where nothing else is named, which no template means. */
function namedTokens(
  full: PreTrainedTokenizer,
  config: Readonly<Record<string, unknown>>,
): Record<string, string> {
  const token = (name: string) => (full as unknown as Record<string, unknown>)[name];
  const given = NAMED.filter((name) => name !== "pad_token" || (config.pad_token ?? null) !== null);
  const entries = given.map((name) => [name, token(name)]);
  return Object.fromEntries(entries.filter(([, value]) => typeof value === "string"));
}

/** Characters of the longest vocabulary entry: bounds how much text `n` tokens can stand for. */
function longestToken(json: TokenizerJson): number {
  const tokens = [...Object.keys(json.model.vocab), ...json.added_tokens.map((token) => token.content)];
  return tokens.reduce((longest, token) => Math.max(longest, token.length), 1);
}
