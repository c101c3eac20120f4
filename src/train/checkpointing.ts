/** A run's state on disk and back: weights, optimizer, lambda, counters, and what identifies the run. */
import { join } from "node:path";
import {
  assertResumable,
  type Change,
  changesBetween,
  resumeIdentity,
  resumeSettings,
} from "../config/resume.ts";
import type { RunConfig } from "../config/sweep.ts";
import { readFloats, readTensor, writeTensor } from "../gpu/tensors.ts";
import {
  loadCheckpoint,
  openLatestCheckpoint,
  type Partners,
  pruneCheckpoints,
  saveCheckpoint,
  type WeightsFile,
  writeOptimizerShard,
} from "../io/records/checkpoint.ts";
import { partName } from "../io/records/optimizer_shards.ts";
import { DTYPE_OF_FORMAT, f32ToBytes } from "../io/tensors/dtype.ts";
import type { TensorSource } from "../io/tensors/safetensors.ts";
import type { TensorReader } from "../io/tensors/tensor_reader.ts";
import { messageOf } from "../io/files/errors.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";
import type { TrackerState } from "../tracking/tracker.ts";
import type { Tensor } from "@tensorflow/tfjs";
import type { Communicator } from "../parallel/communicator.ts";
import type { BestState } from "../rl/best_metric.ts";
import type { Progress } from "./generation_batch.ts";
import type { Optimizer, Slot } from "./optimizer.ts";
import { assertSameInputs, promptChanges, type RunInputs } from "./run_inputs.ts";
import { parseSavedState, type SavedState } from "./saved_state.ts";
import { writeTogether } from "./writing_together.ts";

/** Weights as they are held: f32, or 16 bits. */
export function weightTensors(weights: readonly Weight[]): TensorSource[] {
  return weights.map(({ name, shape, format, tensor }) => ({
    name,
    dtype: DTYPE_OF_FORMAT[format],
    shape,
    bytes: async () => {
      const { buffer, byteOffset, byteLength } = await readTensor(tensor);
      return new Uint8Array(buffer, byteOffset, byteLength);
    },
  }));
}

/** The optimizer's tensors that this rank holds, read back from the GPU when their turn comes. */
export function optimizerTensors(optimizer: Optimizer): TensorSource[] {
  return optimizer.slots.flatMap((slot) => {
    const { weight, master, firstMoment, secondMoment } = slot;
    const source = (kind: string, tensor: Tensor): TensorSource => {
      const name = `${weight.name}.${kind}`;
      return {
        name: savesTogether(optimizer) ? partName(name, slot) : name,
        dtype: "F32",
        shape: tensor.shape,
        bytes: async () => f32ToBytes(await readFloats(tensor), "F32"),
      };
    };
    return [
      ...(master === weight.tensor ? [] : [source("master", master)]),
      source("exp_avg", firstMoment),
      source("exp_avg_sq", secondMoment),
    ];
  });
}

/**
 * The weights of a reference that follows the policy, which every rank holds whole.
 * @param isShard of a file beside others, whose tensors are parts
 */
export function followingTensors(following: readonly Weight[] | null, isShard: boolean): TensorSource[] {
  return (following ?? []).map(({ name, shape, tensor }) => ({
    name: isShard ? partName(followingName(name), { start: 0, end: tensor.size }) : followingName(name),
    dtype: "F32",
    shape: isShard ? [tensor.size] : shape,
    bytes: async () => f32ToBytes(await readFloats(tensor), "F32"),
  }));
}

const followingName = (weight: string) => `${weight}.reference`;

/** The name of the trained weights' file, as `transformers` or `peft` looks for it. */
export function weightsFile({ use_peft }: Pick<RunConfig, "use_peft">): WeightsFile {
  return use_peft ? "adapter_model.safetensors" : "model.safetensors";
}

export interface RunToSave {
  config: RunConfig;
  communicator: Communicator;
  optimizer: Optimizer;
  /** Weights of a reference that follows the policy; null where none does. */
  following: readonly Weight[] | null;
  inputs: RunInputs;
  progress: Progress;
  tracker: TrackerState;
  /** Its checkpoint is not removed. */
  best: BestState | null;
  /** Files that are copied into the checkpoint. */
  modelFiles: readonly string[];
  /** Told where checkpoints beyond save_total_limit cannot be removed: that loses nothing, and ends no run. */
  onMessage(text: string): void;
}

/** Whether all ranks take part in saving: each holds a share of what is saved. */
export const savesTogether = ({ shares }: Optimizer): boolean => shares !== null && shares.rank !== null;

/**
 * Writes checkpoint-{step}, whole or not at all, then removes those beyond save_total_limit. Called on rank 0, and
 * where ranks save together on all of them.
 */
