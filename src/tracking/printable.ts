/** Model output is untrusted text: these make it safe to show. */

/**
 * Controls that could move a terminal's cursor, hide text or turn its direction: C0 but for tab and newline,
 * DEL, C1, the line and paragraph separators, and the bidirectional marks, embeddings and isolates.
 */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** The text with each control character spelled out as `\u{1b}`; newlines and tabs stay. */
export function escapeControls(text: string): string {
  return text.toWellFormed().replace(CONTROLS, (control) => `\\u{${control.codePointAt(0)!.toString(16)}}`);
}

/** The first `limit` characters (code points), and how many were left out. */
export function truncateText(text: string, limit: number): string {
  const characters = Array.from(text);
  if (characters.length <= limit) return text;
  return `${characters.slice(0, limit).join("")}… (+${characters.length - limit} characters)`;
}

const HTML_ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** The text as HTML or XML content or attribute value, control characters spelled out. */
export function escapeHtml(text: string): string {
  return escapeControls(text).replace(/[&<>"']/g, (character) => HTML_ENTITIES[character]);
}

/** The text as one cell of a Markdown table; HTML in it stays text. */
export function escapeMarkdownCell(text: string): string {
  const literal = text.replace(/[\\`*_{}[\]()#+!|~-]/g, (character) => `\\${character}`);
  return escapeHtml(literal).replace(/\n/g, "<br>");
}
