/** Tables of completions and points of reward against cost: what a run shows of its texts and scores. */
import type { End } from "../rl/ends.ts";
import { isSafe } from "../rl/quadrants.ts";
import type { Judgements } from "./metrics.ts";
import { escapeMarkdownCell } from "./printable.ts";
import { evenlySpacedIndices } from "./statistics.ts";

/** Which prompts the completions answer. */
export type Split = "train" | "eval";

/** What trackers call the tables; the reference run's names. */
export const TABLE_TAGS: Readonly<Record<Split, string>> = {
  train: "debug/train_batch_samples",
  eval: "eval/samples",
};

/** What they call the plots, likewise. */
export const SCATTER_TAGS: Readonly<Record<Split, string>> = {
  train: "scatter/reward_vs_cost",
  eval: "scatter/eval_reward_vs_cost",
};

export const SCATTER_TITLES: Readonly<Record<Split, string>> = {
  train: "Reward against cost",
  eval: "Reward against cost, evaluation",
};

/** Texts of the judged completions, in the same order. */
export interface Texts {
  prompts: readonly string[];
  completions: readonly string[];
}

/** One row of a table, and one line of samples/{split}_{step}.jsonl. */
export interface Sample {
  prompt: string;
  completion: string;
  reward: number;
  cost: number;
  combined: number;
  unsafe: boolean;
  /** How it ended, its tokens with the end, and its advantage in its group; where they are known. */
  end?: End;
  length?: number;
  advantage?: number;
  /** What the parts of the score said, by name; null where one does not apply. */
  scores?: Readonly<Record<string, number | null>>;
}

/** Tokens whose text stands together: one, or several whose bytes are one character's. */
export interface TokenPiece {
  text: string;
  /** Sums over its tokens, nats: as sampled, and under the reference policy; null where they were not kept. */
  logprob: number | null;
  refLogprob: number | null;
}

/** A sample of a completion that was kept whole. */
export interface TokenizedSample extends Sample {
  tokens?: readonly TokenPiece[];
}

/** Completions of one step with their prompts and scores. */
export interface SampleTable {
  split: Split;
  step: number;
  samples: readonly TokenizedSample[];
}

/** Content of samples/{split}_scatter_{step}.json. */
export interface ScatterPoints {
  step: number;
  /** First step whose completions are among the points. */
  from_step: number;
  /** Completions that the points stand for. */
  total: number;
  rewards: readonly number[];
  costs: readonly number[];
}

/** What is known of completions beside their texts and scores, in the same order; an evaluation has no advantages. */
export interface CompletionFacts {
  completionLengths?: readonly number[];
  ends?: readonly End[];
  advantages?: ArrayLike<number>;
}

/** At most `count` rows, evenly spaced over the completions, so that every prompt's group has its share. */
export function sampleTable(
  texts: Texts,
  judgements: Judgements & CompletionFacts,
  count: number,
): Sample[] {
  const { completionLengths, ends, advantages } = judgements;
  return evenlySpacedIndices(texts.completions.length, count).map((index) => ({
    prompt: texts.prompts[index],
    completion: texts.completions[index],
    reward: judgements.rewards[index],
    cost: judgements.costs[index],
    combined: judgements.combined[index],
    unsafe: !isSafe(judgements.costs[index]),
    ...(ends && { end: ends[index] }),
    ...(completionLengths && { length: completionLengths[index] }),
    ...(advantages && { advantage: advantages[index] }),
    ...(judgements.named && { scores: namedScores(judgements.named, index) }),
  }));
}

/** What the parts of a completion's score said. */
export function namedScores(named: NonNullable<Judgements["named"]>, index: number): Sample["scores"] {
  return Object.fromEntries(
    Object.entries(named).map((
      [name, values],
    ) => [name, Number.isFinite(values[index]) ? values[index] : null]),
  );
}

/** Names of the parts that any of the samples was scored by, in the order in which they are met. */
export function scoreNames(samples: readonly Sample[]): string[] {
  return [...new Set(samples.flatMap(({ scores = {} }) => Object.keys(scores)))];
}

/** The table for TensorBoard's text panel. */
export function samplesMarkdown(samples: readonly Sample[]): string {
  const names = scoreNames(samples);
  const rows = samples.map((sample) => {
    const parts = names.map((name) => sample.scores?.[name] ?? null);
    const numbers = [sample.reward, sample.cost, sample.combined, ...parts].map((value) =>
      value?.toFixed(3) ?? ""
    );
    const cells = [sample.prompt, sample.completion].map(escapeMarkdownCell).concat(numbers);
    return `| ${cells.join(" | ")} | ${sample.unsafe ? "unsafe" : "safe"} |`;
  });
  const columns = [
    "prompt",
    "completion",
    "reward",
    "cost",
    "combined",
    ...names.map(escapeMarkdownCell),
    "",
  ];
  return [`| ${columns.join(" | ").trimEnd()} |`, `|${"---|".repeat(columns.length)}`, ...rows].join("\n");
}
