// Ids of a text by a SentencePiece model, as sentencepiece's own Encode() gives them. Pure.

import { bpeSplit } from "./bpe.ts";
import { byteToken, PIECE_TYPE, type SentencePieceModel } from "./model.ts";
import { normalizerOf } from "./normalize.ts";
import { unigramSplit } from "./unigram.ts";

/** Ids of plain text. The caller says whether a space is put before it (where the model has one put). */
export type PieceEncoder = (text: string, addsSpace: boolean) => number[];

export function pieceEncoder(model: SentencePieceModel): PieceEncoder {
  const { pieces, algorithm, byteFallback, addDummyPrefix } = model;
  const { normal, userDefined, unused, unknown } = PIECE_TYPE;
  const matched: number[] = algorithm === "BPE" ? [normal, userDefined, unused] : [normal, userDefined];
  const idOf = new Map(pieces.flatMap(({ text, type }, id) => matched.includes(type) ? [[text, id]] : []));
  const unknownId = pieces.findIndex(({ type }) => type === unknown);
  const allIds = new Map(pieces.map(({ text }, id) => [text, id]));
  const byteIds = Array.from({ length: 256 }, (_, byte) => allIds.get(byteToken(byte))!);
  const normalize = normalizerOf(model);
  const split = algorithm === "BPE" ? bpeSplit(model) : unigramSplit(model);
  const utf8 = new TextEncoder();
  return (text, addsSpace) => {
    const ids: number[] = [];
    let isUnknown = false;
    for (const part of split(normalize(text, addDummyPrefix && addsSpace))) {
      const id = idOf.get(part);
      const wasUnknown = isUnknown;
      isUnknown = id === undefined && !byteFallback;
      if (id !== undefined) ids.push(id);
      else if (byteFallback) { for (const byte of utf8.encode(part)) ids.push(byteIds[byte]); }
      else if (!wasUnknown) ids.push(unknownId); // several unknown characters in a row are one
    }
    return ids;
  };
}
