/** Weights of any iteration of a run by evolution strategies, made again from its replay log. */
import { join, resolve } from "node:path";
import { loadConfig } from "../config/load.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { openGpu } from "../gpu/device.ts";
import { makeFolders } from "../io/files/atomic_files.ts";
import { readText } from "../io/files/whole_file.ts";
import { writeSafetensors } from "../io/tensors/safetensors.ts";
import { disposePolicyWeights, trainableWeights } from "../policy/adapters.ts";
import { disposeTrunk } from "../policy/transformer.ts";
import { REPLAY_FILE, RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import { weightsFile, weightTensors } from "../train/checkpointing.ts";
import { replay } from "../train/es/algorithm.ts";
import { openPopulation } from "../train/es/open_population.ts";
import { readReplayLog, type ReplayLog, type ReplayRow } from "../train/es/replay_log.ts";
import { adapterSettings } from "./adapters.ts";
import type { LoadingEvents } from "./events.ts";
import { holdingOf, loadPolicy } from "./models.ts";
import {
  carriedFiles,
  copyModelFiles,
  type SavedModel,
  startingHashes,
  writeModelConfig,
} from "./run_folder.ts";
import { savedTemplate } from "./saved_template.ts";

export interface ReplayOptions {
  /** Iterations that are done again; all that the log has unless given. */
  iteration?: number;
  /** Folder that the model is written to; replayed-N in the run's unless given. */
  out?: string;
  events?: LoadingEvents;
}

export interface ReplayedModel {
  dir: string;
  /** Of the weights, in it. */
  file: string;
  iteration: number;
}

async function configOf(runDir: string): Promise<RunConfig> {
  const path = join(runDir, RUN_CONFIG_FILE);
  const [config] = sweepRuns(
    loadConfig({ text: await readText(path, "read the settings of"), fileName: path }),
  );
  if (config.algorithm === "es") return config;
  throw new RangeError(
    `Cannot replay '${runDir}': required a run of algorithm "es", whose noise can be made again, got ` +
      `"${config.algorithm}"; give the folder of such a run`,
  );
}

/** @throws RangeError when the log has not all iterations up to the one that is wanted */
function rowsUpTo({ rows }: ReplayLog, path: string, wanted: number | undefined): ReplayRow[] {
  const last = rows.at(-1)?.step ?? 0;
  const iteration = wanted ?? last;
  if (iteration > last) {
    throw new RangeError(
      `Cannot replay iteration ${iteration}: required one that '${path}' has, which goes up to ` +
        `${last}; give a lower one`,
    );
  }
  const gap = rows.slice(0, iteration).findIndex(({ step }, i) => step !== i + 1);
  if (gap === -1) return rows.slice(0, iteration);
  throw new RangeError(
    `Cannot replay iteration ${iteration}: required every iteration up to it, and '${path}' lacks ${
      gap + 1
    }; take the ` +
      `run's checkpoints`,
  );
}

/** @throws Error when the model is not the one that the run began with */
async function assertSameModel(saved: SavedModel, { start }: ReplayLog, runDir: string): Promise<void> {
  const hashes = await startingHashes(saved);
  const others = Object.keys(hashes).filter((name) => start.inputs.model[name] !== hashes[name]);
  if (others.length === 0) return;
  throw new Error(
    `Cannot replay '${runDir}': files of the model that the run began with have changed: ${
      others.join(", ")
    }; ` +
      "restore them",
  );
}

/**
 * Loads the model that a run began with, does to its weights what the iterations did, and writes it as a model's
 * folder, with the bits that the run had.
 * @throws RangeError when the folder is of no such run, or its log does not have the iteration
 * @throws Error when the log or the model is not as it was
 */
export async function replayRun(
  runDir: string,
  { iteration: wanted, out, events = {} }: ReplayOptions = {},
): Promise<ReplayedModel> {
  const config = await configOf(runDir);
  const path = join(runDir, REPLAY_FILE);
  const log = await readReplayLog(path);
  if (log === null) throw new Error(`Cannot replay '${runDir}': required '${REPLAY_FILE}' in it, found none`);
  const rows = rowsUpTo(log, path, wanted);
  await openGpu();
  const loaded = await loadPolicy(config.model_name, holdingOf(config), {
    adapter: adapterSettings(config),
    eosTokenIds: config.eos_token_ids,
    events,
  });
  const { policy, tokenizer } = loaded;
  try {
    const saved: SavedModel = { ...loaded, template: await savedTemplate(tokenizer, config) };
    await assertSameModel(saved, log, runDir);
    const population = await openPopulation({ policy, tokenizer, config });
    for (const row of rows) await replay(population, config, row);
    population.dispose();
    const dir = resolve(out ?? join(runDir, `replayed-${rows.length}`));
    await makeFolders(dir);
    const file = weightsFile(config);
    await writeModelConfig(dir, saved, config.dtype);
    await writeSafetensors(join(dir, file), weightTensors(trainableWeights(policy)));
    await copyModelFiles(dir, carriedFiles(dir, saved));
    return { dir, file, iteration: rows.length };
  } finally {
    disposePolicyWeights(policy);
    disposeTrunk(policy);
  }
}
