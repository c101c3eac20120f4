// White space beside added tokens: lstrip and rstrip of a token take it along. Pure.
//
// transformers.js takes it as JavaScript's trim() does, with U+FEFF and without U+0085; here it is Unicode's
// White_Space, as in tokenizers. So texts are stripped before transformers.js sees them, and its own strips are off.

import type { AddedToken } from "./json.ts";

/** Matches any of the texts, the longest where several begin at one place; undefined for none. */
export function anyOf(texts: readonly string[], flags = "u"): RegExp | undefined {
  if (texts.length === 0) return undefined;
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  return new RegExp(
    `(${longestFirst.map((text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")).join("|")})`,
    flags,
  );
}

/** Takes out of a text the white space that the tokens in it take along. */
export function spaceStripper(tokens: readonly AddedToken[]): (text: string) => string {
  const pattern = anyOf(tokens.map(({ content }) => content));
  if (pattern === undefined || !tokens.some(({ lstrip, rstrip }) => lstrip || rstrip)) return (text) => text;
  const byContent = new Map(tokens.map((token) => [token.content, token]));
  return (text) => {
    // Text, token, text, token...
    const parts = text.split(pattern);
    for (let i = 1; i < parts.length; i += 2) {
      const { lstrip, rstrip } = byContent.get(parts[i])!;
      if (lstrip) parts[i - 1] = parts[i - 1].replace(/\p{White_Space}+$/u, "");
      if (rstrip) parts[i + 1] = parts[i + 1].replace(/^\p{White_Space}+/u, "");
    }
    return parts.join("");
  };
}

/** The same tokens, which take no white space along. */
export const withoutStrips = (tokens: readonly AddedToken[]): AddedToken[] =>
  tokens.map((token) => ({ ...token, lstrip: false, rstrip: false }));
