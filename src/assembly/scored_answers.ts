/** Answers that another program made: read with their scores, or scored here. */
import type { EvalPreset } from "../config/eval_presets.ts";
import type { RunConfig } from "../config/sweep.ts";
import { bigintText, pointsInParts, rounded, settingsOfAnswers } from "../evaluate/parts.ts";
import { knownOf, type Point, promptText, responseOf, scoredPoint } from "../evaluate/points.ts";
import { openGpu } from "../gpu/device.ts";
import { textSha256 } from "../io/files/sha256.ts";
import { type PromptRow, readPrompts } from "../io/prompts/prompts.ts";
import { formatConversation, formatPrompt } from "../rl/conversation.ts";
import type { Answer } from "../scorer/protocol.ts";
import { namedScores } from "../tracking/samples.ts";
import type { EvaluationEvents } from "./evaluation.ts";
import { scoreModelHashes } from "./hub.ts";
import { servesScoreModels } from "./judges.ts";
import { promptFiles } from "./prompts.ts";
import { openScorer } from "./scorer.ts";

const rowsOf = async (file: string, promptKey: string, events: EvaluationEvents = {}) =>
  await readPrompts(await promptFiles(file, events), { promptKey });

/**
 * Scored answers of a file: each row has the prompt, "response" or "completion", "reward" and "cost".
 * @throws TypeError when a row has not; it names the row
 * @throws Error when the file cannot be read
 */
export async function readScored(file: string, promptKey: string): Promise<Point[]> {
  return (await rowsOf(file, promptKey)).map(scoredPoint);
}

/** An answer and what it answers. */
export interface GivenAnswer {
  prompt: string;
  response: string;
}

/**
 * Answers of a file, whether they are scored or not: each row has "prompt", and "response" or "completion".
 * @throws TypeError when a row has not; it names the row
 * @throws Error when the file cannot be read
 */
export async function readAnswers(file: string): Promise<GivenAnswer[]> {
  return (await rowsOf(file, "prompt")).map((row) => ({
    prompt: promptText(row),
    response: responseOf(row),
  }));
}

interface ScoringOptions {
  events?: EvaluationEvents;
  /** As of EvaluationOptions. */
  kept?: string;
  scores: EvalPreset["scores"];
}

/** As a scorer is asked; whatever made the text is not here, so it has no tokens. */
function answerOfRow(row: PromptRow): Answer {
  const [prompt, completion] = [promptText(row), responseOf(row)];
  const messages = typeof row.prompt === "string" ? [{ role: "user", content: prompt }] : row.prompt;
  return {
    prompt,
    messages,
    completion,
    tokens: [],
    promptText: formatPrompt(prompt),
    fullText: formatConversation(prompt, completion),
    columns: row.columns,
  };
}

/**
 * Has the answers of a file scored: each row has the prompt and "response" or "completion".
 * @throws TypeError when a row has not; it names the row
 * @throws ScorerUnavailableError when no healthy scorer answers
 * @throws Error when the file cannot be read
 */
export async function scoreResponses(
  file: string,
  config: RunConfig,
  { events = {}, kept: path, scores: dtype }: ScoringOptions,
): Promise<Point[]> {
  const rows = await rowsOf(file, config.prompt_key, events);
  const answers = rows.map(answerOfRow);
  const device = servesScoreModels(config) ? (await openGpu()).info.name : "none";
  const { scorer, close } = await openScorer(config, { device, events });
  const batchSize = config.scorer_batch_size_eval;
  const make = async (start: number, end: number): Promise<Point[]> => {
    const part = answers.slice(start, end);
    const { rewards, costs, named } = await scorer.score(part, { batchSize });
    events.onScored?.(end, answers.length);
    return part.map(({ prompt, completion, columns }, i) => ({
      prompt,
      response: completion,
      reward: rounded(rewards[i], dtype),
      cost: rounded(costs[i], dtype),
      ...(named && { scores: namedScores(named, i) }),
      ...knownOf(columns),
    }));
  };
  try {
    const inputs = {
      rows: textSha256(JSON.stringify(rows.map(({ prompt, columns }) => [prompt, columns]), bigintText)),
      settings: settingsOfAnswers(config),
      scorers: await scoreModelHashes(config),
      dtype,
    };
    // A few requests to a part: several services are asked at once.
    const parts = { count: answers.length, size: 4 * batchSize, make };
    return await pointsInParts(parts, { path, inputs, onMessage: events.onMessage });
  } finally {
    await close();
  }
}
