/** A training run, put together from its settings: models, tokenizer, prompts, memory plan, kernels and scorer. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { evaluatePolicy } from "../evaluate/evaluate.ts";
import { openGpu } from "../gpu/device.ts";
import { enterPhase, GpuError } from "../gpu/failure.ts";
import { compileKernels } from "../gpu/kernel.ts";
import { trimPool } from "../gpu/pool.ts";
import { setMatmulPrecision } from "../gpu/precision.ts";
import { assertWritableFolder, setAside } from "../io/files/atomic_files.ts";
import { messageOf } from "../io/files/errors.ts";
import { type FolderLock, lockFolder } from "../io/files/folder_lock.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { assertSameOnRanks } from "../parallel/same_on_ranks.ts";
import { rankZeroFirst } from "../parallel/turns.ts";
import { disposePolicyWeights, trainableWeights } from "../policy/adapters.ts";
import { precisionText, settledPrecision } from "../policy/precision.ts";
import { disposeTrunk } from "../policy/transformer.ts";
import { listWeights, parameterCount } from "../policy/weights.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { type Asked, assertUnhurried, scorerWhileWanted } from "../train/given_up.ts";
import { runTraining, type TrainingResult } from "../train/loop.ts";
import type { TrainingEvents } from "../train/run.ts";
import { withWayOn } from "../train/way_on.ts";
import { adapterSettings } from "./adapters.ts";
import { type EndToken, openTurnNotice } from "./ends.ts";
import type { AssemblyEvents } from "./events.ts";
import { type ModelPins, modelPins, resolveModel, scoreModelHashes } from "./hub.ts";
import { tuneKernels } from "./kernel_tuning.ts";
import { type PlannedMemory, planRun } from "./memory.ts";
import { mergeMessage, writeMergedModel } from "./merged_model.ts";
import { loadPolicy } from "./models.ts";
import { type GivenRows, lengthsOf, loadPrompts, longestSequence, type RunPrompts } from "./prompts.ts";
import {
  carriedFiles,
  copyModelFiles,
  runFolder,
  type SavedModel,
  startingHashes,
  writeModelConfig,
  writeRunConfig,
} from "./run_folder.ts";
import { writeRunFacts } from "./run_facts.ts";
import { savedTemplate } from "./saved_template.ts";
import { beginScorer } from "./scorer.ts";
import { type StartingModel, writeWeightChange } from "./weight_change.ts";

export interface AssemblyOptions {
  events?: AssemblyEvents;
  /** Shared by the runs of a sweep, which are then of the same models. */
  pinModels?: ModelPins;
  /** Judges in the place of the score models of the settings, or beside the service and functions they name. */
  scorer?: Scorer;
  rows?: GivenRows;
  /** What was typed to start the run, for its report. */
  command?: string;
  /** Ranks that train together, each of which puts the run together; one unless given. */
  communicator?: Communicator;
  /** Aborted: no waiting goes on, and nothing further is loaded. */
  signal?: AbortSignal;
}

/** What a run says about itself before its first step. */
export interface RunFacts {
  /** The GPU's name and the runtime. */
  device: string;
  runDir: string;
  parameterCount: number;
  /** Parameters that are trained: all of them, or those of adapters beside them. */
  trainedCount: number;
  /** Tokens at which completions end. */
  ends: readonly EndToken[];
  memory: PlannedMemory;
  /** How exactly it samples and multiplies, in words. */
  precision: string;
  /** What stands around the prompts, in words. */
  promptFormat: string;
  /** Ranks that train together. */
  worldSize: number;
  /** What was typed to start it; none for a program's call. */
  command?: string;
}

export interface TrainedRun extends TrainingResult {
  /** Of GPU memory, at the most. */
  peakBytes: number;
}

/** A run that is ready to train. */
export interface AssembledRun {
  /** The settings, with the commits of its models, and the precisions of the device in the place of `auto`. */
  config: RunConfig;
  facts: RunFacts;
  /** Trains to the last step, or until it is asked to stop; then writes what makes the folder a model. */
  train(events: TrainingEvents, asked?: Asked): Promise<TrainedRun>;
  /** Frees the models and the scorer. */
  close(): Promise<void>;
}

/** What `train` works with. */
interface Parts {
  config: RunConfig;
  /** Of what is loaded. */
  events: AssemblyEvents;
  communicator: Communicator;
  facts: RunFacts;
  loaded: SavedModel;
  prompts: Pick<RunPrompts, "prompts" | "evalPrompts" | "sources">;
  scorer: Scorer;
  /** Of the score models that it serves. */
  judgeHashes(): Promise<Record<string, string>>;
}

