/** The run: generation batch after generation batch, and what is due between them. */
import type { RunConfig } from "../config/sweep.ts";
import { removeStalePartials } from "../io/files/atomic_files.ts";
import { createGenerator } from "../policy/decode/generate.ts";
import { plannedOptions } from "../policy/decode/options.ts";
import { isOnAnyRank } from "../parallel/any_rank.ts";
import { samplerMayDiffer } from "../policy/precision.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import type { BestState } from "../rl/best_metric.ts";
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
import { type Progress, trainOnGenerationBatch } from "./generation_batch.ts";
import { disposeLearner, makeLearner } from "./learner.ts";
import { WeightsDifferError } from "./rank_check.ts";
import { closeRun, isWriter, openRun, type Run, type TrainingDeps } from "./run.ts";
import { samplerWarning } from "./sampler_warning.ts";

export interface TrainingResult {
  progress: Progress;
  /** Of the steps that this process ran and of its evaluations: one for each step, as in `readRun`. */
  rows: MetricRow[];
  finished: boolean;
  trainingSeconds: number;
  /** The best evaluation, where metric_for_best_model is set. */
  best: BestState | null;
}

/** Trains from `start` on until the last step, or until the process is asked to end. */
async function runGenerationBatches(run: Run, start: Progress): Promise<Progress> {
  const { deps, config, learner, steps, shape } = run;
  if (start.step === 0 && config.eval_on_start) await evaluate(run, start);
  const generator = createGenerator(learner.policy, plannedOptions(learner.policy, config));
  const isQuiet = samplerMayDiffer(config) || !isWriter(deps);
  const warnOfSampler = samplerWarning(isQuiet, deps.events.onMessage);
  let progress = start;
  try {
    // A checkpoint that was saved because the evaluation failed still lacks it.
    if (progress.step > 0) await settle(run, progress);
    // All ranks end after the same step.
    const isAskedToStop = () => isOnAnyRank(deps.communicator, deps.shouldStop());
    while (progress.step < steps && !endsEarly(run) && !await isAskedToStop()) {
      const done = progress.step;
      const outcome = await trainOnGenerationBatch({
        ...deps,
        config,
        learner,
        generator,
        shape,
        totalSteps: steps,
        onGenerating: (generated) => deps.events.onGenerating?.(done, generated),
      }, progress);
      progress = outcome.progress;
      const row = await run.tracker.logStep(outcome.record, outcome.texts, outcome.sampled);
      run.rows.push(row);
      warnOfSampler(row);
      await deps.events.onStep(row, outcome.texts, outcome.record);
      await settle(run, progress);
    }
    if (endsEarly(run) && progress.step < steps) {
      sayWhyEarly(run);
      await run.tracker.finish(progress.step);
    }
  } catch (error) {
    if (!(error instanceof WeightsDifferError)) await saveAfterFailure(run, progress);
    throw error;
  } finally {
    generator.dispose();
  }
  return progress;
}

async function finishRun(run: Run, start: Progress): Promise<TrainingResult> {
  const began = performance.now();
  run.deps.events.onStart(start.step + 1, run.steps);
  const progress = await runGenerationBatches(run, start);
  const trainingSeconds = (performance.now() - began) / 1000;
  const finished = progress.step >= run.steps || endsEarly(run);
  await save(run, progress);
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
  const learner = makeLearner(deps.policy, config, {
    ...deps.passes,
    // One that has no room for whole gradients decides for all.
    sumsLayers: await isOnAnyRank(deps.communicator, deps.passes.sumsLayers === true),
    ranks: deps.communicator,
  });
  try {
    const { run, progress } = await openRun(deps, config, learner);
    try {
      return await finishRun(run, progress);
    } finally {
      await closeRun(run);
    }
  } catch (error) {
    deps.communicator.leave(error);
    throw error;
  } finally {
    disposeLearner(learner);
  }
}
