// A SentencePiece model as the tokenizer.json that transformers makes of it (LlamaTokenizer, transformers 5). Pure.

import { PIECE_TYPE, type SentencePieceModel } from "./sentencepiece_model.ts";
import type { AddedToken, TokenizerJson } from "./json.ts";

/** The files that may lie beside a tokenizer.model, parsed; {} where one is missing. */
export interface SentencePieceSettings {
  /** tokenizer_config.json, with the tokens that special_tokens_map.json names. */
  readonly config: Readonly<Record<string, unknown>>;
  /** added_tokens.json: ids by content. */
  readonly addedTokens: Readonly<Record<string, unknown>>;
}

/** LlamaTokenizer's own, where tokenizer_config.json names none (or "", as early conversions of LLaMA did). */
const DEFAULT_NAMED = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };
const NAMED = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/** Content of a token given as text or as an AddedToken object; undefined for anything else. */
function contentOf(token: unknown): string | undefined {
  const content = typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof content === "string" && content !== "" ? content : undefined;
}

/** tokenizer_config.json with every named token as text, LlamaTokenizer's where it names none. */
function namedTokens(config: SentencePieceSettings["config"]): Record<string, string> {
  const named: Record<string, string> = {};
  for (const key of NAMED) {
    const fallback = config[key] === null ? undefined : DEFAULT_NAMED[key as keyof typeof DEFAULT_NAMED];
    const content = contentOf(config[key]) ?? fallback;
    if (content !== undefined) named[key] = content;
  }
  return named;
}

/** Added tokens that the settings give an id, smallest id first; tokenizer_config.json's hide added_tokens.json. */
function declaredTokens({ config, addedTokens }: SentencePieceSettings, special: Set<string>) {
  const decoder = config.added_tokens_decoder;
  const declared = typeof decoder === "object" && decoder !== null
    ? Object.entries(decoder as Record<string, Partial<AddedToken> | null>)
      .map(([id, token]) => ({ ...token, id: Number(id), content: contentOf(token) }))
    : Object.entries(addedTokens).map(([content, id]) => ({ id: Number(id), content, special: false }));
  return declared.sort((a, b) => a.id - b.id).map((token) => ({
    ...token,
    special: token.special === true || special.has(token.content ?? ""),
  }));
}

/**
 * Tokens matched before the text is split: those of the settings, the named ones, and the model's control and
 * user-defined pieces. One that is no piece gets the next free id.
 */
function addedTokensOf(
  model: SentencePieceModel,
  vocab: Readonly<Record<string, number>>,
  settings: SentencePieceSettings,
  named: Record<string, string>,
  path: string,
): AddedToken[] {
  const added = new Map<string, AddedToken>();
  let nextId = model.pieces.length;
  const add = (content: string, special: boolean, flags: Partial<AddedToken> = {}) => {
    if (added.has(content)) return added.get(content)!;
    const { lstrip = false, rstrip = false, single_word = false } = flags;
    const id = Object.hasOwn(vocab, content) ? vocab[content] : nextId++;
    const token = { id, content, single_word, lstrip, rstrip, normalized: false, special };
    added.set(content, token);
    return token;
  };
  const lists = [settings.config.additional_special_tokens, settings.config.extra_special_tokens];
  const listed = lists.flatMap((list) => Array.isArray(list) ? list.map(contentOf) : []);
  const special = new Set([...Object.values(named), ...listed.filter((content) => content !== undefined)]);
  for (const token of declaredTokens(settings, special)) {
    const got = token.content === undefined ? undefined : add(token.content, token.special, token).id;
    if (got === token.id) continue;
    throw new Error(
      `Cannot load the tokenizer: '${path}' has ${model.pieces.length} pieces, so that the added token ` +
        `${JSON.stringify(token.content)} is required to have id ${got}; ` +
        `the files beside it say ${token.id}. ` +
        "Take all files of the tokenizer from one model",
    );
  }
  for (const content of Object.values(named)) add(content, true);
  for (const { text, type } of model.pieces) {
    if (type === PIECE_TYPE.control || type === PIECE_TYPE.userDefined) {
      add(text, type === PIECE_TYPE.control);
    }
  }
  return [...added.values()].sort((a, b) => a.id - b.id);
}

/**
 * Every way to put a piece together from two pieces, in the order of the pieces' ids (which is the order of their
 * scores), the shortest left part first.
 */
function mergesOf(vocab: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const piece of vocab.keys()) {
    const characters = Array.from(piece);
    let left = "";
    for (const character of characters.slice(0, -1)) {
      left += character;
      const right = piece.slice(left.length);
      if (vocab.has(left) && vocab.has(right)) merges.push([left, right]);
    }
  }
  return merges;
}

function textSteps(config: SentencePieceSettings["config"]) {
  const prefix = config.add_prefix_space !== false;
  const scheme = config.legacy === true ? "always" : "first";
  return {
    normalizer: null,
    pre_tokenizer: {
      type: "Metaspace",
      replacement: "\u2581",
      prepend_scheme: prefix ? scheme : "never",
      split: false,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
  };
}

function postProcessor(front: readonly AddedToken[], back: readonly AddedToken[]) {
  const specialAs = (tokens: readonly AddedToken[], type_id: number) =>
    tokens.map(({ content }) => ({ SpecialToken: { id: content, type_id } }));
  const around = (id: string, type_id: number) => [
    ...specialAs(front, type_id),
    { Sequence: { id, type_id } },
    ...specialAs(back, type_id),
  ];
  const used = [...front, ...back].map(({ id, content }) =>
    [content, { id: content, ids: [id], tokens: [content] }] as const
  );
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(used),
  };
}

/**
 * The tokenizer.json and the tokenizer_config.json of a folder that has neither, or only the second.
 *
 * Differs from transformers 5.23 in one point: without an `add_bos_token` a BOS is put in front, as its
 * documentation and every earlier version say; 5.23 itself then puts none.
 *
 * @param path of tokenizer.model, named in errors
 * @throws Error when the settings contradict the model
 */
export function sentencePieceJson(
  model: SentencePieceModel,
  settings: SentencePieceSettings,
  path: string,
): { json: TokenizerJson; config: Record<string, unknown> } {
  const { config } = settings;
  if (!model.addDummyPrefix && config.add_prefix_space !== false) {
    throw new Error(
      `Cannot load the tokenizer: '${path}' puts no space before a text; ` +
        `set "add_prefix_space": false in tokenizer_config.json`,
    );
  }
  const ids = new Map(model.pieces.map(({ text }, id) => [text, id]));
  const vocab = Object.fromEntries(ids);
  const named = namedTokens(config);
  const added_tokens = addedTokensOf(model, vocab, settings, named, path);
  const around = (key: string, wanted: boolean) =>
    added_tokens.filter(({ content }) => wanted && content === named[key]);
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens,
    ...textSteps(config),
    post_processor: postProcessor(
      around("bos_token", config.add_bos_token !== false),
      around("eos_token", config.add_eos_token === true),
    ),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesOf(ids),
    },
  };
  return { json, config: { ...config, ...named } };
}
