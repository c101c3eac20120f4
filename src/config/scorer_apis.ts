/** What scorer services speak, and what of an answer each can judge; the first is what it judges without a setting. */

/**
 * "query": prompt and completion as the policy read and wrote them; "completion": that alone; "pair": the prompt's own
 * words and the completion, as two texts; "messages": the conversation, for the service's own chat template.
 */
export type ScorerInput = "query" | "completion" | "pair" | "messages";

export const SCORER_INPUTS = {
  beaver: ["query"],
  openrlhf: ["query"],
  vllm_classify: ["query", "completion", "messages"],
  tei_predict: ["query", "completion", "pair"],
} as const satisfies Record<string, readonly ScorerInput[]>;

export type ScorerApiName = keyof typeof SCORER_INPUTS;

/** Those that give a score for each of a model's labels. */
export const CLASSIFIER_APIS: readonly ScorerApiName[] = ["vllm_classify", "tei_predict"];

/** Where Beaver's contract is asked: for prompts and completions, or for whole conversations. */
export const SCORER_ROUTES = ["score_batch", "score_texts"] as const;
export type ScorerRoute = (typeof SCORER_ROUTES)[number];
