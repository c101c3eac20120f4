/** What a run owes to its folder: evaluations, checkpoints, final weights. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { constraintsOf } from "../config/constraints.ts";
import { enterPhase } from "../gpu/failure.ts";
import { trimPool } from "../gpu/pool.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { explainFsError, messageOf } from "../io/files/errors.ts";
import { writeSafetensors } from "../io/tensors/safetensors.ts";
import { writeTorchBin } from "../io/torch/writer.ts";
import { trainableWeights } from "../policy/adapters.ts";
import { assertFiniteWeights } from "../policy/nonfinite.ts";
import { bestAfter, type BestState, bestText, isPatienceOver } from "../rl/best_metric.ts";
import { isDue } from "../rl/cadence.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { BEST_MODEL_FILE } from "../tracking/run_records.ts";
import { loadWeightsOf, saveRun, savesTogether, weightsFile, weightTensors } from "./checkpointing.ts";
import type { Progress } from "./generation_batch.ts";
import { assertSameWeights } from "./rank_check.ts";
import { followingWeights } from "./reference_sync.ts";
import { isWriter, type Run } from "./run.ts";

async function writeCheckpoint(run: Run, progress: Progress): Promise<void> {
  if (run.savedStep === progress.step) return;
  const { deps, config, learner, best, modelFiles } = run;
  const { optimizer } = learner;
  const { runDir, communicator, inputs, events: { onMessage } } = deps;
  await assertFiniteWeights(optimizer.weights, `Step ${progress.step} is not saved`, "it was a step too far");
  await run.tracker.settle();
  run.log?.sync();
  const tracker = run.tracker.state();
  await saveRun(runDir, {
    config,
    communicator,
    optimizer,
    following: followingWeights(learner, config),
    inputs,
    progress,
    tracker,
    best,
    modelFiles,
    onMessage,
  });
  run.savedStep = progress.step;
  trimPool(); // of the buffers that weights were read back through
}

/**
 * Saves the step, if it is not; no rank goes on before that is done.
 * @throws NonfinitePolicyError when weights are no numbers: a checkpoint of them would push out good ones
 */
export async function save(run: Run, progress: Progress): Promise<void> {
  enterPhase("saving");
  const isSaved = run.savedStep === progress.step;
  if (isWriter(run.deps) || savesTogether(run.learner.optimizer)) await writeCheckpoint(run, progress);
  await run.deps.communicator.barrier();
  if (isSaved) return; // a run that goes on from it has yet to take what its journal holds
  run.savedStep = progress.step;
  run.journal.clear();
}

/** Keeps the last whole step, if there is one and the weights have not begun to move on from it. */
export async function saveAfterFailure(run: Run, progress: Progress): Promise<void> {
  if (!isWriter(run.deps) || progress.step === 0) return;
  if (run.savedStep === progress.step) {
    // Of an evaluation of it: where its records still cannot be written, it is made again.
    return await run.tracker.settle().catch(() => {});
  }
  const { optimizer } = run.learner;
  try {
    if (savesTogether(optimizer)) {
      throw new Error(
        "each rank holds a share of the optimizer's state, and they no longer act together; the same command goes " +
          "on from the checkpoint before",
      );
    }
    if (optimizer.updates !== progress.step) {
      throw new Error("the update after it had begun; the same command goes on from the checkpoint before");
    }
    await writeCheckpoint(run, progress);
  } catch (failed) {
    run.deps.events.onMessage(`No checkpoint of step ${progress.step}: ${(failed as Error).message}`);
  }
}

/** Evaluates the policy of the step with its lambdas, if that is not logged yet. */
export async function evaluate(run: Run, progress: Progress): Promise<void> {
  const { deps, tracker, rows } = run;
  if (!deps.evaluate || run.evaluatedStep === progress.step) return;
  enterPhase("the evaluation");
  const values = progress.lambdas.map(({ lambda }) => lambda);
  const outcome = await deps.evaluate(values, { journal: run.journal });
  const lambdas = constraintsOf(run.config).map(({ name }, k) => ({ name, value: values[k] }));
  const row = await tracker.logEval({ step: progress.step, lambdas, ...outcome }, outcome);
  run.evaluatedStep = progress.step;
  const ofStep = rows.at(-1);
  if (ofStep?.step === row.step) Object.assign(ofStep, row);
  else rows.push(row);
  await deps.events.onEvaluation(row, outcome);
  await noteEvaluation(run, progress, row);
}

