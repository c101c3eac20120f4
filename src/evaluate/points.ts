/** Completions with their scores, as rows of files: {model}_points.jsonl, and the scored answers of other programs. */
import { formatError } from "../io/files/errors.ts";
import type { PromptRow } from "../io/prompts/prompts.ts";
import { quadrantOf } from "../rl/quadrants.ts";
import type { Sample } from "../tracking/samples.ts";

/** One completion. What is not known of it is left out. */
export interface Point {
  prompt: string;
  response: string;
  reward: number;
  cost: number;
  /** What the parts of the score said, by name. */
  scores?: Sample["scores"];
  /** Its length, the end included. */
  tokens?: number;
  /** It has max_completion_length tokens, none of which ends it. */
  clipped?: boolean;
  /** It went on to write a turn of the user's, before stop strings were cut off. */
  fake_turn?: boolean;
  /** KL from the base that it was held against: over the vocabulary, summed over its tokens, nats. */
  kl?: number;
  /** What the prompt's row says under "category": kinds of harm, most often. */
  category?: string | readonly string[];
}

/** A row's value under "category", where it is a text or texts. */
export function categoryOf(columns: Readonly<Record<string, unknown>>): Pick<Point, "category"> {
  const { category } = columns;
  const isName = (value: unknown) => typeof value === "string" && value !== "";
  if (isName(category)) return { category: category as string };
  return Array.isArray(category) && category.length > 0 && category.every(isName) ? { category } : {};
}

/** What the row of an answer says of how it was made. */
export function knownOf(
  columns: Readonly<Record<string, unknown>>,
): Pick<Point, "tokens" | "clipped" | "fake_turn" | "category"> {
  const { tokens, clipped, fake_turn } = columns;
  return {
    ...(Number.isSafeInteger(tokens) && { tokens: tokens as number }),
    ...(typeof clipped === "boolean" && { clipped }),
    ...(typeof fake_turn === "boolean" && { fake_turn }),
    ...categoryOf(columns),
  };
}

/** The line of a point, with the name of its quadrant behind the keys that every such file has. */
export function pointLine({ prompt, response, reward, cost, ...more }: Point): string {
  const label = quadrantOf(reward, cost);
  return `${JSON.stringify({ prompt, response, reward, cost, label, ...more })}\n`;
}

/** The last words of the user's. */
export const promptText = ({ prompt }: PromptRow): string =>
  typeof prompt === "string" ? prompt : prompt[prompt.length - 1].content;

/**
 * What a row answers, under "response" or "completion".
 * @throws TypeError when there is no text
 */
export function responseOf({ columns, place }: PromptRow): string {
  const response = columns.response ?? columns.completion;
  if (typeof response === "string") return response;
  throw new TypeError(
    `Cannot read answers from ${place}: required a text under "response" or "completion", got ${
      JSON.stringify(response) ?? "none"
    }; correct or delete the row`,
  );
}

/**
 * The point of a row that has scores.
 * @throws TypeError when it has no answer, or no finite reward and cost
 */
export function scoredPoint(row: PromptRow): Point {
  const { columns, place } = row;
  const score = (name: "reward" | "cost"): number => {
    const value = columns[name];
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new TypeError(
      `Cannot read scores from ${place}: required a finite number under "${name}", got ${
        JSON.stringify(value) ?? "none"
      }; have the rows scored with --responses, or correct the row`,
    );
  };
  return {
    prompt: promptText(row),
    response: responseOf(row),
    reward: score("reward"),
    cost: score("cost"),
    ...knownOf(columns),
  };
}

/**
 * A point of a log of our own, whose place in it is its step.
 * @throws Error when the line is none
 */
export function loggedPoint(line: string, path: string): Point {
  try {
    const { step: _, prompt, response, reward, cost, ...more } = JSON.parse(line);
    if (
      [reward, cost].every(Number.isFinite) && [prompt, response].every((text) => typeof text === "string")
    ) {
      return { prompt, response, reward, cost, ...more };
    }
  } catch {
    // Said below: whatever it is, it is no point.
  }
  throw formatError(
    path,
    `required a scored completion to a line, got "${line.slice(0, 60)}"; remove the file`,
  );
}