export async function saveRun(
  runDir: string,
  { config, communicator, optimizer, following, inputs, progress, tracker, best, modelFiles, onMessage }:
    RunToSave,
): Promise<void> {
  const { step } = progress;
  const state: SavedState = {
    identity: resumeIdentity(config, communicator.size),
    settings: resumeSettings(config, communicator.size),
    inputs,
    progress,
    tracker,
    best,
  };
  const write = async (partners?: Partners) => {
    await saveCheckpoint(runDir, {
      step,
      weightsFile: weightsFile(config),
      weights: weightTensors(optimizer.weights),
      optimizer: [
        ...optimizerTensors(optimizer),
        ...followingTensors(following, savesTogether(optimizer)),
      ],
      state,
      modelFiles,
      partners,
    });
    if (config.save_total_limit === null) return;
    const kept = { newestStep: step, bestStep: best?.step };
    await pruneCheckpoints(runDir, config.save_total_limit, kept).catch((error) =>
      onMessage(`Older checkpoints stay: ${messageOf(error)}; training goes on`)
    );
  };
  if (!savesTogether(optimizer)) return await write();
  await writeTogether(
    communicator,
    write,
    (partialDir) => writeOptimizerShard(partialDir, communicator, optimizerTensors(optimizer)),
  );
}

/** Reads what a slot holds, however many ranks there were when it was saved. */
async function restoreSlot(reader: TensorReader, slot: Slot): Promise<void> {
  const { weight, start, end, master, firstMoment, secondMoment } = slot;
  const restore = async (kind: string, tensor: Tensor) =>
    writeTensor(tensor, await reader.read(`${weight.name}.${kind}`, 4 * start, 4 * (end - start)));
  if (master !== weight.tensor) await restore("master", master);
  await restore("exp_avg", firstMoment);
  await restore("exp_avg_sq", secondMoment);
}

export interface RestoredRun {
  dir: string;
  progress: Progress;
  tracker: TrackerState;
  best: BestState | null;
  /** What is not as it was when the checkpoint was saved, and may be. */
  changes: readonly Change[];
}

/** @throws Error when there are checkpoints and none of them is whole: a run that starts over would cost its records */
function assertSomeIsWhole(runDir: string, skipped: readonly { dir: string; reason: string }[]): void {
  if (skipped.length === 0) return;
  throw new Error(
    `Cannot go on in "${runDir}": required a whole checkpoint, and each of ${skipped.length} is damaged:\n` +
      skipped.map(({ reason }) => `  ${reason}\n`).join("") +
      "Restore one of them, or set resume=false to start over, which keeps this folder aside",
  );
}

async function restoreWeights({ weights }: Optimizer, reader: TensorReader): Promise<void> {
  for (const weight of weights) {
    writeTensor(weight.tensor, await reader.read(weight.name));
    refreshWeightShift(weight);
  }
}

/**
 * Puts the weights that were saved after a step in the place of those of the last; the optimizer's state stays.
 * @throws Error when that checkpoint is not there, or damaged
 */
export async function loadWeightsOf(runDir: string, step: number, optimizer: Optimizer): Promise<void> {
  const checkpoint = await loadCheckpoint(join(runDir, `checkpoint-${step}`));
  try {
    await restoreWeights(optimizer, checkpoint.weights);
  } finally {
    await checkpoint.close();
  }
}

/**
 * Loads the newest good checkpoint of the run into the optimizer's weights and moments.
 * @returns null when there is none
 * @throws RangeError when its configuration differs, or what it reads; it names the keys and files
 * @throws Error when there are checkpoints, none of which is whole, or a state is not as it was saved
 */
export async function restoreRun(
  runDir: string,
  { config, communicator, optimizer, following, inputs }: Pick<
    RunToSave,
    "config" | "communicator" | "optimizer" | "following" | "inputs"
  >,
  onSkipped: (dir: string, reason: string) => void,
): Promise<RestoredRun | null> {
  const { checkpoint, skipped } = await openLatestCheckpoint(runDir);
  if (checkpoint === undefined) assertSomeIsWhole(runDir, skipped);
  for (const { dir: bad, reason } of skipped) onSkipped(bad, reason);
  if (checkpoint === undefined) return null;
  try {
    const { dir, step, statePath } = checkpoint;
    const saved = parseSavedState(checkpoint.state, { path: statePath, step });
    assertResumable(saved.identity, resumeIdentity(config, communicator.size), dir);
    assertSameInputs(saved.inputs, inputs, { allowNewPrompts: config.allow_new_prompts, checkpoint: dir });
    await restoreWeights(optimizer, checkpoint.weights);
    for (const slot of optimizer.slots) await restoreSlot(checkpoint.optimizer, slot);
    for (const weight of following ?? []) {
      writeTensor(weight.tensor, await checkpoint.optimizer.read(followingName(weight.name)));
      refreshWeightShift(weight);
    }
    optimizer.updates = saved.progress.step;
    const { progress, tracker, best } = saved;
    const changes = [
      ...changesBetween(saved.settings, resumeSettings(config, communicator.size)),
      ...promptChanges(saved.inputs, inputs),
    ];
    return { dir, progress, tracker, best, changes };
  } finally {
    await checkpoint.close();
  }
}
