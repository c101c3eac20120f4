/** The library: `import { train } from "grpo-webgpu"`. What it exports is what stays. */
export { train } from "./library/train.ts";
export type { JudgedCompletion, Reply, TrainedModel, TrainOptions } from "./library/train.ts";
export { evaluate } from "./library/evaluate.ts";
export type { EvaluateOptions } from "./library/evaluate.ts";
export { loadPolicy } from "./library/policy.ts";
export type { GeneratedCompletion, GenerateOptions, LoadedModel } from "./library/policy.ts";
export { httpScorer, serveScorer } from "./library/scorers.ts";
export type { ServeOptions } from "./library/scorers.ts";
export type { CostFunction, Judges, OwnConstraint } from "./library/judging.ts";
export type { GivenPrompt, PromptSource } from "./library/rows.ts";
export type { Settings } from "./library/settings.ts";

export { buildReport } from "./assembly/report.ts";
export type { EvaluatedModel, EvaluatedSample } from "./assembly/evaluation.ts";
export { ConfigError } from "./config/load.ts";
export { closeGpu } from "./gpu/device.ts";
export type { Tokenizer } from "./io/tokenizer/tokenizer.ts";
export type { Message } from "./rl/conversation.ts";
export { combineScorers, functionScorer, splitScorer } from "./scorer/functions.ts";
export type { FunctionScores, ScoreFunction, ScoreFunctions, WeightedScorer } from "./scorer/functions.ts";
export type { ScorerClient, ScorerClientOptions } from "./scorer/client.ts";
export { ScorerContractError, ScorerUnavailableError } from "./scorer/errors.ts";
export type { Answer, ScoreOptions, Scorer, Scores } from "./scorer/protocol.ts";
export type { RunningScorer } from "./scorer/serve.ts";
export type { MetricRow } from "./tracking/metrics.ts";
export { readRun } from "./assembly/run_records.ts";
export type { RunRecords } from "./tracking/run_records.ts";
