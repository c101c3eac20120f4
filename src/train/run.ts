/** What a run is made of, and how it begins: new, or from its newest checkpoint. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type BatchShape, batchShape, totalSteps } from "../config/batch.ts";
import { constraintsOf } from "../config/constraints.ts";
import type { RunConfig } from "../config/sweep.ts";
import { openGpu } from "../gpu/device.ts";
import { writeTextInFolder } from "../io/files/atomic_files.ts";
import { explainFsError } from "../io/files/errors.ts";
import { readText } from "../io/files/whole_file.ts";
import { type AppendLog, openAppendLog } from "../io/records/append_log.ts";
import { openScoreJournal, removeOtherJournals, type ScoreJournalFile } from "../io/records/score_journal.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherNumbers, gatherTexts } from "../parallel/gather.ts";
import type { GenerationProgress } from "../policy/decode/generate.ts";
import { assertFiniteWeights } from "../policy/nonfinite.ts";
import type { Policy } from "../policy/trunk.ts";
import { bestAfter, type BestState, stillBest } from "../rl/best_metric.ts";
import { initialLambdaState } from "../rl/lambda.ts";
import type { ScoreOptions, Scorer } from "../scorer/protocol.ts";
import type { Judgements, MetricRow } from "../tracking/metrics.ts";
import { BEST_MODEL_FILE, CHANGES_FILE, parseMetrics } from "../tracking/run_records.ts";
import type { Texts } from "../tracking/samples.ts";
import { sinksOf } from "../tracking/sinks.ts";
import { openTracker, type Tracker } from "../tracking/tracker.ts";
import { type RestoredRun, restoreRun } from "./checkpointing.ts";
import type { Progress } from "./generation_batch.ts";
import type { Asked } from "./given_up.ts";
import type { Learner, LearnerOptions } from "./learner.ts";
import type { Prompt } from "./prompts.ts";
import { followingWeights } from "./reference_sync.ts";
import { missingRows, recordChanges } from "./run_history.ts";
import type { RunInputs } from "./run_inputs.ts";

export interface EvaluationOutcome extends Judgements {
  prompts: string[];
  completions: string[];
}

export interface TrainingEvents {
  /** Before the first step; `firstStep` > 1 when resumed. A "step" here is an optimizer step. */
  onStart(firstStep: number, steps: number): void;
  /** While completions are sampled; `step` is the last optimizer step done. */
  onGenerating?(step: number, progress: GenerationProgress): void;
  /** After each generation batch; waited for, before what is due. */
  onStep(row: MetricRow, texts: Texts, judgements: Judgements): unknown;
  /** Waited for too. */
  onEvaluation(row: MetricRow, outcome: EvaluationOutcome): unknown;
  onMessage(text: string): void;
}

export interface TrainingDeps extends Asked {
  /** Written to by rank 0 alone, read by every rank. */
  runDir: string;
  policy: Policy;
  tokenizer: Tokenizer;
  prompts: readonly Prompt[];
  /** What tells the prompts and the starting model from others. */
  inputs: RunInputs;
  scorer: Scorer;
  communicator: Communicator;
  /** How micro-batches are trained on, by the memory plan. */
  passes: LearnerOptions;
  /**
   * Greedy evaluation of the policy as it is, with these lambdas, one of each cost; null without eval prompts. Every
   * rank is asked, for its share, and is told of all.
   */
  evaluate:
    | ((lambdas: readonly number[], scoring?: Pick<ScoreOptions, "journal">) => Promise<EvaluationOutcome>)
    | null;
  /**
   * Writes what tells of the run and its model to the run's folder. Called on rank 0, once it is clear that the run may
   * go on there.
   * @param hasSteps whether there are steps left to do
   * @returns config.json or adapter_config.json, and tokenizer files, which checkpoints copy
   */
  describeRun(hasSteps: boolean): Promise<readonly string[]>;
  events: TrainingEvents;
}

/** Everything a run holds while it runs. */
export interface Run {
  deps: TrainingDeps;
  config: RunConfig;
  learner: Learner;
  /** Files of the run's folder that checkpoints copy. */
  modelFiles: readonly string[];
  tracker: Tracker;
  /** null on the ranks that write nothing. */
  log: AppendLog | null;
  /** Of the scores that this rank was given since the last checkpoint. */
  journal: ScoreJournalFile;
  steps: number;
  shape: BatchShape;
  savedStep: number;
  evaluatedStep: number;
  /** Steps that were skipped, up to the last, one after the other: of this process. */
  skippedInRow: number;
  /** Of the evaluations so far, on all ranks; null where none is the best. */
  best: BestState | null;
  rows: MetricRow[];
}

export const isWriter = ({ communicator }: TrainingDeps): boolean => communicator.rank === 0;

const isEvaluation = (row: MetricRow) => row["eval/total_samples"] !== undefined;

/** Folders that a run which starts over must not inherit. */
async function clearRun(runDir: string): Promise<void> {
  for (const name of ["runs", "samples", "nonfinite", "metrics.jsonl", CHANGES_FILE, BEST_MODEL_FILE]) {
    await rm(join(runDir, name), { recursive: true, force: true }).catch((error) => {
      throw explainFsError(error, "remove", join(runDir, name));
    });
  }
}

/** @throws Error when not all ranks begin at the same step */
async function assertSameStart(communicator: Communicator, restored: RestoredRun | null): Promise<void> {
  const steps = await gatherNumbers(communicator, [restored?.progress.step ?? 0]);
  if (steps.every((step) => step === steps[0])) return;
  throw new Error(
    `Ranks found different checkpoints: they would go on from steps ${
      steps.join(", ")
    }, and need the same; ` +
      "give all of them one output_dir on a file system that they share",
  );
}

