/** Options of a command that may run as several ranks: how many, on which GPUs, and what DeepSpeed's files ask for. */
import { homedir } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import { readDeepspeedFile } from "../assembly/deepspeed_file.ts";
import { type AccelerateSettings, gpuIdsOf, readAccelerate } from "../config/accelerate.ts";
import { expandHome } from "../config/paths.ts";
import type { ConfigSource } from "../config/yaml_file.ts";
import { type LaunchedWorld, launchedWorld } from "../parallel/launched_world.ts";
import { once, pathOf } from "./arguments.ts";
import { readSettings } from "./options.ts";

export interface LaunchOptions {
  num_processes?: number;
  config_file?: string;
  deepspeed_config_file?: string;
  gpu_ids?: string;
}

/** How a run is started. */
export interface Launch {
  /** Ranks that train together. */
  size: number;
  /** The world that this process is a rank of; null where it has yet to start its ranks, or is alone. */
  world: LaunchedWorld | null;
  gpuIds: readonly number[] | null;
  useCpu: boolean;
  /** What DeepSpeed is to do, in the place of the file that deepspeed_config names; undefined where nobody says. */
  deepspeed: ConfigSource | undefined;
  notices: readonly string[];
}

const NOTHING: AccelerateSettings = {
  numProcesses: null,
  numMachines: 1,
  gpuIds: null,
  useCpu: false,
  deepspeed: null,
  notices: [],
};

/** Reads an option that is given once, at least 1. */
export function wholeNumber(flag: string): (text: string) => number {
  const first = once(flag);
  return (text) => {
    if (!/^[1-9]\d*$/.test(first(text))) throw new InvalidArgumentError("Need a whole number, at least 1.");
    return Number(text);
  };
}

/** `accelerate launch`'s own names. */
export function withLaunchOptions(command: Command): Command {
  return command
    .option(
      "--num_processes <number>",
      "ranks that train together, each on a GPU of its own; started on this machine by mpirun",
      wholeNumber("--num_processes"),
    )
    .option(
      "--config_file <file>",
      "accelerate's YAML file: num_processes, gpu_ids, use_cpu, ...",
      once("--config_file"),
    )
    .option(
      "--deepspeed_config_file <file>",
      "DeepSpeed's JSON file: stage 0, 1 or 2, buckets, types; as the setting deepspeed_config",
      once("--deepspeed_config_file"),
    )
    .option(
      "--gpu_ids <numbers>",
      'GPUs of this machine to take, as 0,2 (default: "all")',
      once("--gpu_ids"),
    );
}

/**
 * What the options, accelerate's file and the environment say together.
 * @throws RangeError when they contradict each other
 * @throws ConfigError when accelerate's file does not fit
 * @throws Error when a file cannot be read
 */
export async function readLaunch(
  { num_processes, config_file, deepspeed_config_file, gpu_ids }: LaunchOptions,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Launch> {
  const path = config_file === undefined ? undefined : pathOf(config_file);
  const ofFile = path === undefined
    ? NOTHING
    : readAccelerate({ text: await readSettings(path), fileName: path });
  const gpuIds = gpuIdsOf(gpu_ids);
  if (gpuIds === undefined) {
    throw new RangeError(
      `--gpu_ids must be "all" or numbers such as 0,2, got "${gpu_ids}"; doctor lists the GPUs`,
    );
  }
  const wanted = num_processes !== undefined
    ? { size: num_processes, by: `--num_processes ${num_processes}` }
    : ofFile.numProcesses !== null
    ? { size: ofFile.numProcesses, by: `num_processes ${ofFile.numProcesses} of ${path}` }
    : null;
  const world = launchedWorld(env);
  if (world && wanted && world.size !== wanted.size) {
    throw new RangeError(
      `${world.launcher} started ${world.size} ranks, and ${wanted.by} asks for ${wanted.size}; give both the same ` +
        "number, or leave num_processes out where another program starts the ranks",
    );
  }
  const launch = {
    size: world?.size ?? wanted?.size ?? 1,
    world,
    gpuIds: gpuIds ?? ofFile.gpuIds,
    useCpu: ofFile.useCpu,
    deepspeed: await deepspeedOf(deepspeed_config_file, ofFile.deepspeed),
    notices: ofFile.notices,
  };
  assertStartable(launch, ofFile.numMachines);
  return launch;
}

async function deepspeedOf(
  ofOption: string | undefined,
  ofFile: AccelerateSettings["deepspeed"],
): Promise<ConfigSource | undefined> {
  if (ofOption !== undefined) return await readDeepspeedFile(pathOf(ofOption));
  if (ofFile === null) return undefined;
  return "path" in ofFile ? await readDeepspeedFile(String(expandHome(ofFile.path, homedir()))) : ofFile;
}

function assertStartable({ size, world, gpuIds }: Launch, machines: number): void {
  if (world) return;
  if (machines > 1) {
    throw new RangeError(
      `Cannot start ranks on ${machines} machines (num_machines): mpirun is started here for this one alone; on a ` +
        `cluster srun starts them, as slurm/run.sh does, or mpirun with a list of hosts`,
    );
  }
  if (gpuIds !== null && gpuIds.length < size) {
    throw new RangeError(
      `Cannot start ${size} ranks on the ${gpuIds.length} GPUs of gpu_ids ${
        gpuIds.join(",")
      }: required one for each; ` +
        `start ${gpuIds.length}, or name more GPUs`,
    );
  }
}