/**
 * Puts a run together in a folder that is this run's alone until it is closed; nothing is written there yet. One run at
 * a time has room on the GPU: close it before the next.
 * @throws RangeError when it takes more GPU memory than there is
 * @throws ScorerUnavailableError when no healthy scorer answers
 * @throws the signal's reason when it is aborted
 * @throws Error when another run works in the folder, or a model, a file of prompts or a setting, which it names, does
 *   not fit
 */
export async function assembleRun(given: RunConfig, options: AssemblyOptions = {}): Promise<AssembledRun> {
  const { communicator = singleProcess, events = {} } = options;
  // Before models load, which takes minutes and the GPU's memory from the one that is there.
  const lock = communicator.rank === 0 ? await takeFolder(runFolder(given), events) : null;
  try {
    return await assemble(lock, given, options);
  } catch (error) {
    lock?.release();
    throw error instanceof GpuError
      ? await withWayOn(error, { runDir: runFolder(given), config: given, step: 0 })
      : error;
  }
}

async function assemble(
  lock: FolderLock | null,
  given: RunConfig,
  {
    events = {},
    pinModels = modelPins((name) => resolveModel(name, events)),
    scorer: ownScorer,
    rows,
    communicator = singleProcess,
    command,
    signal,
  }: AssemblyOptions,
): Promise<AssembledRun> {
  const { info, memory: gpuMemory } = await openGpu();
  enterPhase("loading");
  gpuMemory.forgetPeak(); // of another run in this process
  const wanted = settledPrecision(given);
  setMatmulPrecision(wanted.matmul_precision);
  signal?.throwIfAborted();
  const device = `${info.name} (${info.runtime} ${info.runtimeVersion})`;
  const openScorer = await beginScorer(wanted, {
    device,
    scorer: ownScorer,
    events,
    signal,
    rank: communicator.rank,
  });
  // Rank 0 downloads what the others then find.
  const config = await rankZeroFirst(
    communicator,
    () => pinModels(wanted, runFolder(wanted), ownScorer),
  );
  const { tokenizer, promptFormat, ...prompts } = await rankZeroFirst(
    communicator,
    () => loadPrompts(config, events, rows),
  );
  await assertSameRun(communicator, config, prompts);
  const lengths = lengthsOf(prompts);
  signal?.throwIfAborted();
  const memory = await planRun(config, lengths, events, { scorer: ownScorer, ranks: communicator });
  const compiled = compileKernels(memory.plan.kernels); // while the weights are read
  compiled.catch(() => {}); // told where it is waited for; loading may have failed before
  const adapter = adapterSettings(config);
  const eosTokenIds = config.eos_token_ids;
  signal?.throwIfAborted();
  const loaded = await loadPolicy(config.model_name, config.dtype, {
    adapter,
    tokenizer,
    eosTokenIds,
    mostPositions: longestSequence(lengths, config),
    events,
  });
  const { policy } = loaded;
  const freePolicy = () => {
    disposePolicyWeights(policy);
    disposeTrunk(policy);
    trimPool(); // the next run of a sweep plans with what is free
  };
  try {
    signal?.throwIfAborted();
    const notice = await openTurnNotice(tokenizer, loaded.ends, config);
    if (notice !== null) events.onMessage?.(notice);
    const trained = trainableWeights(policy);
    const weights = listWeights(policy.weights);
    const mostRows = memory.plan.rowsPerPass * (lengths.longestPrompt + config.max_completion_length);
    await compiled;
    await rankZeroFirst(
      communicator,
      () => tuneKernels(info, { weights: [...weights, ...trained], mostRows }, { events }),
    );
    const { scorer, close: closeScorer } = await openScorer(config);
    const facts = {
      device,
      runDir: runFolder(config),
      parameterCount: parameterCount(weights),
      trainedCount: parameterCount(trained),
      ends: loaded.ends,
      memory,
      precision: precisionText(config),
      promptFormat,
      worldSize: communicator.size,
      ...(command !== undefined && { command }),
    };
    const saved = { ...loaded, template: await savedTemplate(tokenizer, config) };
    const judgeHashes = () => scoreModelHashes(config, ownScorer);
    const parts = { config, events, communicator, facts, loaded: saved, prompts, scorer, judgeHashes };
    return {
      config,
      facts,
      train: (training, asked = { shouldStop: () => false }) => train(parts, training, asked),
      async close() {
        await closeScorer();
        freePolicy();
        lock?.release();
      },
    };
  } catch (error) {
    freePolicy();
    throw error;
  }
}

/** @throws Error when the ranks were given other settings, or read other prompts */
async function assertSameRun(
  communicator: Communicator,
  config: RunConfig,
  { prompts, evalPrompts }: Pick<RunPrompts, "prompts" | "evalPrompts">,
): Promise<void> {
  await assertSameOnRanks(communicator, "their settings", JSON.stringify(config, null, 1));
  const idsOf = (set: readonly { ids: readonly number[] }[] | null) => set?.map(({ ids }) => ids.join(" "));
  const read = [...idsOf(prompts)!, "evaluation:", ...idsOf(evalPrompts) ?? []];
  await assertSameOnRanks(communicator, "their prompts, as token ids", read.join("\n"));
}

