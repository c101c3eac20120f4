/** Values and texts as short pieces of messages. */

/** A value as a short piece of an error message. */
export function show(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (value === undefined) return "missing";
  return excerpt(JSON.stringify(value) ?? String(value));
}

/** The beginning of a text, on one line, for an error message. */
export function excerpt(text: string, maxChars = 200): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > maxChars ? `${line.slice(0, maxChars)}...` : line;
}
