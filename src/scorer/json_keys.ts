/** Keys that stand twice in an object: parsers keep the last, and nobody says which was meant. */

/** The first key that stands twice in the outermost object of a JSON text; null where none does. */
export function repeatedKey(text: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  // Strings, brackets and the colon behind a key; all else is values.
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[[{}\]]/gs)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && token.endsWith(":")) {
      const key: string = JSON.parse(token.slice(0, -1));
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return null;
}