async function train(parts: Parts, events: TrainingEvents, asked: Asked): Promise<TrainedRun> {
  const { config, communicator, facts, loaded, prompts, scorer, judgeHashes } = parts;
  const { runDir, memory } = facts;
  if (communicator.rank === 0) await readyFolder(config, runDir, events);
  await communicator.barrier();
  const { policy, tokenizer } = loaded;
  const describeRun = async (hasSteps: boolean) => {
    const eosTokenIds = config.eos_token_ids ?? loaded.ends.map(({ id }) => id);
    await writeRunConfig(runDir, { ...config, eos_token_ids: eosTokenIds });
    if (hasSteps) await writeRunFacts(facts);
    return await writeModelConfig(runDir, loaded, config.dtype);
  };
  const { evalPrompts, sources } = prompts;
  const deps = { policy, tokenizer, scorer, communicator };
  const endable = endableEvaluation(scorer, communicator, asked);
  const result = await runTraining({
    ...deps,
    runDir,
    prompts: prompts.prompts,
    inputs: { ...sources, model: { ...await startingHashes(loaded), ...await judgeHashes() } },
    passes: memory.plan,
    evaluate: evalPrompts &&
      ((lambdas, scoring) =>
        evaluatePolicy({ ...deps, ...endable, ...scoring, prompts: evalPrompts, config }, lambdas)),
    describeRun,
    events,
    shouldStop: asked.shouldStop,
    isHurried: asked.isHurried,
  }, config);
  if (communicator.rank === 0) await finishFolder(parts, result, events);
  if (communicator.rank === 0 && result.finished && result.rows.length > 0) {
    // What trained is not lost where it cannot be told how far.
    await writeWeightChange(runDir, startOf(loaded), parts.events).catch((error) =>
      events.onMessage(messageOf(error))
    );
  }
  await communicator.barrier();
  const { peakBytes } = (await openGpu()).memory();
  if (communicator.rank === 0 && result.rows.length > 0) {
    // What trained is not lost where a line for the report cannot be written.
    await writeRunFacts(facts, peakBytes).catch((error) => events.onMessage(messageOf(error)));
  }
  return { ...result, peakBytes };
}

/**
 * An evaluation that a run which is asked to end gives up: the run that goes on makes up for it. Ranks evaluate
 * together, and give up what all of them were asked twice to.
 */
function endableEvaluation(scorer: Scorer, { size }: Communicator, asked: Asked) {
  const what = "the evaluation; it is made up for when the run goes on";
  const once = { shouldStop: asked.shouldStop, isHurried: size === 1 ? asked.shouldStop : asked.isHurried };
  return {
    scorer: scorerWhileWanted(scorer, once, what),
    onGenerating: () => assertUnhurried(once, what),
  };
}

/** @throws Error when another run works in the folder */
async function takeFolder(runDir: string, events: AssemblyEvents): Promise<FolderLock> {
  const lock = await lockFolder(runDir);
  if (lock.before) {
    const { pid, host, since } = lock.before;
    events.onMessage?.(`The run before in this folder, process ${pid} on ${host} since ${since}, is gone`);
  }
  return lock;
}

/** What a run's weights were before it: an adapter's own too, where that is trained. */
const startOf = ({ policy, base, adapterDir }: SavedModel): StartingModel => ({
  name: base.name,
  dir: base.dir,
  adapterDir: policy.adapters ? adapterDir : null,
});

/** Sets a run aside that is not gone on with, and sees that the folder can be written to. */
async function readyFolder(config: RunConfig, runDir: string, events: TrainingEvents): Promise<void> {
  const before = config.resume ? undefined : await setAside(runDir);
  if (before !== undefined) events.onMessage(`Starting over; the run before is kept as ${before}`);
  await assertWritableFolder(runDir);
}

/** Writes what makes the folder a model: the small files, and the merged one where it is wanted. */
async function finishFolder(
  { config, facts: { runDir }, loaded }: Parts,
  result: TrainingResult,
  events: TrainingEvents,
): Promise<void> {
  const { policy, base } = loaded;
  const files = carriedFiles(runDir, loaded);
  await copyModelFiles(runDir, files);
  if (config.lora_merge && result.finished) {
    const dir = join(runDir, "merged");
    const parts = { baseDir: base.dir, adapters: policy.adapters!, tokenizerFiles: files };
    const kept = await writeMergedModel(dir, parts, config);
    events.onMessage(mergeMessage(kept, config.lora_merge_dtype));
  }
}
