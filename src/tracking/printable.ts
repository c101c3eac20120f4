/** Model output is untrusted text: these make it safe to show. */
import { escapeControls } from "../config/controls.ts";

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
