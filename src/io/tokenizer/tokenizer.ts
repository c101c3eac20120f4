// Text to token ids and back with the tokenizer of a local model folder.
//
// Control tokens ("</s>", "<|eot_id|>") in a user's text stay plain text: encodeWithoutSpecial and encodePrompt use
// a second tokenizer built from the same tokenizer.json without them (no added token to match, no vocabulary entry
// or merge to arrive at), so "</s>" becomes the pieces "<", "/", "s", ">". encode() is for trusted text, and
// encodeRendered for what a chat template made of texts (marked_chat.ts keeps their control tokens plain).

import { shortJson, shortLine } from "../../config/parsed_json.ts";
import { join, resolve } from "node:path";
import { messageOf } from "../files/errors.ts";
import { cutToFit } from "../prompts/prompt_cut.ts";
import type { ChatTemplateText } from "./chat_template.ts";
import { readChatTemplate } from "./chat_template_files.ts";
import type { TextCoder } from "./coder.ts";
import { readTokenizerFiles, type TokenizerFiles } from "./files.ts";
import type { AddedToken, TokenizerJson } from "./json.ts";
import { type NamedTokens, namedTokens } from "./named_tokens.ts";
import { addedTokensOf } from "./sentencepiece/added_tokens.ts";
import { ownNames, sentencePieceCoder } from "./sentencepiece/coder.ts";
import type { SentencePieceModel } from "./sentencepiece/model.ts";

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
  /** Added tokens that the model has no row for, and that are therefore plain text. */
  readonly leftOut: readonly AddedToken[];
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
 * Loads the tokenizer of a local folder (relative paths count from the working directory): tokenizer.json, or else a
 * SentencePiece tokenizer.model, with the files beside it. Never the network.
 * @param modelRows vocab_size of the model; where not given, as config.json in the folder has it, if there is one
 * @throws Error when a file, which it names, is missing or broken; it says what to do
 */
export async function loadTokenizer(dir: string, modelRows?: number): Promise<Tokenizer> {
  const folder = resolve(dir);
  const files = await readTokenizerFiles(folder);
  const own = files.modelConfig.vocab_size;
  const rows = modelRows ?? (typeof own === "number" && own > 0 ? own : Infinity);
  const { coder, named, leftOut } = await openCoder(files, { folder, rows });
  const word = coder.addedTokens.find(({ single_word }) => single_word);
  if (word !== undefined) {
    throw new Error(
      `Cannot load the tokenizer '${files.tokensPath}': its added token ${
        shortJson(word.content)
      } counts as a whole ` +
        'word alone ("single_word": true), which is not followed here; set it to false where it is listed',
    );
  }
  const idOf = new Map([...coder.tokens].map(([id, token]) => [token, id]));
  const roleId = (key: keyof NamedTokens) => named[key] === undefined ? undefined : idOf.get(named[key]);
  const eosId = roleId("eos_token");
  if (eosId === undefined) {
    throw new Error(
      `Cannot load the tokenizer '${files.tokensPath}': required an "eos_token" in tokenizer_config.json (or ` +
        "special_tokens_map.json, or an eos_token_id in config.json) that is in the vocabulary, got " +
        `${shortJson(named.eos_token ?? files.config.eos_token ?? null)}; without it no completion could end`,
    );
  }
  const roles = { eosId, bosId: roleId("bos_token"), padId: roleId("pad_token") ?? eosId };
  return {
    ...tokenizerOf(coder),
    ...roles,
    namedTokens: named,
    leftOut,
    files: files.files,
    readChatTemplate: () => readChatTemplate(folder, files.config),
  };
}

interface OpenCoder {
  coder: TextCoder;
  /** Its tokens with a role. */
  named: NamedTokens;
  leftOut: AddedToken[];
}

interface Place {
  folder: string;
  /** Rows of the model's embedding. */
  rows: number;
}

