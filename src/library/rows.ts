/** Prompts that a program holds itself. */
import { createHash } from "node:crypto";
import type { PromptRow } from "../io/prompts/prompts.ts";

/** The user's words, or a row with them under prompt_key; its other keys are columns that scorers see. */
export type GivenPrompt = string | Readonly<Record<string, unknown>>;

/** A file of prompts, or the prompts themselves. */
export type PromptSource = string | readonly GivenPrompt[];

export interface ReadPrompts {
  /** Of the setting: the path, or a name by the rows' content, so that a run is resumed on the same rows alone. */
  name: string;
  /** undefined where they are read from a file. */
  rows: PromptRow[] | undefined;
}

/**
 * Prompts by the setting that names them.
 * @param what the argument, for messages
 * @throws TypeError when a row has no usable prompt
 * @throws RangeError when there is none
 */
export function promptsOf(source: PromptSource, what: string, promptKey: string): ReadPrompts {
  if (typeof source === "string") return { name: source, rows: undefined };
  if (source.length === 0) throw new RangeError(`${what} is empty; give at least one prompt`);
  const rows = source.map((given, i) => rowOf(given, `${what}[${i}]`, i, promptKey));
  const hash = createHash("sha256").update(JSON.stringify(source)).digest("hex");
  return { name: `${source.length} rows of the program, sha256 ${hash}`, rows };
}

function rowOf(given: GivenPrompt, where: string, index: number, promptKey: string): PromptRow {
  const row = typeof given === "string" ? { [promptKey]: given } : given;
  const { [promptKey]: prompt, ...columns } = row;
  if (typeof prompt === "string" && prompt.trim() !== "" && !/\p{Surrogate}/u.test(prompt)) {
    return { prompt, columns, line: index + 1 };
  }
  throw new TypeError(
    `${where}: need a non-blank, well-formed string, or a row with one under "${promptKey}", got ${
      JSON.stringify(given)?.slice(0, 60)
    }`,
  );
}
