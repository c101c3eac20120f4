// Splits a text as a SentencePiece Unigram model does (EncodeOptimized in unigram_model.cc of sentencepiece): into the
// pieces whose scores (log-probabilities) have the greatest sum. In single precision as there: ties depend on it. Pure.

import type { Split } from "./bpe.ts";
import { type Piece, PIECE_TYPE, type SentencePieceModel } from "./model.ts";
import { characterAt } from "./normalize.ts";

/** Below the lowest score, for a character that is no piece. */
const UNKNOWN_PENALTY = 10;
/** Taken from a user-defined piece, which scores as its bytes would as the best pieces. */
const USER_DEFINED_PENALTY = 0.1;

const utf8 = new TextEncoder();

interface Path {
  /** Sum of the scores up to here. */
  score: number;
  /** Where its last piece begins. */
  start: number;
}

/** @returns a function over normalized text */
export function unigramSplit({ pieces }: Pick<SentencePieceModel, "pieces">): Split {
  const { normal, userDefined } = PIECE_TYPE;
  const scored = pieces.filter(({ type }) => type === normal).map(({ score }) => Math.fround(score));
  const least = scored.reduce((a, b) => Math.min(a, b), Infinity);
  const most = scored.reduce((a, b) => Math.max(a, b), -Infinity);
  const unknownScore = Math.fround(least - UNKNOWN_PENALTY);
  const scoreOf = ({ text, type, score }: Piece) =>
    type === userDefined
      ? Math.fround(utf8.encode(text).length * most) - USER_DEFINED_PENALTY
      : Math.fround(score);
  const known = pieces.filter(({ type }) => type === normal || type === userDefined);
  const scores = new Map(known.map((piece) => [piece.text, scoreOf(piece)]));
  const beginnings = beginningsOf(known);

  return (text) => {
    const best: (Path | undefined)[] = new Array(text.length + 1).fill(undefined);
    best[0] = { score: 0, start: -1 };
    const offer = (end: number, start: number, sum: number) => {
      const score = Math.fround(sum);
      if (best[end] === undefined || score > best[end].score) best[end] = { score, start };
    };
    for (let start = 0; start < text.length;) {
      const here = best[start]!.score;
      const character = characterAt(text, start);
      let end = start + character.length;
      let piece = character;
      while (beginnings.has(piece)) {
        const score = scores.get(piece);
        if (score !== undefined) offer(end, start, score + here);
        if (end >= text.length) break;
        const more = characterAt(text, end);
        piece += more;
        end += more.length;
      }
      if (!scores.has(character)) {
        offer(start + character.length, start, unknownScore + here);
      }
      start += character.length;
    }
    const parts: string[] = [];
    for (let end = text.length; end > 0; end = best[end]!.start) {
      parts.push(text.slice(best[end]!.start, end));
    }
    return parts.reverse();
  };
}

/** Every beginning of every piece, in whole characters. */
function beginningsOf(pieces: readonly Piece[]): Set<string> {
  const beginnings = new Set<string>();
  for (const { text } of pieces) {
    let beginning = "";
    for (const character of text) beginnings.add(beginning += character);
  }
  return beginnings;
}
