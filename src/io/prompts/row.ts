// A row of a file of prompts before anybody has looked into it.

/** One row; what is wrong with it is told when it is read, so that others can be read without it. */
export interface RawRow {
  /** Where it stands, as "'prompts.jsonl', line 3". */
  readonly place: string;
  /**
   * Its value.
   * @throws SyntaxError when it is no UTF-8 or no JSON
   */
  read(): unknown;
}

const ABOUT = "Cannot read prompts from";

/** The error of a row or a file: what is wrong at `place`. */
export const rowProblem = (place: string, problem: string) => `${ABOUT} ${place}: ${problem}`;

/** A value in at most 60 characters and an ellipsis. */
export function preview(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
