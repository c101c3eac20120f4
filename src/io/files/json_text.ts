// JSON that is changed and written again, with every number as it was spelled: Python tells 30.0 from 30, and
// transformers refuses the one where it expects the other.

import { parsedJson } from "../../config/parsed_json.ts";
import type { JsonObject } from "./json_object.ts";

/** A string, or a number. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Begins the strings that stand for numbers meanwhile: no text holds it by chance. */
const MARK = "\u0000number ";
const MARKED = new RegExp(`"${JSON.stringify(MARK).slice(1, -1).replaceAll("\\", "\\\\")}([^"]+)"`, "g");

/** Whether JavaScript spells a number otherwise. */
const isRespelled = (token: string) => token[0] !== '"' && String(Number(token)) !== token;

/**
 * The text of a JSON object after a change.
 * @param change sees 30.0, which JavaScript would write as 30, as a marked string: it may move such values, but not
 *   read them
 * @throws SyntaxError when the text is no JSON
 */
export function changedJson(text: string, change: (json: JsonObject) => unknown): string {
  const marked = text.replace(TOKEN, (token) => isRespelled(token) ? JSON.stringify(MARK + token) : token);
  return JSON.stringify(change(parsedJson(marked) as JsonObject), null, 2).replace(MARKED, "$1");
}
