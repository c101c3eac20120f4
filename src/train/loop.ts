/** The run: resume, steps, evaluations, checkpoints, final weights. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type BatchShape, batchShape, totalSteps } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import { trimPool } from "../gpu/pool.ts";
import { openAppendLog } from "../io/records/append_log.ts";
import { removeStalePartials } from "../io/files/atomic_files.ts";
import { writeSafetensors } from "../io/tensors/safetensors.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { writeTorchBin } from "../io/torch/writer.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { createGenerator, type GenerationProgress } from "../policy/decode/generate.ts";
import { disposeReference, freezeReference, trainableWeights } from "../policy/adapters.ts";
import { samplingOptions } from "../policy/decode/options.ts";
import { disposePasses, makePassReplays } from "../policy/pass_replays.ts";
import type { Policy } from "../policy/trunk.ts";
import { listWeights, parameterCount } from "../policy/weights.ts";
import { isDue } from "../rl/cadence.ts";
import { initialLambdaState } from "../rl/lambda.ts";
import type { Scorer } from "../scorer/protocol.ts";
import type { Judgements, MetricRow } from "../tracking/metrics.ts";
import { parseMetrics } from "../tracking/run_records.ts";
import { openTracker, type Tracker } from "../tracking/tracker.ts";
import { restoreRun, saveRun, weightsFile, weightTensors } from "./checkpointing.ts";
import { createOptimizer, disposeOptimizer } from "./optimizer.ts";
import type { Prompt } from "./prompts.ts";
import { type Progress, trainStep } from "./generation_batch.ts";
import type { Learner } from "./passes.ts";

export interface EvaluationOutcome extends Judgements {
  prompts: string[];
  completions: string[];
}

export interface TrainingEvents {
  /** Before the first step; `firstStep` > 1 when resumed. A "step" here is an optimizer step. */
  onStart(firstStep: number, steps: number): void;
  /** While completions are sampled; `step` is the last optimizer step done. */
  onGenerating?(step: number, progress: GenerationProgress): void;
  onStep(row: MetricRow, texts: { prompts: string[]; completions: string[] }): void;
  onEvaluation(row: MetricRow): void;
  onMessage(text: string): void;
}

export interface TrainingDeps {
  runDir: string;
  policy: Policy;
  tokenizer: Tokenizer;
  prompts: readonly Prompt[];
  scorer: Scorer;
  communicator: Communicator;
  /** Completions of a micro-batch that are trained on at a time, by the memory plan; null for all. */
  rowsPerPass: number | null;
  /** Greedy evaluation of the policy as it is, with this lambda; null without eval prompts. */
  evaluate: ((lambda: number) => Promise<EvaluationOutcome>) | null;
  /**
   * Writes what tells of the run and its model to the run's folder. Called once it is clear that the run may go on
   * there. @returns config.json or adapter_config.json, and tokenizer files, which checkpoints copy
   */
  describeRun(): Promise<readonly string[]>;
  events: TrainingEvents;
  /** True once the process was asked to end: the run saves and stops after the step in progress. */
  shouldStop(): boolean;
}

export interface TrainingResult {
  progress: Progress;
  /** Of the steps that this process ran and of its evaluations: one for each step, as in `readRun`. */
  rows: MetricRow[];
  finished: boolean;
  trainingSeconds: number;
}

/** Everything a run holds while it runs. */
interface Run {
  deps: TrainingDeps;
  config: RunConfig;
  learner: Learner;
  /** Files of the run's folder that checkpoints copy. */
  modelFiles: readonly string[];
  tracker: Tracker;
  log: ReturnType<typeof openAppendLog>;
  steps: number;
  shape: BatchShape;
  savedStep: number;
  evaluatedStep: number;
  rows: MetricRow[];
}

/** Models above this recompute their layers in backward unless told not to. */
const LARGE_MODEL = 1e9;

/** What is trained, and what it is held against. The policy must be as it was loaded. */
export function makeLearner(policy: Policy, config: RunConfig): Learner {
  const recomputesLayers = config.gradient_checkpointing ??
    parameterCount(listWeights(policy.weights)) > LARGE_MODEL;
  const reference = config.beta === 0 ? null : freezeReference(policy);
  const optimizer = createOptimizer(trainableWeights(policy));
  return {
    policy: { ...policy, recomputesLayers },
    reference,
    optimizer,
    rowsPerPass: config.per_device_train_batch_size,
    replays: { policy: makePassReplays(), reference: makePassReplays() },
  };
}

/** Frees what makeLearner made; the policy stays. */
export function disposeLearner({ policy, reference, optimizer, replays }: Learner): void {
  disposePasses(replays.policy);
  disposePasses(replays.reference);
  if (reference) disposeReference(reference, policy);
  disposeOptimizer(optimizer);
}

async function save(run: Run, progress: Progress): Promise<void> {
  if (run.savedStep === progress.step) return;
  run.log.sync();
  await saveRun(
    run.deps.runDir,
    run.config,
    run.learner.optimizer,
    progress,
    run.tracker.state(),
    run.modelFiles,
  );
  run.savedStep = progress.step;
  trimPool(); // of the buffers that weights were read back through
}

/** Keeps the last whole step, unless the weights have already begun to move on from it. */
async function saveAfterFailure(run: Run, progress: Progress): Promise<void> {
  const { optimizer } = run.learner;
  try {
    if (optimizer.updates !== progress.step) {
      throw new Error("the update after it had begun; the same command goes on from the checkpoint before");
    }
    await save(run, progress);
  } catch (failed) {
    run.deps.events.onMessage(`No checkpoint of step ${progress.step}: ${(failed as Error).message}`);
  }
}

