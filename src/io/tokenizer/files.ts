// The files of a tokenizer in a model's folder, read and checked.

import { join } from "node:path";
import { parsedObject } from "../../config/parsed_json.ts";
import { systemCode } from "../files/errors.ts";
import type { JsonObject } from "../files/json_object.ts";
import { isThere } from "../files/presence.ts";
import { readBytes } from "../files/whole_file.ts";
import { CHAT_TEMPLATE_FILES } from "./chat_template_files.ts";
import { parseTokenizerJson, type TokenizerJson } from "./json.ts";
import { contentOf } from "./named_tokens.ts";
import { parseSentencePieceModel, type SentencePieceModel } from "./sentencepiece/model.ts";

export interface TokenizerFiles {
  /** What says how a text is split: tokenizer.json, or where there is none tokenizer.model. */
  readonly tokens: { readonly json: TokenizerJson } | { readonly sentencePiece: SentencePieceModel };
  /** The path of that one. */
  readonly tokensPath: string;
  /** tokenizer_config.json, with the tokens that special_tokens_map.json names. */
  readonly config: JsonObject;
  /** Whether there is a tokenizer_config.json. */
  readonly hasConfig: boolean;
  /** config.json of the model; {} where there is none. */
  readonly modelConfig: JsonObject;
  /** added_tokens.json: ids by content; {} where there is none. */
  readonly addedTokens: JsonObject;
  /** Absolute paths of the files that go with a model beside its weights and config.json. */
  readonly files: readonly string[];
}

/** Small files of a model that are copied beside every model made of it, those of the tokenizer first. */
export const CARRIED_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  ...CHAT_TEMPLATE_FILES,
  "generation_config.json",
];

const REMEDY = "save it again with tokenizer.save_pretrained() of transformers";

/**
 * The bytes of one file.
 * @throws Error when it is not there; it says what is required of the folder
 */
async function readTokenizerFile(folder: string, name: string): Promise<Uint8Array> {
  try {
    return await readBytes(join(folder, name), "load the tokenizer from");
  } catch (cause) {
    if (systemCode(cause) !== "ENOENT") throw cause;
    throw new Error(
      `Cannot load the tokenizer in '${folder}': required tokenizer.json or a SentencePiece tokenizer.model, but ` +
        `${name} is missing; save it with tokenizer.save_pretrained() of transformers`,
      { cause },
    );
  }
}

async function readJsonObject(folder: string, name: string): Promise<JsonObject> {
  const text = new TextDecoder().decode(await readTokenizerFile(folder, name));
  return parsedObject(text, `Cannot load the tokenizer: '${join(folder, name)}'`, REMEDY);
}

async function readOptionalJson(folder: string, name: string): Promise<JsonObject> {
  return await isThere(join(folder, name)) ? await readJsonObject(folder, name) : {};
}

/** As transformers: special_tokens_map.json counts where tokenizer_config.json has no "added_tokens_decoder". */
async function withNamedTokens(folder: string, config: JsonObject) {
  if (config.added_tokens_decoder !== undefined) return config;
  const map = Object.entries(await readOptionalJson(folder, "special_tokens_map.json"))
    .map(([key, token]) => [key, contentOf(token) ?? token]);
  return { ...config, ...Object.fromEntries(map) };
}

/**
 * Where both are there, tokenizer.json is read: it is what transformers reads.
 * @throws Error when a file, which it names, is missing or broken; it says what to do
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const path = (name: string) => join(folder, name);
  const there = await Promise.all(CARRIED_FILES.map((name) => isThere(path(name))));
  const names = CARRIED_FILES.filter((_, i) => there[i]);
  const usesModel = !names.includes("tokenizer.json") && names.includes("tokenizer.model");
  const tokens = usesModel
    ? {
      sentencePiece: parseSentencePieceModel(
        await readTokenizerFile(folder, "tokenizer.model"),
        path("tokenizer.model"),
      ),
    }
    : { json: parseTokenizerJson(await readJsonObject(folder, "tokenizer.json"), path("tokenizer.json")) };
  return {
    tokens,
    tokensPath: path(usesModel ? "tokenizer.model" : "tokenizer.json"),
    config: await withNamedTokens(folder, await readOptionalJson(folder, "tokenizer_config.json")),
    hasConfig: names.includes("tokenizer_config.json"),
    // Where it is broken, whoever reads the model says so.
    modelConfig: await readOptionalJson(folder, "config.json").catch(() => ({})),
    addedTokens: await readOptionalJson(folder, "added_tokens.json"),
    files: names.map(path),
  };
}
