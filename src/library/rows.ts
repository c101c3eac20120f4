/** Prompts that a program holds itself. */
import { createHash } from "node:crypto";
import { promptOf, type PromptRow } from "../io/prompts/prompts.ts";
import type { Message } from "../rl/conversation.ts";

/**
 * The user's words, a conversation that ends with them, or a row that holds either under prompt_key ("messages" is
 * known too); its other keys are columns that scorers see.
 */
export type GivenPrompt = string | readonly Message[] | Readonly<Record<string, unknown>>;

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
  const rows = source.map((given, i) =>
    promptOf({ place: `${what}[${i}]`, read: () => rowOf(given, promptKey) }, promptKey)
  );
  const hash = createHash("sha256").update(JSON.stringify(source)).digest("hex");
  return { name: `${source.length} rows of the program, sha256 ${hash}`, rows };
}

const rowOf = (given: GivenPrompt, promptKey: string): unknown =>
  typeof given === "string" || Array.isArray(given) ? { [promptKey]: given } : given;
