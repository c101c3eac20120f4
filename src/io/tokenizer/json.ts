// The parts of a Hugging Face tokenizer.json relied on here, and the same file without control tokens. Pure.
import { shortJson } from "../../config/parsed_json.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
}

/** Fields not listed are passed through to the tokenizer library untouched. */
export interface TokenizerJson {
  readonly model: {
    readonly type?: string;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
    readonly unk_token?: string | null;
  };
  readonly added_tokens: readonly AddedToken[];
  readonly pre_tokenizer?: unknown;
  readonly decoder?: unknown;
}

/**
 * The ids of a Unigram tokenizer.json depend on how its table of replacements is read: tokenizers and sentencepiece
 * differ in it, and transformers.js, which has neither the table nor byte fallback, from both.
 */
function unigramFault(path: string): Error {
  return new Error(
    `Cannot load the tokenizer: '${path}' is required to hold a "BPE" model, got "Unigram", whose ids nothing here ` +
      "gives as tokenizers does; put the SentencePiece tokenizer.model that it was made of into its place",
  );
}

/**
 * Checks the parts used here.
 * @throws Error when one is missing or of another kind; it says what is required
 */
export function parseTokenizerJson(file: Readonly<Record<string, unknown>>, path: string): TokenizerJson {
  const { model, added_tokens = [] } = file as Partial<TokenizerJson>;
  const fault = (required: string) =>
    new Error(
      `Cannot load the tokenizer: '${path}' is required to hold ${required}; save it again with transformers`,
    );
  if (typeof model !== "object" || model === null) throw fault(`"model"`);
  if (model.type === "Unigram") throw unigramFault(path);
  if ((model.type ?? "BPE") !== "BPE") {
    throw fault(`a "BPE" model, as the Llama family has (got ${shortJson(model.type)})`);
  }
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0;
  if (typeof model.vocab !== "object" || model.vocab === null || !Object.values(model.vocab).every(isId)) {
    throw fault(`"model.vocab" of tokens and their ids`);
  }
  if (!Array.isArray(model.merges)) throw fault(`"model.merges"`);
  if (
    !Array.isArray(added_tokens) || !added_tokens.every((t) => isId(t?.id) && typeof t.content === "string")
  ) {
    throw fault(`"added_tokens" with "id" and "content" each`);
  }
  return { ...file, model, added_tokens };
}

/** How GPT-2 and its kin split a text; what "ByteLevel" with "use_regex" means. */
const BYTE_LEVEL_SPLIT = String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

interface PreTokenizer {
  readonly type?: string;
  readonly pretokenizers?: readonly PreTokenizer[];
  readonly use_regex?: boolean;
  readonly add_prefix_space?: boolean;
}

function splitBeforeBytes(step: PreTokenizer): PreTokenizer {
  if (step.pretokenizers) return { ...step, pretokenizers: step.pretokenizers.map(splitBeforeBytes) };
  if (step.type !== "ByteLevel" || step.use_regex === false || step.add_prefix_space === true) return step;
  const split = { type: "Split", pattern: { Regex: BYTE_LEVEL_SPLIT }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [split, { ...step, use_regex: false }] };
}

/**
 * The same tokenizer with the byte-level split spelt out. In transformers.js the built-in one takes \s as JavaScript
 * does, with U+FEFF and without U+0085; in a "Split" it takes it as transformers does.
 */
export function withExactSpaces(json: TokenizerJson): TokenizerJson {
  if (typeof json.pre_tokenizer !== "object" || json.pre_tokenizer === null) return json;
  return { ...json, pre_tokenizer: splitBeforeBytes(json.pre_tokenizer) };
}

/**
 * The same tokenizer for text that must not hold control tokens: none to match, none to merge into.
 * The token for unknown characters stays in the vocabulary, because such characters rightly become it.
 * @param named control tokens by their role (BOS, EOS, padding), besides the added tokens marked special
 */
export function withoutControlTokens(json: TokenizerJson, named: readonly string[]): TokenizerJson {
  const { model, added_tokens } = json;
  const special = added_tokens.filter((token) => token.special).map((token) => token.content);
  const control = new Set([...special, ...named]);
  const holdsControl = [...control].some((token) => Object.hasOwn(model.vocab, token));
  const vocab = holdsControl
    ? Object.fromEntries(Object.entries(model.vocab).filter(([token]) => !control.has(token)))
    : { ...model.vocab };
  const unknown = model.unk_token ?? undefined;
  const unknownId = unknown === undefined
    ? undefined
    : model.vocab[unknown] ?? added_tokens.find((token) => token.content === unknown)?.id;
  if (unknown !== undefined && unknownId !== undefined) vocab[unknown] = unknownId;
  const kept = model.merges.filter((merge) =>
    !control.has(typeof merge === "string" ? merge.replace(" ", "") : merge.join(""))
  );
  const merges = kept.length === model.merges.length ? model.merges : kept;
  return {
    ...json,
    model: { ...model, vocab, merges },
    added_tokens: added_tokens.filter((token) => !control.has(token.content)),
  };
}
