/** Adapters between their files and the policy: what is loaded, made and saved. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { ADAPTER_CONFIG, type AdapterFolder, baseModelName } from "../io/model/adapter_folder.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { COMMIT, parseHubName } from "../io/hub/name.ts";
import {
  type AdapterConfig,
  formatAdapterConfig,
  parseAdapterConfig,
  targetModules,
} from "../policy/adapter_config.ts";
import {
  assertContinues,
  createAdapters,
  linearModules,
  listAdapterWeights,
  loadAdapters,
} from "../policy/adapters.ts";
import { assertFiniteSource } from "../policy/nonfinite.ts";
import type { AdapterSet } from "../policy/trunk.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import type { PolicyWeights } from "../policy/weights.ts";

/** The adapters that a run trains. */
export interface AdapterSettings extends AdapterConfig {
  targets: readonly string[] | "all-linear";
  seed: number;
}

type AdapterKeys = "use_peft" | "lora_r" | "lora_alpha" | "use_rslora" | "lora_target_modules" | "seed";

/** null where all weights are trained. */
export function adapterSettings(config: Pick<RunConfig, AdapterKeys>): AdapterSettings | null {
  if (!config.use_peft) return null;
  return {
    rank: config.lora_r,
    alpha: config.lora_alpha,
    useRslora: config.use_rslora,
    targets: config.lora_target_modules,
    seed: config.seed,
  };
}

/** @throws Error when the adapter does not say what it belongs to */
export async function baseModelOf({ dir, configPath, configText }: AdapterFolder): Promise<string> {
  const { baseModel, revision } = parseAdapterConfig(configText, configPath);
  if (baseModel !== null) return await baseModelName(dir, baseModel, revision);
  throw new Error(
    `${configPath}: base_model_name_or_path is missing; set it to the model that the adapter is for`,
  );
}

/**
 * The policy's adapters: those of the folder, else new ones by the settings, else none.
 * @throws RangeError when the settings name modules that the model lacks, or the folder's adapter differs from them
 */
export async function makeAdapters(
  weights: PolicyWeights,
  folder: AdapterFolder | null,
  settings: AdapterSettings | null,
  { layers }: Pick<ModelConfig, "layers">,
): Promise<AdapterSet | undefined> {
  const modules = settings ? targetModules(settings.targets, linearModules(weights)) : [];
  if (!folder) return settings ? createAdapters(weights, settings, modules, settings.seed) : undefined;
  const config = parseAdapterConfig(folder.configText, folder.configPath);
  const adapters = await loadAdapters(weights, folder.source, config, settings !== null);
  await assertFiniteSource(folder.source, listAdapterWeights(adapters));
  if (settings) assertContinues(adapters, { ...settings, modules }, { layers, path: folder.dir });
  return adapters;
}

/** adapter_config.json beside a run's adapter. @param baseName folder, or "org/name@commit" */
export async function writeAdapterConfig(
  runDir: string,
  adapters: AdapterSet,
  baseName: string,
): Promise<string> {
  const hub = parseHubName(baseName);
  // A folder's name may hold an "@" too.
  const commit = hub?.revision !== undefined && COMMIT.test(hub.revision) ? hub.revision : null;
  const saved = {
    ...adapters.config,
    baseModel: commit === null ? baseName : hub!.id,
    revision: commit,
  };
  const path = join(runDir, ADAPTER_CONFIG);
  await writeFileAtomic(path, formatAdapterConfig(saved, adapters.modules));
  return path;
}
