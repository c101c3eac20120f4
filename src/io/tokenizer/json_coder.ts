// A tokenizer.json, by transformers.js.

import { PreTrainedTokenizer } from "@huggingface/transformers";
import { spaceStripper, withoutStrips } from "./added_token_spaces.ts";
import type { TextCoder } from "./coder.ts";
import { type TokenizerJson, withExactSpaces, withoutControlTokens } from "./json.ts";
import { pieceDecoder } from "./piece_decoder.ts";

/** What is made of the merges inside transformers.js, which takes half of the time and memory of a tokenizer. */
interface MergeRanks {
  _tokenizer?: { model?: { bpe_ranks?: unknown } };
}

/**
 * The tokenizer for plain text. Where it has the merges of the whole one, as most have, it takes over what was made of
 * them.
 */
function plainTokenizer(whole: PreTrainedTokenizer, json: TokenizerJson, plainJson: TokenizerJson) {
  const config = whole.config;
  const model = (whole as unknown as MergeRanks)._tokenizer?.model;
  if (plainJson.model.merges !== json.model.merges || !(model?.bpe_ranks instanceof Map)) {
    return new PreTrainedTokenizer(plainJson, config);
  }
  const plain = new PreTrainedTokenizer({ ...plainJson, model: { ...plainJson.model, merges: [] } }, config);
  (plain as unknown as { _tokenizer: { model: { bpe_ranks: unknown } } })._tokenizer.model.bpe_ranks =
    model.bpe_ranks;
  return plain;
}

/**
 * @param named control tokens by their role (BOS, EOS, padding), besides the added tokens marked special
 * @throws Error when the file cannot be followed
 */
export function jsonCoder(
  file: TokenizerJson,
  config: Readonly<Record<string, unknown>>,
  named: readonly string[],
): TextCoder {
  const json = { ...withExactSpaces(file), added_tokens: withoutStrips(file.added_tokens) };
  const whole = new PreTrainedTokenizer(json, config);
  const plainJson = withoutControlTokens(json, named);
  const plain = plainTokenizer(whole, json, plainJson);
  const plainTokens = new Set(plainJson.added_tokens.map(({ id }) => id));
  const stripAll = spaceStripper(file.added_tokens);
  const stripPlain = spaceStripper(file.added_tokens.filter(({ id }) => plainTokens.has(id)));
  const added = json.added_tokens.map(({ content }) => content);
  let bare: PreTrainedTokenizer | undefined;
  const withoutAdded = () =>
    bare ??= plainTokenizer(whole, json, withoutControlTokens(json, [...named, ...added]));
  const tokens = tokensById(json);
  const decodePieces = pieceDecoder(json.decoder);
  // As transformers, which ignores clean_up_tokenization_spaces for BPE: it would change the text that is scored.
  const cleaned = { clean_up_tokenization_spaces: false };
  const alone = { add_special_tokens: false };
  return {
    encode: (text) => whole.encode(stripAll(text)),
    encodeRendered: (text) => whole.encode(stripAll(text), alone),
    encodePlain: (text) => plain.encode(stripPlain(text), alone),
    encodeAsText: (text) => withoutAdded().encode(text, alone),
    frontIds: idsInFront(whole),
    decode: (ids) =>
      decodePieces
        ? decodePieces(ids.map((id) => tokens.get(id)!))
        : ids.length === 0
        ? ""
        : whole.decode([...ids], cleaned),
    tokens,
    addedTokens: file.added_tokens,
  };
}

function tokensById(json: TokenizerJson): Map<number, string> {
  const tokens = new Map(Object.entries(json.model.vocab).map(([token, id]) => [id, token]));
  for (const { id, content } of json.added_tokens) tokens.set(id, content);
  return tokens;
}

/** Ids the post-processor puts before a text, found by comparing one with and without them. */
function idsInFront(whole: PreTrainedTokenizer): number[] {
  const bare = whole.encode("a", { add_special_tokens: false });
  const full = whole.encode("a");
  for (let at = 0; at + bare.length <= full.length; at++) {
    if (!bare.every((id, i) => full[at + i] === id)) continue;
    const front = full.slice(0, at);
    if (front.every(Number.isSafeInteger)) return front;
    throw new Error("its post_processor puts a token before a text that is not in the vocabulary");
  }
  throw new Error("its post_processor changes the text's own tokens");
}
