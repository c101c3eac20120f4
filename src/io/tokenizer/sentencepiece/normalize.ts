// How a SentencePiece model writes a text before it splits it (normalizer.cc of sentencepiece). Pure.

import { charsmapOf } from "./charsmap.ts";
import { PIECE_TYPE, type SentencePieceModel } from "./model.ts";

/** How a space is written. */
const SPACE = "\u2581";

/** No entry of a table of replacements is longer, in characters. */
const LONGEST_REPLACED = 64;

/** The longest of some pieces that text[at...] begins with; "" for none. */
export type PrefixMatch = (text: string, at: number) => string;

/** Matches the pieces that whoever trained the model defined: a text is never split inside one. */
export function userDefinedMatch({ pieces }: Pick<SentencePieceModel, "pieces">): PrefixMatch {
  const byFirst = new Map<number, string[]>();
  const defined = pieces.filter(({ type }) => type === PIECE_TYPE.userDefined).map(({ text }) => text);
  for (const text of defined.sort((a, b) => b.length - a.length)) {
    const first = text.charCodeAt(0);
    byFirst.set(first, [...byFirst.get(first) ?? [], text]);
  }
  return (text, at) => byFirst.get(text.charCodeAt(at))?.find((piece) => text.startsWith(piece, at)) ?? "";
}

export const characterAt = (text: string, at: number) => String.fromCodePoint(text.codePointAt(at)!);

/** The characters at text[at...] that take `bytes` bytes of UTF-8. */
function charactersOf(text: string, at: number, bytes: number): string {
  let end = at;
  for (let left = bytes; left > 0 && end < text.length;) {
    const point = text.codePointAt(end)!;
    left -= point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    end += point < 0x10000 ? 1 : 2;
  }
  return text.slice(at, end);
}

/** A text in parts: user-defined pieces, what the table replaces, and single characters. */
function partsOf({ charsmap, ...model }: SentencePieceModel): (text: string) => string[] {
  const match = userDefinedMatch(model);
  const replace = charsmap.length > 0 ? charsmapOf(charsmap) : undefined;
  const encoder = new TextEncoder();
  return (text) => {
    const parts: string[] = [];
    for (let at = 0; at < text.length;) {
      const kept = match(text, at);
      const found = kept === ""
        ? replace?.(encoder.encode(text.slice(at, at + LONGEST_REPLACED)), 0)
        : undefined;
      const isReplaced = found !== undefined && found.bytes > 0;
      const taken = isReplaced ? charactersOf(text, at, found.bytes) : kept || characterAt(text, at);
      parts.push(isReplaced ? found.text : taken);
      at += taken.length;
    }
    return parts;
  };
}

/** One space of several, none in front. */
function withoutExtraSpaces(parts: readonly string[]): string {
  let text = "";
  let endsInSpace = true;
  for (const part of parts) {
    const rest: string = endsInSpace ? part.replace(/^ +/, "") : part;
    if (rest === "") continue;
    text += rest;
    endsInSpace = rest.endsWith(" ");
  }
  return text;
}

/** The text as the model splits it. The caller says whether a space is put before it. */
export function normalizerOf(model: SentencePieceModel): (text: string, addsSpace: boolean) => string {
  const split = partsOf(model);
  const isVerbatim = model.charsmap.length === 0;
  return (text, addsSpace) => {
    const whole = text.toWellFormed();
    const wanted = model.removeExtraWhitespaces
      ? withoutExtraSpaces(split(whole))
      : isVerbatim
      ? whole
      : split(whole).join("");
    if (wanted === "") return "";
    const written = (addsSpace ? SPACE : "") + wanted.replaceAll(" ", SPACE);
    return model.removeExtraWhitespaces ? written.replace(/\u2581+$/, "") : written;
  };
}
