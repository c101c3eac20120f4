/** The run: generation batch after generation batch, and what is due between them. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { explainGpuError } from "../gpu/device.ts";
import { enterPhase, GpuError } from "../gpu/failure.ts";
import { removeStalePartials } from "../io/files/atomic_files.ts";
import { isOnAnyRank } from "../parallel/any_rank.ts";
import { NonfinitePolicyError } from "../policy/nonfinite.ts";
import { ScorerUnavailableError } from "../scorer/errors.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { ROLLOUTS_FOLDER } from "../tracking/rollout_records.ts";
import type { BestState } from "../rl/best_metric.ts";
import type { Algorithm } from "./algorithm.ts";
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
import { evolutionStrategies } from "./es/algorithm.ts";
import type { Progress } from "./generation_batch.ts";
import { GivenUp } from "./given_up.ts";
import { grpo } from "./grpo.ts";
import { lambdaWarning } from "./lambda_warning.ts";
import { disposeLearner, makeLearner } from "./learner.ts";
import { DivergedError } from "./nonfinite_steps.ts";
import { WeightsDifferError } from "./rank_check.ts";
import { closeRun, isWriter, openRun, type Run, type TrainingDeps } from "./run.ts";
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

/**
 * Trains from `start` on until the last step, or until the process is asked to end; then it may have given up a step or
 * an evaluation, without which no run is finished.
 */
async function runGenerationBatches(
  run: Run,
  algorithm: Algorithm,
  start: Progress,
): Promise<{ progress: Progress; gaveUp: boolean }> {
  const { deps, config, steps } = run;
  const warnOfLambda = lambdaWarning(config, isWriter(deps) ? deps.events.onMessage : () => {});
  const ended = new AbortController();
  const stepper = await algorithm.open(run, start, { ...deps, ended: ended.signal });
  let progress = start;
  try {
    if (start.step === 0) progress = await stepper.begin?.(start) ?? start;
    if (start.step === 0 && config.eval_on_start) await evaluate(run, progress);
    // A checkpoint that was saved because the evaluation failed still lacks it.
    if (progress.step > 0) await settle(run, progress);
    // All ranks end after the same step.
    const isAskedToStop = () => isOnAnyRank(deps.communicator, deps.shouldStop());
    while (progress.step < steps && !endsEarly(run) && !await isAskedToStop()) {
      const trained = await stepper.advance(progress);
      progress = trained.progress;
      const row = await trained.log();
      run.rows.push(row);
      warnOfLambda(run.rows);
      await deps.events.onStep(row, trained.texts, trained.judgements);
      await trained.judge();
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
    stepper.dispose();
  }
  return { progress, gaveUp: false };
}

async function finishRun(run: Run, algorithm: Algorithm, start: Progress): Promise<TrainingResult> {
  const began = performance.now();
  run.deps.events.onStart(start.step + 1, run.steps);
  await warnOfDisk(run, start.step);
  const { progress, gaveUp } = await runGenerationBatches(run, algorithm, start);
  const trainingSeconds = (performance.now() - began) / 1000;
  const finished = !gaveUp && (progress.step >= run.steps || endsEarly(run));
  // Amid an iteration whose noise does not come off to the bit, the weights are those of no step.
  if (progress.step > 0 && run.learner.optimizer.updates === progress.step) {
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
    const algorithm = config.algorithm === "es"
      ? await evolutionStrategies(deps, config, learner)
      : grpo(deps, config, learner);
    const { run, progress } = await openRun(deps, config, learner, algorithm.restore);
    const result = await finishRun(run, algorithm, progress).catch(async (error) => {
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
