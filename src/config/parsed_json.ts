/** JSON of files and of networks, and what is said of it. Nobody has checked it yet. Pure. */

/** Deeper JSON means no harm to a parser, but to whoever walks or prints it afterwards; no real file has 50. */
const MAX_DEPTH = 200;

/** What opens, closes or hides brackets. */
const BRACKET_OR_STRING = /"(?:[^"\\]|\\.)*"|[[\]{}]/g;

/**
 * The value of a JSON text.
 * @throws SyntaxError when it is none, or nested deeper than 200 lists and objects; it says so in one line
 */
export function parsedJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The engine quotes a piece of the text, line ends included.
    throw new SyntaxError((cause as Error).message.replace(/\s*[\r\n]\s*/g, " "), { cause });
  }
  if (depthOf(text) > MAX_DEPTH) {
    throw new SyntaxError(`lists and objects are nested deeper than ${MAX_DEPTH}`);
  }
  return value;
}

/** A value as JSON in at most `limit` characters and an ellipsis: what a file holds may be long. */
export function shortJson(value: unknown, limit = 80): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > limit ? `${text.slice(0, limit)}...` : text;
}

/** The first line of another program's words, which may quote as much of a file as they like. */
export function shortLine(words: string, limit = 160): string {
  const line = words.split("\n")[0];
  return line.length <= limit ? line : `${line.slice(0, limit)}...`;
}

/** Of valid JSON. */
function depthOf(text: string): number {
  if (text.length < 2 * MAX_DEPTH) return 0;
  let [depth, deepest] = [0, 0];
  for (const [token] of text.matchAll(BRACKET_OR_STRING)) {
    if (token === "[" || token === "{") deepest = Math.max(deepest, ++depth);
    else if (token === "]" || token === "}") depth--;
  }
  return deepest;
}

/**
 * The JSON object that a file is required to hold.
 * @param path named in errors
 * @param remedy what to do where it holds another thing
 * @throws TypeError when it holds none
 */
export function parsedObject(text: string, path: string, remedy: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parsedJson(text);
  } catch (cause) {
    throw new TypeError(`${path}: not valid JSON (${(cause as Error).message}); ${remedy}`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  const found = Array.isArray(value) ? "a list" : JSON.stringify(value).slice(0, 40);
  throw new TypeError(`${path}: required a JSON object, got ${found}; ${remedy}`);
}