/** Whether evaluations have not improved for so long that the run ends. */
export const endsEarly = ({ best, config }: Run): boolean => isPatienceOver(best, config);

/** Holds the evaluation against the best, and keeps the checkpoint of a better one. */
async function noteEvaluation(run: Run, progress: Progress, row: MetricRow): Promise<void> {
  const before = run.best;
  const best = bestAfter(before, row, run.config);
  run.best = best;
  if (best === null) return;
  const { onMessage } = run.deps.events;
  if (best.step === progress.step) {
    await save(run, progress);
    if (before !== null && isWriter(run.deps)) onMessage(`The best so far: ${bestText(best)}`);
  }
}

/** Says why no further step is done. */
export function sayWhyEarly({ best, deps }: Run): void {
  if (best === null || !isWriter(deps)) return;
  deps.events.onMessage(
    `Ended early: the last ${best.stale} evaluations were no improvement (early_stopping_patience). The best: ` +
      bestText(best),
  );
}

function checkRanks(
  { deps: { communicator }, learner: { optimizer } }: Run,
  { step }: Progress,
): Promise<void> {
  return assertSameWeights(communicator, optimizer.weights, step);
}

/**
 * What is due after a step. The checkpoint comes before the evaluation, which may take long or fail: what was trained
 * is kept, and a run that goes on without its step's evaluation begins with that.
 */
export async function settle(run: Run, progress: Progress): Promise<void> {
  const { config, shape, steps } = run;
  const isLast = progress.step >= steps;
  const due = (every: number) => isLast || isDue(every, progress.step, shape.updatesPerGeneration);
  if (config.check_ranks_every > 0 && due(config.check_ranks_every)) await checkRanks(run, progress);
  if (isLast) await run.tracker.finish(progress.step);
  if (due(config.save_steps)) await save(run, progress);
  if (due(config.eval_every)) await evaluate(run, progress);
}

/**
 * Takes the weights of the best step in the place of the last one's, where that is wanted; on every rank.
 * @returns the best, where its weights are now the policy's
 * @throws Error when its checkpoint is not there, or damaged
 */
export async function loadBest(run: Run, { step }: Progress): Promise<BestState | null> {
  const { best, config, deps: { runDir, events }, learner: { optimizer } } = run;
  if (!config.load_best_model_at_end || best === null) return null;
  if (best.step === step) return best;
  try {
    await loadWeightsOf(runDir, best.step, optimizer);
  } catch (cause) {
    throw new Error(
      `Cannot write the best model: ${
        messageOf(cause)
      }. Set load_best_model_at_end=false for the weights of step ` +
        `${step}, which are saved`,
      { cause },
    );
  }
  if (isWriter(run.deps)) events.onMessage(`Final weights are those of the best: ${bestText(best)}`);
  return best;
}

/**
 * Weights for transformers and torch.load, or an adapter for peft, in the run's own folder; and of which step they are,
 * where that is not the last.
 */
export async function writeFinalWeights(
  { deps: { runDir }, config, learner }: Run,
  best: BestState | null,
): Promise<void> {
  const path = join(runDir, BEST_MODEL_FILE);
  if (best === null) {
    await rm(path, { force: true }).catch((error) => {
      throw explainFsError(error, "remove", path);
    });
  }
  const tensors = weightTensors(trainableWeights(learner.policy));
  await writeSafetensors(join(runDir, weightsFile(config)), tensors);
  if (!config.use_peft) await writeTorchBin(join(runDir, "pytorch_model.bin"), tensors);
  if (best !== null) {
    const { metric, step, value } = best;
    await writeFileAtomic(path, `${JSON.stringify({ metric, step, value })}\n`);
  }
}
