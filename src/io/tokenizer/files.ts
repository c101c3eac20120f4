// The tokenizer of a model folder: tokenizer.json as it lies there, or made in memory from a tokenizer.model.

import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../files/errors.ts";
import { refuseLfsPointer } from "../files/lfs_pointer.ts";
import { CHAT_TEMPLATE_FILES } from "./chat_template_files.ts";
import { sentencePieceJson } from "./sentencepiece_json.ts";
import { parseSentencePieceModel } from "./sentencepiece_model.ts";
import { parseTokenizerJson, type TokenizerJson } from "./json.ts";

export interface TokenizerFiles {
  readonly json: TokenizerJson;
  /** tokenizer_config.json, with the tokens that special_tokens_map.json names. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Absolute paths of the tokenizer files, to copy into output folders. */
  readonly files: readonly string[];
}

export const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  ...CHAT_TEMPLATE_FILES,
];

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false);
}

/**
 * The bytes of one file.
 * @throws Error when it is not there; it says what is required of the folder
 */
async function readTokenizerFile(folder: string, name: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(join(folder, name));
    refuseLfsPointer(bytes, join(folder, name));
    return bytes;
  } catch (cause) {
    if (systemCode(cause) === undefined) throw cause;
    const code = systemCode(cause);
    throw new Error(
      `Cannot load the tokenizer in '${folder}': required tokenizer.json and tokenizer_config.json, or a ` +
        `SentencePiece tokenizer.model, but ${name} ` +
        `${code === "ENOENT" ? "is missing" : `cannot be read (${code ?? cause})`}; ` +
        "save it with tokenizer.save_pretrained() of transformers",
      { cause },
    );
  }
}

async function readJsonObject(folder: string, name: string): Promise<Record<string, unknown>> {
  const bytes = await readTokenizerFile(folder, name);
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      throw new SyntaxError("it holds no object");
    }
    return parsed as Record<string, unknown>;
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot load the tokenizer: '${join(folder, name)}' is required to be a JSON object: ${problem}`,
      { cause },
    );
  }
}

async function readOptionalJson(folder: string, name: string): Promise<Record<string, unknown>> {
  return await isThere(join(folder, name)) ? await readJsonObject(folder, name) : {};
}

/** As transformers: special_tokens_map.json counts where tokenizer_config.json has no "added_tokens_decoder". */
async function withNamedTokens(folder: string, config: Record<string, unknown>) {
  if (config.added_tokens_decoder !== undefined) return config;
  const map = Object.entries(await readOptionalJson(folder, "special_tokens_map.json"))
    .map(([key, token]) => {
      const isToken = typeof token === "object" && token !== null && !Array.isArray(token);
      return [key, isToken && "content" in token ? token.content : token];
    });
  return { ...config, ...Object.fromEntries(map) };
}

/** @throws Error when a file, which it names, is missing or broken; it says what to do */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const path = (name: string) => join(folder, name);
  const there = await Promise.all(TOKENIZER_FILES.map((name) => isThere(path(name))));
  const files = TOKENIZER_FILES.filter((_, i) => there[i]).map(path);
  if (!files.includes(path("tokenizer.json")) && files.includes(path("tokenizer.model"))) {
    const model = parseSentencePieceModel(
      await readTokenizerFile(folder, "tokenizer.model"),
      path("tokenizer.model"),
    );
    const config = await withNamedTokens(folder, await readOptionalJson(folder, "tokenizer_config.json"));
    const addedTokens = await readOptionalJson(folder, "added_tokens.json");
    return { ...sentencePieceJson(model, { config, addedTokens }, path("tokenizer.model")), files };
  }
  const json = parseTokenizerJson(await readJsonObject(folder, "tokenizer.json"), path("tokenizer.json"));
  const config = await withNamedTokens(folder, await readJsonObject(folder, "tokenizer_config.json"));
  return { json, config, files };
}
