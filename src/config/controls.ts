/**
 * Texts of others on a terminal: models, prompts, scorers, hubs and files may hold what moves its cursor. Whatever is
 * printed goes through escapeControls(), in cli/terminal/output.ts. Pure.
 */

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
