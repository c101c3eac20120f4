// Reads prompts from JSON Lines. Every row is used or named in an error; none is dropped.

import { readFile } from "node:fs/promises";
import { explainFsError } from "../files/errors.ts";

/** One prompt and the line (from 1) of the file it came from. */
export interface PromptRow {
  readonly prompt: string;
  readonly line: number;
  /** What else the row holds. */
  readonly columns: Readonly<Record<string, unknown>>;
}

export interface ReadPromptsOptions {
  /** Key of the row that holds the user's text. */
  readonly promptKey: string;
  /** Stop after this many rows; all when left out. Rows after it are not looked at. */
  readonly maxSamples?: number;
}

/**
 * Reads one prompt per non-blank line, in file order. A UTF-8 byte order mark and CRLF line ends are accepted.
 * Each error names file and line.
 * @throws RangeError when maxSamples is no whole number >= 1
 * @throws SyntaxError when a line is no JSON or no UTF-8
 * @throws TypeError when a row has no usable prompt
 * @throws Error when the file is missing or empty
 */
export async function readPrompts(path: string, options: ReadPromptsOptions): Promise<PromptRow[]> {
  const { promptKey, maxSamples = Infinity } = options;
  if (maxSamples !== Infinity && !(Number.isSafeInteger(maxSamples) && maxSamples > 0)) {
    throw new RangeError(`Cannot read ${maxSamples} prompts: max_samples must be a whole number above 0`);
  }
  const bytes = await readFile(path).catch((error) => {
    throw explainFsError(error, "read prompts from", path);
  });
  const rows: PromptRow[] = [];
  for (const { text, line } of linesOf(bytes, path)) {
    if (text.trim() === "") continue; // a blank line holds no row
    rows.push({ ...promptOf(text, promptKey, `'${path}', line ${line}`), line });
    if (rows.length === maxSamples) break;
  }
  if (rows.length === 0) {
    throw new Error(
      `Cannot read prompts from '${path}': required at least one JSON row, got none in ${bytes.byteLength} bytes; ` +
        `give a file with one {"${promptKey}": "..."} per line`,
    );
  }
  return rows;
}

/** Lines without their ends; decodes one at a time so that broken UTF-8 has a line number. */
function* linesOf(bytes: Uint8Array, path: string): Generator<{ text: string; line: number }> {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let line = 0;
  for (let start = hasMark ? 3 : 0; start < bytes.length;) {
    line++;
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    let text: string;
    try {
      text = decoder.decode(bytes.subarray(start, end));
    } catch (cause) {
      throw new SyntaxError(
        `Cannot read prompts from '${path}', line ${line}: required UTF-8, got bytes that are not; ` +
          `convert the file, for example with 'iconv -t UTF-8'`,
        { cause },
      );
    }
    yield { text: text.endsWith("\r") ? text.slice(0, -1) : text, line };
    start = end + 1;
  }
}

function promptOf(text: string, promptKey: string, where: string): Omit<PromptRow, "line"> {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`Cannot read prompts from ${where}: required one JSON object, but ${problem}`, {
      cause,
    });
  }
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw new TypeError(
      `Cannot read prompts from ${where}: required a JSON object, got ${preview(row)}; ` +
        `write {"${promptKey}": "..."}`,
    );
  }
  if (!Object.hasOwn(row, promptKey)) {
    const keys = Object.keys(row).slice(0, 20).map((key) => JSON.stringify(key)).join(", ") || "none";
    throw new TypeError(
      `Cannot read prompts from ${where}: required the key ${JSON.stringify(promptKey)}, ` +
        `keys present: ${keys}; ` +
        `set prompt_key to one of them or correct the row`,
    );
  }
  const { [promptKey]: prompt, ...columns } = row as Record<string, unknown>;
  if (typeof prompt !== "string" || prompt.trim() === "" || /\p{Surrogate}/u.test(prompt)) {
    throw new TypeError(
      `Cannot read prompts from ${where}: required a non-blank, well-formed string under ` +
        `${JSON.stringify(promptKey)}, got ${preview(prompt)}; correct or delete the row`,
    );
  }
  return { prompt, columns };
}

function preview(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