function openCoder(files: TokenizerFiles, place: Place): OpenCoder | Promise<OpenCoder> {
  return "json" in files.tokens
    ? openJson(files.tokens.json, files, place)
    : openSentencePiece(files.tokens.sentencePiece, files, place);
}

/** Added tokens with a row in the model, and those without. */
function splitByRows(
  tokens: readonly AddedToken[],
  rows: number,
): [kept: AddedToken[], leftOut: AddedToken[]] {
  return [tokens.filter(({ id }) => id < rows), tokens.filter(({ id }) => id >= rows)];
}

function openSentencePiece(
  model: SentencePieceModel,
  files: TokenizerFiles,
  { folder, rows }: Place,
): OpenCoder {
  const named = namedTokens({
    ...files,
    tokenOf: (id) => model.pieces[id]?.text,
    isControl: () => false,
    defaults: ownNames(model),
  });
  const all = addedTokensOf(model, files, named, join(folder, "tokenizer.model"));
  const [kept, leftOut] = splitByRows(all, rows);
  return { coder: sentencePieceCoder(model, kept, { config: files.config, named }, folder), named, leftOut };
}

async function openJson(
  whole: TokenizerJson,
  files: TokenizerFiles,
  { rows }: Place,
): Promise<OpenCoder> {
  const [kept, leftOut] = splitByRows(whole.added_tokens, rows);
  const json = { ...whole, added_tokens: kept };
  const contents = new Map(kept.map(({ id, content }) => [id, content]));
  const special = new Set(kept.filter((token) => token.special).map(({ content }) => content));
  const vocabTokenOf = (id: number) =>
    Object.entries(json.model.vocab).find(([, other]) => other === id)?.[0];
  const named = namedTokens({
    ...files,
    tokenOf: (id) => contents.get(id) ?? vocabTokenOf(id),
    isControl: (text) => special.has(text),
  });
  const roles = [named.bos_token, named.eos_token, named.pad_token].filter((token) => token !== undefined);
  // transformers.js takes half a second to load, which what fails before a tokenizer is read need not wait for.
  const { jsonCoder } = await import("./json_coder.ts");
  try {
    return { coder: jsonCoder(json, { ...files.config, ...named }, roles), named, leftOut };
  } catch (cause) {
    const problem = shortLine(messageOf(cause));
    throw new Error(
      `Cannot load the tokenizer '${files.tokensPath}' with the tokenizer_config.json beside it: ${problem}; ` +
        "save it again with transformers",
      { cause },
    );
  }
}

function tokenizerOf(coder: TextCoder) {
  const { tokens, addedTokens, frontIds } = coder;
  const specialIds = new Set(addedTokens.filter(({ special }) => special).map(({ id }) => id));
  let vocabSize = 0;
  let longestToken = 1;
  for (const [id, token] of tokens) {
    vocabSize = Math.max(vocabSize, id + 1);
    longestToken = Math.max(longestToken, token.length);
  }
  return {
    encode: coder.encode,
    encodeRendered: coder.encodeRendered,
    encodeWithoutSpecial: coder.encodePlain,
    encodeAsText: coder.encodeAsText,
    encodePrompt: (userText: string, template: (userText: string) => string, maxPromptLength: number) =>
      cutToFit(userText, { template, maxPromptLength, frontIds, encode: coder.encodePlain, longestToken }),
    decode(ids: ArrayLike<number>, { skipSpecialTokens = false } = {}) {
      const list = Array.from(ids);
      const wrong = list.find((id) => !Number.isSafeInteger(id) || id < 0);
      if (wrong !== undefined) {
        throw new RangeError(`Cannot decode token id ${wrong}: required a whole number >= 0`);
      }
      return coder.decode(list.filter((id) => tokens.has(id) && !(skipSpecialTokens && specialIds.has(id))));
    },
    vocabSize,
    longestToken,
    frontIds,
    addedTokens,
  };
}
