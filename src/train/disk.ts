/** Whether what a run is going to write finds room. */
import { formatBytes } from "../config/units.ts";
import { freeBytes } from "../io/files/disk_space.ts";
import { sourceByteLength, type TensorSource } from "../io/tensors/safetensors.ts";
import { followingTensors, optimizerTensors, savesTogether, weightTensors } from "./checkpointing.ts";
import { followingWeights } from "./reference_sync.ts";
import { isWriter, type Run } from "./run.ts";

const sizeOf = (tensors: readonly TensorSource[]) =>
  tensors.reduce((sum, tensor) => sum + sourceByteLength(tensor), 0);

/** Checkpoints that a run is going to hold at once beyond those it has, the one that is being written among them. */
export function checkpointsToCome(
  { save_steps, save_total_limit }: { save_steps: number; save_total_limit: number | null },
  steps: number,
): number {
  const saved = save_steps === 0 ? 1 : Math.ceil(steps / save_steps);
  return Math.min(saved, save_total_limit === null ? Infinity : save_total_limit + 1);
}

/**
 * Says before the first step where a run's checkpoints will not find room.
 * @param done steps that it has behind it
 */
export async function warnOfDisk(
  { deps, config, learner, steps }: Run,
  done: number,
): Promise<void> {
  if (!isWriter(deps) || done >= steps) return;
  const { optimizer } = learner;
  const free = await freeBytes(deps.runDir);
  if (free === null) return;
  // A rank with a share of the state has as much of it as any other, but for a rounding.
  const shards = savesTogether(optimizer) ? deps.communicator.size : 1;
  const one = sizeOf(weightTensors(optimizer.weights)) + shards * sizeOf(optimizerTensors(optimizer)) +
    sizeOf(followingTensors(followingWeights(learner, config), false));
  const count = checkpointsToCome(config, steps - done);
  if (count * one <= free) return;
  const whole = count === 1 ? "" : `, and up to ${count} of them ${formatBytes(count * one)}`;
  deps.events.onMessage(
    `The disk may be too small: a checkpoint takes ${formatBytes(one)}${whole}; ${
      formatBytes(free)
    } are free at ` +
      `"${deps.runDir}". Free space, set output_dir to another disk, or ` +
      `${count > 2 ? "save_total_limit=1 or a larger save_steps" : "train adapters (use_peft)"}`,
  );
}
