/** Adapters between their files and the policy: what is loaded, made, saved and merged. */
import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { ADAPTER_CONFIG, type AdapterFolder, baseModelName } from "../io/model/adapter_folder.ts";
import { writeDirectoryAtomic, writeFileAtomic } from "../io/files/atomic_files.ts";
import { f32ToBytes, isFloatDtype } from "../io/tensors/dtype.ts";
import { COMMIT, parseHubName } from "../io/hub/name.ts";
import { openModelFolder, type TensorValues } from "../io/model/model_folder.ts";
import { type TensorSource, writeSafetensors } from "../io/tensors/safetensors.ts";
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
  loadAdapters,
  mergeAdapter,
} from "../policy/adapters.ts";
import type { AdapterSet } from "../policy/trunk.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import type { PolicyWeights } from "../policy/weights.ts";

/** The adapters that a run trains. */
export interface AdapterSettings extends AdapterConfig {
  targets: RunConfig["lora_target_modules"];
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

/** The base model's tensors in their own types, with the adapters merged in; each is read when its turn comes. */
function mergedTensors(source: TensorValues, adapters: AdapterSet): TensorSource[] {
  const byName = new Map([...adapters.byWeight].map(([weight, adapter]) => [weight.name, adapter]));
  return [...source.names()].map((name) => {
    const dtype = source.dtypeOf(name)!;
    if (!isFloatDtype(dtype)) {
      throw new TypeError(`${source.path}: tensor "${name}" has dtype ${dtype}, required F32, BF16 or F16`);
    }
    const bytes = async () => {
      const values = await source.read(name);
      const adapter = byName.get(name);
      if (adapter) await mergeAdapter(values, adapter);
      return f32ToBytes(values, dtype);
    };
    return { name, dtype, shape: source.shapeOf(name)!, bytes };
  });
}

/**
 * Writes the whole model, as `peft`'s merge_and_unload makes it, to a folder of its own: beside adapter_config.json
 * other programs would load the adapter once more.
 */
export async function writeMergedModel(
  dir: string,
  baseDir: string,
  adapters: AdapterSet,
  tokenizerFiles: readonly string[],
): Promise<void> {
  const base = await openModelFolder(baseDir);
  try {
    await writeDirectoryAtomic(dir, async (partial) => {
      await writeSafetensors(join(partial, "model.safetensors"), mergedTensors(base.source, adapters));
      await writeFileAtomic(join(partial, "config.json"), base.configText);
      for (const file of tokenizerFiles) await copyFile(file, join(partial, basename(file)));
    });
  } finally {
    await base.close();
  }
}
