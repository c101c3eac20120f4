/** What a run writes beside its adapter: the base model that it belongs to. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { adapterSettings, baseModelOf, writeAdapterConfig } from "../../src/assembly/adapters.ts";
import type { AdapterFolder } from "../../src/io/model/adapter_folder.ts";
import type { AdapterSet } from "../../src/policy/trunk.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const ADAPTERS: AdapterSet = {
  config: { rank: 4, alpha: 6, useRslora: true },
  modules: ["q_proj"],
  isFresh: true,
  byWeight: new Map(),
};
const COMMIT = "1".repeat(40);

/** adapter_config.json of an adapter over this base. */
async function written(baseName: string): Promise<Record<string, unknown>> {
  let text = "";
  await withScratchFolder(async (folder) => {
    const path = await writeAdapterConfig(folder, ADAPTERS, baseName);
    assert.equal(basename(path), "adapter_config.json");
    text = await readFile(path, "utf8");
  });
  return JSON.parse(text);
}

describe("adapter_config.json", () => {
  it("names a model of the hub with its commit, as peft looks for it", async () => {
    const { base_model_name_or_path, revision, r, lora_alpha, use_rslora } = await written(
      `org/name@${COMMIT}`,
    );
    assert.deepEqual([base_model_name_or_path, revision], ["org/name", COMMIT]);
    assert.deepEqual([r, lora_alpha, use_rslora], [4, 6, true]);
  });

  it("names a folder as it is", async () => {
    const { base_model_name_or_path, revision } = await written("models/base@2");
    assert.deepEqual([base_model_name_or_path, revision], ["models/base@2", null]);
  });

  it("without a base model is an error that says what to set", () =>
    withScratchFolder(async (folder) => {
      const configPath = join(folder, "adapter_config.json");
      await writeAdapterConfig(folder, ADAPTERS, "base");
      const json = JSON.parse(await readFile(configPath, "utf8"));
      const configText = JSON.stringify({ ...json, base_model_name_or_path: null });
      const adapter = { dir: folder, configPath, configText } as AdapterFolder;
      await assert.rejects(baseModelOf(adapter), /base_model_name_or_path is missing; set it to the model/);
    }));
});

it("adapterSettings() takes the run's keys, and is null where all weights are trained", () => {
  const runOf = (overrides: string[]) =>
    sweepRuns(loadConfig({ text: "seed: 5", fileName: "test.yaml" }, { overrides }))[0];
  assert.equal(adapterSettings(runOf(["use_peft=false"])), null);
  const keys = ["use_peft=true", "lora_r=3", "lora_alpha=7", "use_rslora=true"];
  assert.deepEqual(adapterSettings(runOf([...keys, "lora_target_modules=[o_proj]"])), {
    rank: 3,
    alpha: 7,
    useRslora: true,
    targets: ["o_proj"],
    seed: 5,
  });
});
