/** A run's folder: where it lies, and what tells there of its model. */
import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { explainFsError } from "../io/files/errors.ts";
import { textSha256 } from "../io/files/sha256.ts";
import { changedJson } from "../io/files/json_text.ts";
import { modelHashes } from "../io/model/model_hashes.ts";
import { JINJA_FILE } from "../io/tokenizer/chat_template_files.ts";
import { RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import { writeAdapterConfig } from "./adapters.ts";
import type { LoadedPolicy } from "./models.ts";

/** A policy as it is saved. */
export interface SavedModel extends LoadedPolicy {
  /** What chat_template.jinja is to hold; null for what the files hold. */
  template: string | null;
}

/** Where the run of these settings lies. */
export function runFolder({ output_dir, algorithm, beta, seed }: RunConfig): string {
  return join(output_dir, algorithm === "es" ? `es_seed${seed}_unified` : `beta${beta}_seed${seed}_unified`);
}

/**
 * Writes what is saved beside the weights: adapter_config.json, or config.json with the type that they are saved in;
 * and the chat template, where it is another than the tokenizer's own.
 * @returns their paths, and those of the files that go with the model
 */
export async function writeModelConfig(
  runDir: string,
  { policy, configText, base, files, template }: SavedModel,
  dtype: RunConfig["dtype"],
): Promise<string[]> {
  if (template !== null) await writeFileAtomic(join(runDir, JINJA_FILE), template);
  const carried = carriedFiles(runDir, { files, template });
  if (policy.adapters) {
    return [await writeAdapterConfig(runDir, policy.adapters, base.name), ...carried];
  }
  const path = join(runDir, "config.json");
  const text = changedJson(
    configText,
    ({ torch_dtype: _old, ...json }) => ({ ...json, dtype, torch_dtype: dtype }),
  );
  await writeFileAtomic(path, `${text}\n`);
  return [path, ...carried];
}

/** The small files of the model, the run's own chat template in the place of the tokenizer's. */
export function carriedFiles(
  runDir: string,
  { files, template }: Pick<SavedModel, "files" | "template">,
): string[] {
  if (template === null) return [...files];
  return [...files.filter((file) => basename(file) !== JINJA_FILE), join(runDir, JINJA_FILE)];
}

/** What tells the files that a run begins with from others: of the model, and the chat template in use. */
export async function startingHashes(
  { base, adapterDir, files, template }: SavedModel,
): Promise<Record<string, string>> {
  const hashes = await modelHashes(base.dir, adapterDir, files);
  return template === null ? hashes : { ...hashes, [JINJA_FILE]: textSha256(template) };
}

/** Copies a model's small files beside the final weights, so that the folder opens as that model does. */
export async function copyModelFiles(runDir: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const copy = join(runDir, basename(file));
    if (copy === file) continue;
    await copyFile(file, copy).catch((error) => {
      throw explainFsError(error, "copy", `${file}' to '${copy}`);
    });
  }
}

/** Writes the settings of the run, as a record for people and for the models' commits. */
export async function writeRunConfig(runDir: string, config: RunConfig): Promise<void> {
  await writeFileAtomic(join(runDir, RUN_CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
}
