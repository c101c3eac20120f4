/**
 * Measures a GPU's fastest kernels before a run, once, and keeps what came out in a cache of the user. Nothing but
 * speed depends on it: a cache that is missing, broken or cannot be written costs the seconds that measuring takes.
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { trimPool } from "../gpu/pool.ts";
import type { GpuInfo } from "../gpu/device.ts";
import { makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { messageOf } from "../io/files/errors.ts";
import { readText } from "../io/files/whole_file.ts";
import { ownCache } from "../io/files/own_cache.ts";
import { type LinearTuning, useLinearTuning } from "../ops/linear/facts.ts";
import { linearSizes, linearSources, type TunedWeight, tuneLinear } from "../ops/linear/tuning.ts";
import type { TuningEvents } from "./events.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What a measurement is of: device, driver, runtime and kernels. */
type Device = Pick<GpuInfo, "vendor" | "architecture" | "name" | "driver" | "runtime" | "runtimeVersion">;

/**
 * The file that holds what was measured on a device with these kernels.
 * @param environment GRPO_WEBGPU_TUNING_CACHE names the folder; else XDG_CACHE_HOME or ~/.cache the one above it
 */
export function tuningFile(device: Device, kernels: string, environment: Environment): string {
  const { vendor, architecture, name, driver, runtime, runtimeVersion } = device;
  const facts = [vendor, architecture, name, driver, runtime, runtimeVersion, kernels];
  const key = createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 16);
  const folder = environment.GRPO_WEBGPU_TUNING_CACHE || join(ownCache(environment), "tuning");
  return join(folder, `${key}.json`);
}

/** What a tuning file holds: of one that is missing or broken, what can be read of it. */
export async function readTuning(path: string): Promise<LinearTuning> {
  try {
    const { matmuls } = JSON.parse(await readText(path, "read")) as { matmuls: Record<string, unknown> };
    return Object.fromEntries(
      Object.entries(matmuls).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    return {};
  }
}

/** @returns why it could not be written; undefined when it was */
export async function writeTuning(
  path: string,
  device: Device,
  matmuls: LinearTuning,
): Promise<string | undefined> {
  try {
    await makeFolders(dirname(path));
    const { name, driver, runtime, runtimeVersion } = device;
    await writeFileAtomic(
      path,
      `${JSON.stringify({ name, driver, runtime, runtimeVersion, matmuls }, null, 2)}\n`,
    );
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Whether GRPO_WEBGPU_TUNING says no. */
function isOff({ GRPO_WEBGPU_TUNING = "" }: Environment): boolean {
  return /^(0|off|no|false)$/i.test(GRPO_WEBGPU_TUNING);
}

/** What was measured on this device before: nothing on a CPU, nor where GRPO_WEBGPU_TUNING is off. */
export async function knownTuning(
  info: Device & Pick<GpuInfo, "isSoftware">,
  environment: Environment,
): Promise<LinearTuning> {
  if (info.isSoftware || isOff(environment)) return {};
  return await readTuning(tuningFile(info, linearSources(), environment));
}

/** The layers whose kernels are chosen, and the most tokens that they are run on at a time. */
export interface TunedLayers {
  weights: readonly TunedWeight[];
  mostRows: number;
}

/**
 * Has this device's fastest kernels used for these layers. Measures what the cache does not hold. Nothing on software
 * devices, where there is no choice.
 */
export async function tuneKernels(
  info: GpuInfo,
  { weights, mostRows }: TunedLayers,
  { events = {}, environment = process.env }: { events?: TuningEvents; environment?: Environment } = {},
): Promise<void> {
  if (info.isSoftware || isOff(environment)) return;
  const path = tuningFile(info, linearSources(), environment);
  const known = await readTuning(path);
  const begin = performance.now();
  let measured = 0;
  const onProgress = (done: number, total: number) => {
    events.onMeasuring?.(done, total);
    measured = done;
  };
  const tuning = await tuneLinear(linearSizes(weights, mostRows), { known, onProgress });
  useLinearTuning(tuning);
  if (measured === 0) return;
  trimPool();
  const failure = await writeTuning(path, info, { ...known, ...tuning });
  events.onMeasured?.({ seconds: (performance.now() - begin) / 1000, path, failure });
}

/** How a run on this device comes to its kernels for matrix products, in words. */
export async function kernelChoice(
  info: Device & Pick<GpuInfo, "isSoftware">,
  environment: Environment,
): Promise<string> {
  if (info.isSoftware) return "tiles in registers: a CPU has no fast workgroup memory";
  if (isOff(environment)) return "tiles guessed from the sizes: GRPO_WEBGPU_TUNING is off";
  const path = tuningFile(info, linearSources(), environment);
  const count = Object.keys(await readTuning(path)).length;
  return count > 0
    ? `measured for ${count} classes of sizes, in ${path}`
    : "measured when training starts, once";
}
