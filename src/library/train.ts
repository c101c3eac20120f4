/** A training run as a call. */
import { homedir } from "node:os";
import { join } from "node:path";
import { readDeepspeedFile } from "../assembly/deepspeed_file.ts";
import { writeReport } from "../assembly/report.ts";
import { assembleRun } from "../assembly/run.ts";
import { batchShape } from "../config/batch.ts";
import { expandHome } from "../config/paths.ts";
import type { RunConfig } from "../config/sweep.ts";
import type { ConfigSource } from "../config/yaml_file.ts";
import type { Judgements, MetricRow } from "../tracking/metrics.ts";
import { assertReporters } from "../tracking/sinks.ts";
import { namedScores } from "../tracking/samples.ts";
import type { Texts } from "../tracking/samples.ts";
import { weightsFile } from "../train/checkpointing.ts";
import { type Judges, scorerOf, withConstraints, withWholeGroups } from "./judging.ts";
import { promptsOf, type PromptSource } from "./rows.ts";
import { requireOne, type Settings, settingsOf } from "./settings.ts";

/** A completion with what was made of it. */
export interface JudgedCompletion {
  prompt: string;
  completion: string;
  reward: number;
  cost: number;
  /** reward - lambda * cost, of several costs each with its own lambda. */
  combined: number;
  /** What each function said, by "rewards/NAME" or "costs/NAME"; null where it does not apply. */
  scores: Readonly<Record<string, number | null>>;
}

/** "stop" ends the run in order after this step; anything else lets it go on. A promise is waited for. */
export type Reply = unknown;

export interface TrainOptions extends Judges {
  /** A folder, a hub id, or an adapter's folder: the setting model_name. */
  model?: string;
  /** A file (the setting train_jsonl) or rows. */
  prompts?: PromptSource;
  /** The same for evaluations (eval_jsonl); none where it is left out. */
  evalPrompts?: PromptSource | null;
  config?: Settings;
  /** After each generation batch, with its row of metrics.jsonl. */
  onStep?(row: MetricRow): Reply;
  /** Before onStep, with the completions of the batch. `step` counts optimizer steps. */
  onCompletions?(completions: JudgedCompletion[], step: number): Reply;
  /** After each evaluation, with its row and completions. */
  onEvaluation?(row: MetricRow, completions: JudgedCompletion[]): Reply;
  /** Lines about what is waited for, skipped or kept aside. Nothing is printed otherwise. */
  onMessage?(text: string): void;
  /**
   * Aborted: the run ends in order after the step in progress, and can be resumed. Before training has begun the call
   * is rejected with the signal's reason, between two files that it loads or while it waits for a scorer.
   */
  signal?: AbortSignal;
}

export interface TrainedModel {
  /** Holds metrics.jsonl, samples, checkpoints and, once finished, a model that transformers or peft opens. */
  runDir: string;
  /** Of the steps and evaluations of this call. */
  rows: MetricRow[];
  /** Whether the last step was reached; otherwise the same call goes on from here. */
  finished: boolean;
  /** Optimizer steps done since the start of the run. */
  step: number;
  /** model.safetensors or adapter_model.safetensors; null unless finished. */
  finalWeights: string | null;
  /** report.html; null where there is nothing to report. */
  report: string | null;
}

/**
 * Trains as the command `train` does: same settings, same files, same resuming; prints nothing. Function scorers take
 * the place of the score models. The GPU stays open for the next call: `closeGpu` frees it, and lets Node end.
 *
 * @throws ConfigError when a setting does not fit; it lists every problem
 * @throws RangeError when model or prompts are missing, the environment names a tracker wrongly, or the run takes more
 *   GPU memory than there is
 * @throws the signal's reason when it is aborted before training has begun
 * @throws ScorerUnavailableError when no healthy scorer answers
 * @throws Error when a model, a file or a function, which it names, does not fit or fails
 */
export async function train(options: TrainOptions): Promise<TrainedModel> {
  const { config: given = {}, signal, onMessage = () => {} } = options;
  const settings = withConstraints("train()", given, options);
  const { config, rows } = runOf(options, settings, await deepspeedOf(settings));
  const scorer = scorerOf(options);
  assertReporters(config.report_to);
  let isStopped = false;
  const ask = async (reply: Reply) => {
    if (await reply === "stop") isStopped = true;
  };
  const run = await assembleRun(scorer ? withWholeGroups(config, settings) : config, {
    events: { onMessage },
    scorer,
    rows,
    signal,
  });
  try {
    const trained = await run.train({
      onStart() {},
      async onStep(row, texts, judgements) {
        await ask(options.onCompletions?.(judged(texts, judgements), row.step));
        await ask(options.onStep?.(row));
      },
      onEvaluation: (row, outcome) => ask(options.onEvaluation?.(row, judged(outcome, outcome))),
      onMessage,
    }, { shouldStop: () => isStopped || (signal?.aborted ?? false) });
    const { runDir } = run.facts;
    const { rows, finished, progress: { step } } = trained;
    return {
      runDir,
      rows,
      finished,
      step,
      finalWeights: finished ? join(runDir, weightsFile(run.config)) : null,
      report: step > 0 ? await writeReport(runDir) : null,
    };
  } finally {
    await run.close();
  }
}

async function deepspeedOf({ deepspeed_config: path }: Settings): Promise<ConfigSource | undefined> {
  return typeof path === "string" ? await readDeepspeedFile(String(expandHome(path, homedir()))) : undefined;
}

/** Settings and rows of a call. */
function runOf(
  { model, prompts, evalPrompts }: TrainOptions,
  settings: Settings,
  deepspeed: ConfigSource | undefined,
) {
  requireOne("train()", "model", "model_name", model !== undefined || settings.model_name !== undefined);
  requireOne(
    "train()",
    "prompts",
    "train_jsonl",
    prompts !== undefined || settings.train_jsonl !== undefined,
  );
  const promptKey = settings.prompt_key ?? "prompt";
  const train = prompts === undefined ? undefined : promptsOf(prompts, "prompts", promptKey);
  const evaluated = evalPrompts === undefined || evalPrompts === null
    ? undefined
    : promptsOf(evalPrompts, "evalPrompts", promptKey);
  // The default is the quickstart's prompts, which belong to no other model.
  const noEvaluation = evalPrompts === null || settings.eval_jsonl === undefined ? null : undefined;
  const config: RunConfig = settingsOf("train()", settings, {
    model_name: model,
    train_jsonl: train?.name,
    eval_jsonl: evaluated ? evaluated.name : noEvaluation,
  }, deepspeed);
  batchShape(config);
  return { config, rows: { train: train?.rows, eval: evaluated?.rows } };
}

function judged({ prompts, completions }: Texts, judgements: Judgements): JudgedCompletion[] {
  const { rewards, costs, combined, named = {} } = judgements;
  return completions.map((completion, i) => ({
    prompt: prompts[i],
    completion,
    reward: rewards[i],
    cost: costs[i],
    combined: combined[i],
    scores: namedScores(named, i) ?? {},
  }));
}
