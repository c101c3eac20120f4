/** The run: generation batch after generation batch, and what is due between them. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { explainGpuError } from "../gpu/device.ts";
import { enterPhase, GpuError } from "../gpu/failure.ts";
import { removeStalePartials } from "../io/files/atomic_files.ts";
import { createGenerator, type GenerationProgress } from "../policy/decode/generate.ts";
import { plannedOptions } from "../policy/decode/options.ts";
import { isOnAnyRank } from "../parallel/any_rank.ts";
import { NonfinitePolicyError } from "../policy/nonfinite.ts";
import { samplerMayDiffer } from "../policy/precision.ts";
import { ScorerUnavailableError } from "../scorer/errors.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { ROLLOUTS_FOLDER } from "../tracking/rollout_records.ts";
import type { BestState } from "../rl/best_metric.ts";
import { ruleNameOf } from "../rl/lambda/rules.ts";
import { warnOfDisk } from "./disk.ts";
import {
  endsEarly,
  evaluate,
  loadBest,
  save,
  saveAfterFailure,
  sayWhyEarly,
  settle,
  writeFinalWeights,
} from "./due.ts";
import { type GenerationBatchOutcome, type Progress, trainOnGenerationBatch } from "./generation_batch.ts";
import { assertUnhurried, GivenUp, scorerWhileWanted } from "./given_up.ts";
import { gatherSampled } from "./kept_completions.ts";
import { lambdaWarning } from "./lambda_warning.ts";
import { disposeLearner, makeLearner } from "./learner.ts";
import { DivergedError, judgeSteps } from "./nonfinite_steps.ts";
import { WeightsDifferError } from "./rank_check.ts";
import { closeRun, isWriter, openRun, type Run, type TrainingDeps } from "./run.ts";
import { withOneShotLambda } from "./one_shot.ts";
import { samplerWarning } from "./sampler_warning.ts";
import { withWayOn } from "./way_on.ts";

export interface TrainingResult {
  progress: Progress;
  /** Of the steps that this process ran and of its evaluations: one for each step, as in `readRun`. */
  rows: MetricRow[];
  finished: boolean;
  trainingSeconds: number;
  /** The best evaluation, where metric_for_best_model is set. */
  best: BestState | null;
}

const STEP_IN_PROGRESS = "the step in progress";

/** Whether what the run holds after an error is the last whole step, can be read, and is worth being gone on with. */
function mayBeSaved(error: unknown): boolean {
  const isOver = [WeightsDifferError, GpuError, NonfinitePolicyError, DivergedError].some((kind) =>
    error instanceof kind
  );
  return !isOver;
}

/** Rank 0 looks at the checkpoints, for all. */
async function sayWayOn({ deps, config }: Run, { step }: Progress, error: unknown): Promise<unknown> {
  return isWriter(deps) ? await withWayOn(error, { runDir: deps.runDir, config, step }) : error;
}

/** What is kept of each completion of all ranks; null where not every one is. */
async function keptOf({ deps, config }: Run, outcome: GenerationBatchOutcome) {
  return config.log_completions === "all" ? await gatherSampled(deps.communicator, outcome) : null;
}

/**
 * Trains from `start` on until the last step, or until the process is asked to end; then it may have given up a step or
 * an evaluation, without which no run is finished.
 */
