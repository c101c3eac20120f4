// Reads prompts from files of rows. Every row is used, or told of with what is wrong.

import type { Message } from "../../rl/conversation.ts";
import { isJsonObject } from "../files/json_object.ts";
import type { RowPrompt } from "./prompt_format.ts";
import { preview, type RawRow, rowProblem } from "./row.ts";
import { rowsOfFile } from "./row_files.ts";

/** One prompt, and where it came from. */
export interface PromptRow {
  readonly prompt: RowPrompt;
  /** Its row, as "'prompts.jsonl', line 3". */
  readonly place: string;
  /** What else the row holds. */
  readonly columns: Readonly<Record<string, unknown>>;
}

export interface ReadPromptsOptions {
  /** Key of the row that holds the user's text or the conversation. */
  readonly promptKey: string;
  /** Stop after this many good rows; all when left out. Rows after it are not looked at. */
  readonly maxSamples?: number;
  /** Told of a row that cannot be used, which is then left out; such a row is thrown where this is left out. */
  readonly onBadRow?: (problem: Error) => void;
  /** Bytes of a file read at once. */
  readonly pieceBytes?: number;
  /** Told of the SHA-256 of each file that rows were read from, in their order. */
  readonly onSha256?: (sha256: string) => void;
}

/** What a row must hold, in words. */
const wanted = (promptKey: string) => `{"${promptKey}": "..."}`;

/**
 * Reads the prompts of one file, or of several as of one, in their order: JSON Lines (byte order marks, CRLF and blank
 * lines are accepted), a JSON array, either gzipped, or Parquet. Each error names file and row.
 * @throws RangeError when maxSamples is no whole number >= 1
 * @throws SyntaxError when a row is no JSON or no UTF-8
 * @throws TypeError when a row has no usable prompt
 * @throws Error when a file is missing, empty or broken
 */
export async function readPrompts(
  files: string | readonly string[],
  options: ReadPromptsOptions,
): Promise<PromptRow[]> {
  const { promptKey, maxSamples = Infinity, onBadRow, pieceBytes, onSha256 } = options;
  if (maxSamples !== Infinity && !(Number.isSafeInteger(maxSamples) && maxSamples > 0)) {
    throw new RangeError(`Cannot read ${maxSamples} prompts: max_samples must be a whole number above 0`);
  }
  const paths = typeof files === "string" ? [files] : files;
  const rows: PromptRow[] = [];
  let bad = 0;
  for (const path of paths) {
    for await (const raw of rowsOfFile(path, { pieceBytes, onSha256 })) {
      try {
        rows.push(promptOf(raw, promptKey));
      } catch (error) {
        if (onBadRow === undefined) throw error;
        bad++;
        onBadRow(error as Error);
      }
      if (rows.length === maxSamples) return rows;
    }
  }
  if (rows.length > 0) return rows;
  const found = bad === 0 ? "no row" : `${bad} rows, of which none can be used`;
  throw new Error(
    rowProblem(
      paths.map((path) => `'${path}'`).join(", "),
      `required at least one JSON row, got ${found}; give a file with one ${wanted(promptKey)} per line`,
    ),
  );
}

/**
 * The prompt of one row.
 * @throws TypeError when it holds no usable prompt
 */
export function promptOf(raw: RawRow, promptKey: string): PromptRow {
  const { place } = raw;
  const fail = (problem: string) => new TypeError(rowProblem(place, problem));
  const row = raw.read();
  if (!isJsonObject(row)) {
    throw fail(`required a JSON object, got ${preview(row)}; write ${wanted(promptKey)}`);
  }
  const key = !Object.hasOwn(row, promptKey) && "messages" in row && Array.isArray(row.messages)
    ? "messages"
    : promptKey;
  if (!Object.hasOwn(row, key)) {
    const keys = Object.keys(row).slice(0, 20).map(preview).join(", ") || "none";
    throw fail(
      `required the key ${JSON.stringify(key)}, keys present: ${keys}; ` +
        "set prompt_key to one of them or correct the row",
    );
  }
  const { [key]: value, ...columns } = row as Record<string, unknown>;
  const prompt = isJsonObject(value) && Array.isArray(value.messages) ? value.messages : value;
  if (Array.isArray(prompt)) return { prompt: conversationOf(prompt, key, fail), place, columns };
  if (!isText(prompt) || prompt.trim() === "") {
    throw fail(
      `required a non-blank, well-formed string or a list of messages under ${JSON.stringify(key)}, ` +
        `got ${preview(prompt)}; correct or delete the row`,
    );
  }
  return { prompt, place, columns };
}

const isText = (value: unknown): value is string =>
  typeof value === "string" && !/\p{Surrogate}/u.test(value);

/** A list of {"role", "content"} that ends with what the user asks. */
function conversationOf(
  messages: readonly unknown[],
  key: string,
  fail: (problem: string) => Error,
): readonly Message[] {
  const under = `under ${JSON.stringify(key)}`;
  if (messages.length === 0) throw fail(`required at least one message ${under}, got []; delete the row`);
  const checked = messages.map((message, i) => {
    if (!isJsonObject(message) || !isText(message.role) || !isText(message.content)) {
      throw fail(
        `required a non-blank, well-formed string or messages {"role": "user", "content": "..."} ${under}, ` +
          `got ${preview(message)} as message ${i + 1}; correct or delete the row`,
      );
    }
    return message as Record<string, unknown> & Message;
  });
  const { role, content } = checked[checked.length - 1];
  if (role !== "user" || content.trim() === "") {
    throw fail(
      `required messages ${under} that end with a non-blank one of the user, got ${
        preview({ role, content })
      } ` +
        "last; remove what stands behind the user's message",
    );
  }
  return checked;
}
