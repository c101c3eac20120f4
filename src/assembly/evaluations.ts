/** Several models, or files of answers, evaluated alike and held against a base. */
import { rm } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { EVAL_PRESETS, type EvalPresetName } from "../config/eval_presets.ts";
import type { RunConfig } from "../config/sweep.ts";
import { writeOutputs } from "../evaluate/outputs.ts";
import type { Point } from "../evaluate/points.ts";
import { summarize, type Summary, type SummarySource } from "../evaluate/summary.ts";
import { type EvaluatedModel, evaluateModel, type EvaluationEvents } from "./evaluation.ts";
import { costModelsText, judgesText, servesScoreModels } from "./judges.ts";
import { readScored, scoreResponses } from "./scored_answers.ts";

/** What is evaluated: a model that answers, answers that are scored, or scored answers that are counted. */
export interface Subject {
  kind: "model" | "responses" | "scored";
  /** A folder or hub id, or a file. */
  name: string;
  /** Its files begin with it. */
  tag: string;
}

export interface EvaluationsOptions {
  /** Where the files go. */
  folder: string;
  preset: EvalPresetName;
  lambda?: number;
  /** Whether each model's KL from the base, a model then, is taken over its answers: both are held at once. */
  kl?: boolean;
  /** Others are held against it. One that is a file of scored answers is only read. */
  base?: Subject;
  events?: EvaluationEvents;
  /** A subject's files are written. */
  onSummary?(subject: Subject, summary: Summary): void;
}

interface Evaluated {
  points: readonly Point[];
  source: SummarySource;
  model: EvaluatedModel | null;
}

/** A short name of a model or a file: its last part, with that above it where the last says too little. */
export function tagOf(name: string): string {
  const parts = name.replace(/@[^/@]*$/, "").split(/[/\\]+/).filter((part) => part !== "" && part !== ".");
  const last = parts.at(-1) ?? name;
  const isCommon = /^(checkpoint-\d+|merged|policy|beta.*_seed\d+_unified)$/.test(last) && parts.length > 1;
  const tag = isCommon
    ? `${parts.at(-2)}-${last}`
    : basename(last, extname(last) === ".jsonl" ? ".jsonl" : "");
  return tag.replace(/_points$/, "").replaceAll(/[^\w.-]+/g, "-");
}

/** What is kept of an evaluation until the whole command is done. */
const keptFile = (folder: string, { tag }: Subject) => join(folder, `${tag}_points.partial.jsonl`);

/**
 * Evaluates the base, then each subject, and writes its files as soon as it is done. A call that was ended goes on.
 * @returns the evaluations of the subjects, in their order
 * @throws RangeError when the base answers none of a subject's prompts
 * @throws Error when a model, a file or the scorer, which it names, does not fit
 */
export async function evaluateSubjects(
  config: RunConfig,
  subjects: readonly Subject[],
  options: EvaluationsOptions,
): Promise<Evaluated[]> {
  const { folder, base, onSummary } = options;
  const { seed } = config;
  const write = async (subject: Subject, { points, source }: Evaluated, against?: Evaluated) => {
    const held = against && { name: base!.tag, points: against.points };
    const summary = summarize(points, source, { seed, base: held });
    await writeOutputs(folder, subject.tag, points, summary);
    onSummary?.(subject, summary);
  };
  const evaluatedBase = base && await evaluateSubject(config, base, { ...options, kl: false });
  if (base && base.kind !== "scored") await write(base, evaluatedBase!);
  const evaluated: Evaluated[] = [];
  for (const subject of subjects) {
    const one = await evaluateSubject(config, subject, options);
    await write(subject, one, evaluatedBase);
    evaluated.push(one);
  }
  for (const subject of [...base ? [base] : [], ...subjects]) {
    await rm(keptFile(folder, subject), { force: true });
  }
  return evaluated;
}

async function evaluateSubject(
  config: RunConfig,
  subject: Subject,
  { folder, preset, lambda, kl, base, events }: EvaluationsOptions,
): Promise<Evaluated> {
  const { kind, name } = subject;
  const { scores } = EVAL_PRESETS[preset];
  const kept = keptFile(folder, subject);
  if (kind === "scored") {
    const source = {
      model: name,
      used_policy_model: false,
      dataset_split: name,
      reward_model: null,
      cost_model: null,
      preset,
      settings: null,
    };
    return { points: await readScored(name, config.prompt_key), source, model: null };
  }
  const judges = servesScoreModels(config)
    ? { reward_model: config.reward_model, cost_model: costModelsText(config) }
    : { reward_model: judgesText(config), cost_model: judgesText(config) };
  const scored = { scores, scorer_max_length: config.scorer_max_length };
  if (kind === "responses") {
    const points = await scoreResponses(name, config, { events, kept, scores });
    return {
      points,
      source: {
        model: name,
        used_policy_model: false,
        dataset_split: name,
        ...judges,
        preset,
        settings: scored,
      },
      model: null,
    };
  }
  const model = await evaluateModel({ ...config, model_name: name }, events, {
    lambda,
    kept,
    scores,
    ...(kl && base && { klBase: base.name }),
  });
  const { max_prompt_length, max_completion_length, stop_strings, matmul_precision, kv_cache_dtype } = config;
  const settings = {
    max_prompt_length,
    max_completion_length,
    stop_strings,
    matmul_precision,
    kv_cache_dtype,
    ...scored,
  };
  return {
    points: model.samples.map(({ completion, ...sample }) => ({ ...sample, response: completion })),
    source: {
      model: `${model.summary.model_name}`,
      used_policy_model: true,
      dataset_split: config.eval_jsonl!,
      ...judges,
      preset,
      settings,
    },
    model,
  };
}
