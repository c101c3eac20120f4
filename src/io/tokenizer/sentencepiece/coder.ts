// A SentencePiece tokenizer.model with the files beside it: the ids that sentencepiece gives to a text, and around them
// what LlamaTokenizer of transformers 4 made of the tokens that are added to its pieces.

import { anyOf, spaceStripper } from "../added_token_spaces.ts";
import type { TextCoder } from "../coder.ts";
import type { AddedToken } from "../json.ts";
import type { NamedTokens } from "../named_tokens.ts";
import { pieceDecoder } from "../piece_decoder.ts";
import { pieceEncoder } from "./encode.ts";
import { PIECE_TYPE, type SentencePieceModel } from "./model.ts";

/** A text between added tokens, or one of these. */
type Section = string | AddedToken;

/** Splits a text at the tokens in it, without the white space that these take along. */
function splitter(tokens: readonly AddedToken[]): (text: string) => Section[] {
  const pattern = anyOf(tokens.map(({ content }) => content));
  if (pattern === undefined) return (text) => [text];
  const strip = spaceStripper(tokens);
  const byContent = new Map(tokens.map((token) => [token.content, token]));
  return (text) =>
    strip(text).split(pattern).map((part, i) => i % 2 === 1 ? byContent.get(part)! : part)
      .filter((section) => section !== "");
}

const decoderOf = (addsSpace: boolean) =>
  pieceDecoder({
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "\u2581" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      ...(addsSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
    ],
  })!;

/** What the files beside a tokenizer.model say. */
export interface CoderSettings {
  /** tokenizer_config.json */
  readonly config: Readonly<Record<string, unknown>>;
  readonly named: NamedTokens;
}

/**
 * A BOS is put in front unless `add_bos_token` is false, as in transformers 4 (5 puts none unless it is true).
 * With `legacy` every part between added tokens gets a space in front, otherwise the text's beginning alone.
 * @param folder named in errors
 * @throws Error when the settings contradict the model
 */
export function sentencePieceCoder(
  model: SentencePieceModel,
  addedTokens: readonly AddedToken[],
  { config, named }: CoderSettings,
  folder: string,
): TextCoder {
  if (!model.addDummyPrefix && config.add_prefix_space === true) {
    throw new Error(
      `Cannot load the tokenizer: tokenizer.model in '${folder}' puts no space before a text, but ` +
        `tokenizer_config.json says "add_prefix_space": true; take both files from one model`,
    );
  }
  const addsSpace = model.addDummyPrefix && config.add_prefix_space !== false;
  const encodePieces = pieceEncoder(model);
  const idsOf = (sections: readonly Section[]) =>
    sections.flatMap((section, i) =>
      typeof section === "string"
        ? encodePieces(section, addsSpace && (i === 0 || config.legacy === true))
        : [section.id]
    );
  const idsNamed = (content: string | undefined) =>
    addedTokens.filter((token) => token.content === content).map(({ id }) => id);
  const frontIds = config.add_bos_token === false ? [] : idsNamed(named.bos_token);
  const backIds = config.add_eos_token === true ? idsNamed(named.eos_token) : [];
  const [splitAll, splitPlain] = [
    splitter(addedTokens),
    splitter(addedTokens.filter(({ special }) => !special)),
  ];
  const tokens = new Map(model.pieces.map(({ text }, id) => [id, text]));
  for (const { id, content } of addedTokens) tokens.set(id, content);
  const decode = decoderOf(addsSpace);
  return {
    encode: (text) => [...frontIds, ...idsOf(splitAll(text)), ...backIds],
    encodeRendered: (text) => idsOf(splitAll(text)),
    encodePlain: (text) => idsOf(splitPlain(text)),
    encodeAsText: (text) => idsOf([text]),
    frontIds,
    decode: (ids) => decode(ids.map((id) => tokens.get(id)!)),
    tokens,
    addedTokens,
  };
}

/** The names of the model's own control pieces, which hold where tokenizer_config.json names none. */
export function ownNames({ pieces, bosId, eosId }: SentencePieceModel): NamedTokens {
  const control = (id: number) => pieces[id]?.type === PIECE_TYPE.control ? pieces[id].text : undefined;
  const unknown = pieces.find(({ type }) => type === PIECE_TYPE.unknown)?.text;
  return { bos_token: control(bosId), eos_token: control(eosId), unk_token: unknown };
}