/** Progress as this rank has it: with its own lambdas where each has some; of another number of ranks, the nearest. */
function ownProgress(progress: Progress, { rank, size }: Communicator): Progress {
  const { rankLambdas } = progress;
  if (rankLambdas === null) return progress;
  return { ...progress, lambdas: rankLambdas[Math.floor(rank * rankLambdas.length / size)] };
}

/** One of each cost. */
const initialLambdas = (config: RunConfig) =>
  constraintsOf(config).map(({ settings }) => initialLambdaState(settings.lambda_cost));

/** What the log tells of evaluations. */
interface Evaluations {
  evaluatedStep: number;
  best: BestState | null;
}

/**
 * What is known of evaluations at `step`, by the log and the checkpoint, which knows none that came after it was saved.
 */
function evaluationsIn(
  logged: readonly MetricRow[],
  step: number,
  config: RunConfig,
  saved: BestState | null,
): Evaluations {
  const rows = logged.filter(isEvaluation);
  const known = stillBest(saved, config);
  const best = rows.filter((row) => row.step > (known?.lastStep ?? 0))
    .reduce((before, row) => bestAfter(before, row, config), known);
  return { evaluatedStep: rows.some((row) => row.step === step) ? step : -1, best };
}

/** What rank 0 knows: known to all, so that all evaluate or none, and end together. */
async function knownToAll(
  communicator: Communicator,
  ofWriter: () => Evaluations,
): Promise<Evaluations> {
  const [first] = await gatherTexts(communicator, [
    communicator.rank === 0 ? JSON.stringify(ofWriter()) : "",
  ]);
  return JSON.parse(first) as Evaluations;
}

/** Files and tracker of the rank that writes; a tracker of rows alone on the others. */
async function openRecords(
  deps: TrainingDeps,
  config: RunConfig,
  restored: RestoredRun | null,
  steps: number,
) {
  const { runDir, events: { onMessage } } = deps;
  if (!isWriter(deps)) {
    const tracker = await openTracker({ runDir, config, sinks: [], onMessage });
    return { modelFiles: [], log: null, tracker, logged: [] };
  }
  if (!restored) await clearRun(runDir);
  await removeOtherJournals(runDir, deps.communicator.size);
  const step = restored?.progress.step ?? 0;
  const modelFiles = await deps.describeRun(step < steps);
  const path = join(runDir, "metrics.jsonl");
  const log = openAppendLog(path, restored ? step : -1);
  try {
    const logged = parseMetrics(await readText(path, "read"), path);
    const { memory } = await openGpu();
    const tracker = await openTracker({
      runDir,
      config,
      sinks: sinksOf((row) => log.append(row), writeTextInFolder, config.report_to),
      onMessage,
      rowsBefore: logged,
      promptCount: deps.prompts.length,
      gpuBytes: () => memory().liveBytes,
      resume: restored ? { step, state: restored.tracker } : undefined,
    });
    if (restored) await recordChanges(runDir, { step, changes: restored.changes }, config, onMessage);
    return { modelFiles, log, tracker, logged };
  } catch (error) {
    log.close();
    throw explainFsError(error, "open the records in", runDir);
  }
}

/**
 * @throws RangeError when the ranks' completions are no whole groups, or the newest checkpoint is of another
 *   configuration or other files, which it names
 * @throws NonfinitePolicyError when that checkpoint holds weights that are no numbers
 * @throws Error when the ranks found different checkpoints, or there are some and none is whole
 */
export async function openRun(
  deps: TrainingDeps,
  config: RunConfig,
  learner: Learner,
): Promise<{ run: Run; progress: Progress }> {
  const { runDir, communicator, events } = deps;
  const shape = batchShape(config, communicator.size);
  const steps = totalSteps(config, deps.prompts.length, shape);
  const restored = config.resume
    ? await restoreRun(
      runDir,
      {
        config,
        communicator,
        optimizer: learner.optimizer,
        following: followingWeights(learner, config),
        inputs: deps.inputs,
      },
      (dir, reason) => events.onMessage(`Skipped ${dir}: ${reason}`),
    )
    : null;
  if (restored) {
    const { weights } = learner.optimizer;
    await assertFiniteWeights(
      weights,
      restored.dir,
      "remove it, and the same command goes on from the one before",
    );
  }
  await assertSameStart(communicator, restored);
  const progress = restored ? ownProgress(restored.progress, communicator) : {
    step: 0,
    lambdas: initialLambdas(config),
    rankLambdas: null,
    numTokens: 0,
    entropyControl: null,
  };
  const { logged, ...records } = await openRecords(deps, config, restored, steps);
  const missing = isWriter(deps) ? missingRows(logged, progress.step, shape.updatesPerGeneration) : null;
  if (missing !== null) events.onMessage(missing);
  const evaluations = await knownToAll(
    communicator,
    () => evaluationsIn(logged, progress.step, config, restored?.best ?? null),
  );
  return {
    run: {
      deps,
      config,
      learner,
      ...records,
      journal: openScoreJournal(runDir, communicator.rank, events.onMessage),
      ...evaluations,
      steps,
      shape,
      savedStep: restored ? progress.step : -1,
      skippedInRow: 0,
      rows: [],
    },
    progress,
  };
}

/** @throws Error when a record cannot be closed; all else is closed nonetheless */
export async function closeRun({ log, tracker, journal }: Run): Promise<void> {
  journal.close();
  try {
    log?.close();
  } finally {
    await tracker.close();
  }
}