async function evaluate(run: Run, progress: Progress): Promise<void> {
  const { deps, tracker, rows } = run;
  if (!deps.evaluate || run.evaluatedStep === progress.step) return;
  const outcome = await deps.evaluate(progress.lambda.lambda);
  const row = await tracker.logEval({ step: progress.step, ...outcome }, outcome);
  run.evaluatedStep = progress.step;
  const ofStep = rows.at(-1);
  if (ofStep?.step === row.step) Object.assign(ofStep, row);
  else rows.push(row);
  deps.events.onEvaluation(row);
}

/**
 * What is due after a step. The checkpoint comes last, so that a run killed before it, which will do the step again,
 * lacks nothing that goes with the step.
 */
async function settle(run: Run, progress: Progress): Promise<void> {
  const { config, shape, steps } = run;
  const isLast = progress.step >= steps;
  const due = (every: number) => isLast || isDue(every, progress.step, shape.updatesPerGeneration);
  if (due(config.eval_every)) await evaluate(run, progress);
  if (isLast) await run.tracker.finish(progress.step);
  if (due(config.save_steps)) await save(run, progress);
}

/** Steps from `progress` on until the last one, or until the process is asked to end. */
async function runSteps(run: Run, start: Progress): Promise<Progress> {
  const { deps, config, learner, steps, shape } = run;
  const generator = createGenerator(learner.policy, samplingOptions(learner.policy, config));
  let progress = start;
  try {
    // A checkpoint that was saved because the evaluation failed still lacks it.
    if (progress.step > 0) await settle(run, progress);
    while (progress.step < steps && !deps.shouldStop()) {
      const done = progress.step;
      const outcome = await trainStep({
        ...deps,
        config,
        learner,
        generator,
        shape,
        totalSteps: steps,
        onGenerating: (generated) => deps.events.onGenerating?.(done, generated),
      }, progress);
      progress = outcome.progress;
      const texts = {
        prompts: outcome.rollouts.map(({ prompt }) => prompt.user),
        completions: outcome.rollouts.map(({ text }) => text),
      };
      const row = await run.tracker.logStep(outcome.record, texts);
      run.rows.push(row);
      deps.events.onStep(row, texts);
      await settle(run, progress);
    }
  } catch (error) {
    await saveAfterFailure(run, progress);
    throw error;
  } finally {
    generator.dispose();
  }
  return progress;
}

/** Weights for transformers and torch.load, or an adapter for peft, in the run's own folder. */
async function writeFinalWeights({ deps: { runDir }, config, learner }: Run): Promise<void> {
  const tensors = weightTensors(trainableWeights(learner.policy));
  await writeSafetensors(join(runDir, weightsFile(config)), tensors);
  if (!config.use_peft) await writeTorchBin(join(runDir, "pytorch_model.bin"), tensors);
}

/** Whether the log holds the evaluation of a step. */
async function isEvaluated(runDir: string, step: number): Promise<boolean> {
  const path = join(runDir, "metrics.jsonl");
  const rows = parseMetrics(await readFile(path, "utf8"), path);
  return rows.some((row) => row.step === step && row["eval/total_samples"] !== undefined);
}

/** Folders that a run which starts over must not inherit. */
async function clearRun(runDir: string): Promise<void> {
  for (const name of ["runs", "samples", "metrics.jsonl"]) {
    await rm(join(runDir, name), { recursive: true, force: true });
  }
}

async function openRun(
  deps: TrainingDeps,
  config: RunConfig,
  learner: Learner,
): Promise<{ run: Run; progress: Progress }> {
  const { runDir, events } = deps;
  const shape = batchShape(config, deps.communicator.size);
  const steps = totalSteps(config, deps.prompts.length, shape);
  const restored = config.resume
    ? await restoreRun(
      runDir,
      config,
      learner.optimizer,
      (dir, reason) => events.onMessage(`Skipped ${dir}: ${reason}`),
    )
    : null;
  if (!restored) await clearRun(runDir);
  const modelFiles = await deps.describeRun();
  const progress = restored?.progress ??
    { step: 0, lambda: initialLambdaState(config.lambda_cost), numTokens: 0 };
  const log = openAppendLog(join(runDir, "metrics.jsonl"), restored ? progress.step : -1);
  const tracker = await openTracker({
    runDir,
    config,
    appendRow: (row) => log.append(row),
    resume: restored ? { step: progress.step, state: restored.tracker } : undefined,
  });
  return {
    run: {
      deps,
      config,
      learner,
      modelFiles,
      tracker,
      log,
      steps,
      shape,
      savedStep: restored ? progress.step : -1,
      evaluatedStep: await isEvaluated(runDir, progress.step) ? progress.step : -1,
      rows: [],
    },
    progress,
  };
}

/**
 * Trains until the last step (or until asked to stop), from the newest checkpoint of the same configuration if there
 * is one and `resume` is on. A failure saves a checkpoint of the last whole step before it is thrown on.
 */
export async function runTraining(deps: TrainingDeps, config: RunConfig): Promise<TrainingResult> {
  await removeStalePartials(deps.runDir);
  const learner = makeLearner(deps.policy, config);
  learner.rowsPerPass = deps.rowsPerPass ?? learner.rowsPerPass;
  const { run, progress: start } = await openRun(deps, config, learner);
  const began = performance.now();
  try {
    deps.events.onStart(start.step + 1, run.steps);
    const progress = await runSteps(run, start);
    const trainingSeconds = (performance.now() - began) / 1000;
    const finished = progress.step >= run.steps;
    await save(run, progress);
    if (finished) await writeFinalWeights(run);
    return { progress, rows: run.rows, finished, trainingSeconds };
  } finally {
    run.log.close();
    await run.tracker.close();
    disposeLearner(learner);
  }
}
