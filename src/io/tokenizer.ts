// Text to token ids and back with the tokenizer of a local model folder.
//
// Control tokens ("</s>", "<|eot_id|>") in a user's text stay plain text: encodeWithoutSpecial and encodePrompt use
// a second tokenizer built from the same tokenizer.json without them (no added token to match, no vocabulary entry
// or merge to arrive at), so "</s>" becomes the pieces "<", "/", "s", ">". encode() is for trusted text.

import { AutoTokenizer, env, type PreTrainedTokenizer } from "@huggingface/transformers";
import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { systemCode } from "./atomic_files.ts";
import { cutToFit } from "./prompt_cut.ts";
import { parseTokenizerJson, type TokenizerJson, withoutControlTokens } from "./tokenizer_json.ts";

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
   * Throws RangeError when the template alone is too long or does not hold the user's text once as it is.
   */
  encodePrompt(
    userText: string,
    template: (userText: string) => string,
    maxPromptLength: number,
  ): EncodedPrompt;
  /** Text of ids; ids past the vocabulary (padding rows of a model) have none. Throws RangeError below 0. */
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

const REQUIRED_FILES = ["tokenizer.json", "tokenizer_config.json"];
const OPTIONAL_FILES = [
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
];

/**
 * Loads the tokenizer of a local folder (relative paths count from the working directory); never the network.
 * Throws Error naming the missing or broken file and what to do.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const folder = resolve(dir); // a relative path would be taken for a model id of the hub
  const json = parseTokenizerJson(
    await readTokenizerFile(folder, "tokenizer.json"),
    join(folder, "tokenizer.json"),
  );
  const config = JSON.parse(await readTokenizerFile(folder, "tokenizer_config.json")) as Record<
    string,
    unknown
  >;
  // The library's caches would serve an older copy of a folder that was rewritten.
  Object.assign(env, { allowRemoteModels: false, useFSCache: false, useBrowserCache: false });
  let full: PreTrainedTokenizer;
  try {
    full = await AutoTokenizer.from_pretrained(folder, { local_files_only: true });
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot load the tokenizer in '${folder}': ${problem}; save it again with transformers`, {
      cause,
    });
  }
  return wrapTokenizer(full, json, config, folder, await filesIn(folder));
}

async function readTokenizerFile(folder: string, name: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(join(folder, name), "utf8");
  } catch (cause) {
    throw new Error(
      `Cannot load the tokenizer in '${folder}': required ${REQUIRED_FILES.join(" and ")}, but ${name} ` +
        `${
          systemCode(cause) === "ENOENT" ? "is missing" : `cannot be read (${systemCode(cause) ?? cause})`
        }; ` +
        `save it with tokenizer.save_pretrained() of transformers (fast tokenizer)`,
      { cause },
    );
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return text;
    throw new SyntaxError("it holds no object");
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot load the tokenizer: '${join(folder, name)}' is required to be a JSON object: ${problem}`,
      {
        cause,
      },
    );
  }
}

async function filesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const name of [...REQUIRED_FILES, ...OPTIONAL_FILES]) {
    const path = join(folder, name);
    if (await access(path).then(() => true, () => false)) files.push(path);
  }
  return files;
}

function wrapTokenizer(
  full: PreTrainedTokenizer,
  json: TokenizerJson,
  config: Record<string, unknown>,
  folder: string,
  files: readonly string[],
): Tokenizer {
  const idOf = (key: string) => (full as unknown as Record<string, number | undefined>)[`${key}_token_id`];
  const eosId = idOf("eos");
  if (eosId === undefined) {
    throw new Error(
      `Cannot load the tokenizer in '${folder}': required an "eos_token" in tokenizer_config.json that is in the ` +
        `vocabulary, got ${JSON.stringify(config.eos_token)}; without it no completion could end`,
    );
  }
  // The same class, so that subclass behaviour is kept.
  const Same = full.constructor as new (json: object, config: object) => PreTrainedTokenizer;
  const named = [full.bos_token, full.eos_token, full.pad_token].filter((token) => typeof token === "string");
  const plain = new Same(withoutControlTokens(json, named), config);
  const encode = (text: string) => full.encode(text);
  const encodeWithoutSpecial = (text: string) => plain.encode(text, { add_special_tokens: false });
  const frontIds = idsInFront(full);
  const known = new Set([...Object.values(json.model.vocab), ...json.added_tokens.map((token) => token.id)]);
  const vocabSize = [...known].reduce((largest, id) => Math.max(largest, id), -1) + 1;
  // transformers for Python has this off by default, transformers.js on: it would change the text that is scored.
  const cleanUp = config.clean_up_tokenization_spaces === true;
  return {
    encode,
    encodeWithoutSpecial,
    encodePrompt: (userText, template, maxPromptLength) =>
      cutToFit(userText, template, maxPromptLength, frontIds, encodeWithoutSpecial, longestToken(json)),
    decode: (ids, { skipSpecialTokens = false } = {}) => {
      const list = Array.from(ids);
      const wrong = list.find((id) => !Number.isSafeInteger(id) || id < 0);
      if (wrong !== undefined) {
        throw new RangeError(`Cannot decode token id ${wrong}: required a whole number >= 0`);
      }
      const inVocabulary = list.filter((id) => known.has(id));
      if (inVocabulary.length === 0) return "";
      return full.decode(inVocabulary, {
        skip_special_tokens: skipSpecialTokens,
        clean_up_tokenization_spaces: cleanUp,
      });
    },
    bosId: idOf("bos"),
    eosId,
    padId: idOf("pad") ?? eosId,
    vocabSize,
    files,
  };
}

/** Ids the post-processor puts before a text, found by comparing one with and without them. */
function idsInFront(full: PreTrainedTokenizer): number[] {
  const bare = full.encode("a", { add_special_tokens: false });
  const whole = full.encode("a");
  for (let at = 0; at + bare.length <= whole.length; at++) {
    if (bare.every((id, i) => whole[at + i] === id)) return whole.slice(0, at);
  }
  throw new Error("Cannot use this tokenizer: its post_processor changes the text's own tokens; replace it");
}

/** Characters of the longest vocabulary entry: bounds how much text `n` tokens can stand for. */
function longestToken(json: TokenizerJson): number {
  const tokens = [...Object.keys(json.model.vocab), ...json.added_tokens.map((token) => token.content)];
  return tokens.reduce((longest, token) => Math.max(longest, token.length), 1);
}
