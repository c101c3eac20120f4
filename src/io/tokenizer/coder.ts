// What the two kinds of tokenizer have in common: transformers.js over a tokenizer.json, and our own over a
// SentencePiece tokenizer.model.

import type { AddedToken } from "./json.ts";

export interface TextCoder {
  /** Ids as the tokenizer's post-processor makes them; added tokens are recognised. */
  encode(text: string): number[];
  /** Ids of the text alone in which added tokens are recognised. */
  encodeRendered(text: string): number[];
  /** Ids of the text alone; control tokens are plain text, other added tokens are recognised. */
  encodePlain(text: string): number[];
  /** Ids of the text alone, as of one that no added token was ever given. */
  encodeAsText(text: string): number[];
  /** Ids that the post-processor puts before a text (BOS), or none. */
  readonly frontIds: readonly number[];
  /** Text of ids that are all in `tokens`. */
  decode(ids: readonly number[]): string;
  /** Every token by its id, added ones too. */
  readonly tokens: ReadonlyMap<number, string>;
  /** Tokens that are matched before a text is split. */
  readonly addedTokens: readonly AddedToken[];
}