async function runGenerationBatches(
  run: Run,
  start: Progress,
): Promise<{ progress: Progress; gaveUp: boolean }> {
  const { deps, config, learner, steps, shape } = run;
  const generator = createGenerator(learner.policy, plannedOptions(learner.policy, config));
  const isQuiet = samplerMayDiffer(config) || !isWriter(deps);
  const warnOfSampler = samplerWarning(isQuiet, deps.events.onMessage);
  const warnOfLambda = lambdaWarning(config, isWriter(deps) ? deps.events.onMessage : () => {});
  const ended = new AbortController();
  const asked = { ...deps, ended: ended.signal };
  const scorer = scorerWhileWanted(deps.scorer, asked, STEP_IN_PROGRESS);
  let progress = start;
  const batchDeps = {
    ...deps,
    scorer,
    config,
    learner,
    generator,
    journal: run.journal,
    shape,
    totalSteps: steps,
    onGenerating(generated: GenerationProgress) {
      assertUnhurried(deps, STEP_IN_PROGRESS);
      deps.events.onGenerating?.(progress.step, generated);
    },
  };
  try {
    if (start.step === 0 && ruleNameOf(config) === "one_shot") {
      progress = await withOneShotLambda(batchDeps, start, isWriter(deps) ? deps.events.onMessage : () => {});
    }
    if (start.step === 0 && config.eval_on_start) await evaluate(run, progress);
    // A checkpoint that was saved because the evaluation failed still lacks it.
    if (progress.step > 0) await settle(run, progress);
    // All ranks end after the same step.
    const isAskedToStop = () => isOnAnyRank(deps.communicator, deps.shouldStop());
    while (progress.step < steps && !endsEarly(run) && !await isAskedToStop()) {
      const outcome = await trainOnGenerationBatch(batchDeps, progress);
      progress = outcome.progress;
      const row = await run.tracker.logStep(outcome.record, outcome.texts, await keptOf(run, outcome));
      run.rows.push(row);
      warnOfSampler(row);
      warnOfLambda(run.rows);
      await deps.events.onStep(row, outcome.texts, outcome.record);
      await judgeSteps(run, outcome);
      await settle(run, progress);
    }
    if (endsEarly(run) && progress.step < steps) {
      sayWhyEarly(run);
      await run.tracker.finish(progress.step);
    }
  } catch (thrown) {
    if (thrown instanceof GivenUp && deps.communicator.size === 1) {
      deps.events.onMessage(thrown.message);
      return { progress, gaveUp: true };
    }
    const error = await explainGpuError(thrown);
    if (mayBeSaved(error)) await saveAfterFailure(run, progress);
    // Scores that the failure may come from are asked for again; those that came before a scorer was gone are not.
    if (!(error instanceof ScorerUnavailableError)) run.journal.clear();
    throw await sayWayOn(run, progress, error);
  } finally {
    ended.abort();
    generator.dispose();
  }
  return { progress, gaveUp: false };
}

async function finishRun(run: Run, start: Progress): Promise<TrainingResult> {
  const began = performance.now();
  run.deps.events.onStart(start.step + 1, run.steps);
  await warnOfDisk(run, start.step);
  const { progress, gaveUp } = await runGenerationBatches(run, start);
  const trainingSeconds = (performance.now() - began) / 1000;
  const finished = !gaveUp && (progress.step >= run.steps || endsEarly(run));
  if (progress.step > 0) {
    await save(run, progress).catch(async (error) => {
      throw await sayWayOn(run, progress, error);
    });
  }
  run.log?.sync(); // of the last evaluation, which comes after its checkpoint
  if (!gaveUp) run.journal.clear();
  if (finished) {
    const best = await loadBest(run, progress);
    if (isWriter(run.deps)) await writeFinalWeights(run, best);
  }
  await run.deps.communicator.barrier();
  return { progress, rows: run.rows, finished, trainingSeconds, best: run.best };
}

/**
 * Trains until the last step (or until asked to stop), from the newest checkpoint of the same configuration if there
 * is one and `resume` is on. A failure saves a checkpoint of the last whole step before it is thrown on, on every rank:
 * one that fails leaves the others.
 */
export async function runTraining(deps: TrainingDeps, config: RunConfig): Promise<TrainingResult> {
  if (isWriter(deps)) await removeStalePartials(deps.runDir);
  if (isWriter(deps)) await removeStalePartials(join(deps.runDir, "samples"));
  if (isWriter(deps)) await removeStalePartials(join(deps.runDir, ROLLOUTS_FOLDER));
  enterPhase("loading");
  const learner = makeLearner(deps.policy, config, {
    ...deps.passes,
    // One that has no room for whole gradients decides for all.
    sumsLayers: await isOnAnyRank(deps.communicator, deps.passes.sumsLayers === true),
    ranks: deps.communicator,
  });
  try {
    const { run, progress } = await openRun(deps, config, learner);
    const result = await finishRun(run, progress).catch(async (error) => {
      await closeRun(run).catch(() => {}); // the first error is the one to report
      throw error;
    });
    await closeRun(run);
    return result;
  } catch (error) {
    deps.communicator.leave(error);
    const isNew = isWriter(deps) && error instanceof GpuError;
    throw isNew ? await withWayOn(error, { runDir: deps.runDir, config, step: 0 }) : error;
  } finally {
    disposeLearner(learner);
    enterPhase(null);
  }
}
