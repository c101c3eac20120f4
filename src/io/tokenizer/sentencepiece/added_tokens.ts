// The tokens that the files beside a tokenizer.model add to its pieces. Pure.

import { shortJson } from "../../../config/parsed_json.ts";
import type { AddedToken } from "../json.ts";
import { contentOf, type NamedTokens } from "../named_tokens.ts";
import { PIECE_TYPE, type SentencePieceModel } from "./model.ts";

/** The files that may lie beside a tokenizer.model, parsed; {} where one is missing. */
export interface SentencePieceSettings {
  /** tokenizer_config.json, with the tokens that special_tokens_map.json names. */
  readonly config: Readonly<Record<string, unknown>>;
  /** added_tokens.json: ids by content. */
  readonly addedTokens: Readonly<Record<string, unknown>>;
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
 * Tokens that are matched before the text is split, smallest id first: those of the settings, the named ones, and the
 * model's control pieces. One that is no piece gets the next free id.
 * @param path of tokenizer.model, named in errors
 * @throws Error when the settings contradict the model
 */
export function addedTokensOf(
  model: SentencePieceModel,
  settings: SentencePieceSettings,
  named: NamedTokens,
  path: string,
): AddedToken[] {
  const pieceIds = new Map(model.pieces.map(({ text }, id) => [text, id]));
  const added = new Map<string, AddedToken>();
  let nextId = model.pieces.length;
  const add = (content: string, special: boolean, flags: Partial<AddedToken> = {}) => {
    if (added.has(content)) return added.get(content)!;
    const { lstrip = false, rstrip = false, single_word = false } = flags;
    const id = pieceIds.get(content) ?? nextId++;
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
        `${shortJson(token.content)} is required to have id ${got}; ` +
        `tokenizer_config.json, special_tokens_map.json or added_tokens.json beside it says ${token.id}. ` +
        "Take all files of the tokenizer from one model",
    );
  }
  for (const content of Object.values(named)) add(content, true);
  for (const { text, type } of model.pieces) {
    if (type === PIECE_TYPE.control) add(text, true);
  }
  return [...added.values()].sort((a, b) => a.id - b.id);
}
