/** A run's state on disk and back: weights, optimizer, lambda, counters, and what identifies the run. */
import { assertResumable, type ResumeIdentity, resumeIdentity } from "../config/resume.ts";
import type { RunConfig } from "../config/sweep.ts";
import { readFloats, readTensor, writeTensor } from "../gpu/tensors.ts";
import {
  latestCheckpoint,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
  type WeightsFile,
} from "../io/records/checkpoint.ts";
import { DTYPE_OF_FORMAT, f32ToBytes } from "../io/tensors/dtype.ts";
import type { TensorSource } from "../io/tensors/safetensors.ts";
import type { TensorReader } from "../io/tensors/tensor_reader.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { refreshWeightShift } from "../ops/weight/weight_shift.ts";
import type { TrackerState } from "../tracking/tracker.ts";
import type { Tensor } from "@tensorflow/tfjs";
import type { Optimizer } from "./optimizer.ts";
import type { Progress } from "./generation_batch.ts";

interface SavedState {
  identity: ResumeIdentity;
  progress: Progress;
  tracker: TrackerState;
}

/** A tensor to write, read back from the GPU when its turn comes. */
function f32Tensor(name: string, tensor: Tensor): TensorSource {
  return {
    name,
    dtype: "F32",
    shape: tensor.shape,
    bytes: async () => f32ToBytes(await readFloats(tensor), "F32"),
  };
}

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

function momentTensors(optimizer: Optimizer): TensorSource[] {
  return optimizer.slots.flatMap(({ weight, master, firstMoment, secondMoment }) => [
    ...(master === weight.tensor ? [] : [f32Tensor(`${weight.name}.master`, master)]),
    f32Tensor(`${weight.name}.exp_avg`, firstMoment),
    f32Tensor(`${weight.name}.exp_avg_sq`, secondMoment),
  ]);
}

/** The name of the trained weights' file, as `transformers` or `peft` looks for it. */
export function weightsFile({ use_peft }: Pick<RunConfig, "use_peft">): WeightsFile {
  return use_peft ? "adapter_model.safetensors" : "model.safetensors";
}

export interface RunToSave {
  config: RunConfig;
  /** Ranks that train. */
  worldSize: number;
  optimizer: Optimizer;
  progress: Progress;
  tracker: TrackerState;
  /** Files that are copied into the checkpoint. */
  modelFiles: readonly string[];
}

/** Writes checkpoint-{step}, whole or not at all, then removes those beyond save_total_limit. */
export async function saveRun(
  runDir: string,
  { config, worldSize, optimizer, progress, tracker, modelFiles }: RunToSave,
): Promise<string> {
  const state: SavedState = {
    identity: resumeIdentity(config, worldSize),
    progress,
    tracker,
  };
  const dir = await saveCheckpoint(runDir, {
    step: progress.step,
    weightsFile: weightsFile(config),
    weights: weightTensors(optimizer.slots.map(({ weight }) => weight)),
    optimizer: momentTensors(optimizer),
    state,
    modelFiles,
  });
  if (config.save_total_limit !== null) {
    await pruneCheckpoints(runDir, config.save_total_limit, progress.step);
  }
  return dir;
}

/** @param tensor of the same bytes as the one in the file */
async function restore(reader: TensorReader, name: string, tensor: Tensor): Promise<void> {
  writeTensor(tensor, await reader.read(name));
}

export interface RestoredRun {
  dir: string;
  progress: Progress;
  tracker: TrackerState;
}

/**
 * Loads the newest good checkpoint of the run into the optimizer's weights and moments.
 * @returns null when there is none
 * @throws RangeError when its configuration differs; it names the keys
 */
export async function restoreRun(
  runDir: string,
  { config, worldSize, optimizer }: Pick<RunToSave, "config" | "worldSize" | "optimizer">,
  onSkipped: (dir: string, reason: string) => void,
): Promise<RestoredRun | null> {
  const { dir, skipped } = await latestCheckpoint(runDir);
  for (const { dir: bad, reason } of skipped) onSkipped(bad, reason);
  if (dir === undefined) return null;
  const checkpoint = await loadCheckpoint(dir);
  try {
    const saved = checkpoint.state as SavedState;
    assertResumable(saved.identity, resumeIdentity(config, worldSize), dir);
    for (const { weight, master, firstMoment, secondMoment } of optimizer.slots) {
      if (master !== weight.tensor) await restore(checkpoint.optimizer, `${weight.name}.master`, master);
      await restore(checkpoint.weights, weight.name, weight.tensor);
      refreshWeightShift(weight);
      await restore(checkpoint.optimizer, `${weight.name}.exp_avg`, firstMoment);
      await restore(checkpoint.optimizer, `${weight.name}.exp_avg_sq`, secondMoment);
    }
    optimizer.updates = saved.progress.step;
    return { dir, progress: saved.progress, tracker: saved.tracker };
  } finally {
    await checkpoint.close();
  }
}
