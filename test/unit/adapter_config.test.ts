import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { baseModelName, openAdapterFolder } from "../../src/io/model/adapter_folder.ts";
import {
  adapterScale,
  formatAdapterConfig,
  parseAdapterConfig,
  targetModules,
} from "../../src/policy/adapter_config.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { writeTorchBin } from "../../src/io/torch/writer.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const CONFIG = { rank: 8, alpha: 12, useRslora: true, baseModel: "org/name", revision: "main" };

const parse = (change: Record<string, unknown> = {}) =>
  parseAdapterConfig(
    JSON.stringify({ ...JSON.parse(formatAdapterConfig(CONFIG, ["q_proj"])), ...change }),
    "a.json",
  );

test("a written config is read back equal, and names peft's keys", () => {
  assert.deepEqual(parse(), CONFIG);
  const json = JSON.parse(formatAdapterConfig(CONFIG, ["v_proj", "q_proj"]));
  assert.deepEqual(json.target_modules, ["q_proj", "v_proj"]);
  assert.equal(json.base_model_name_or_path, "org/name");
});

test("the scale is alpha / r, and alpha / sqrt(r) for rslora", () => {
  assert.equal(adapterScale({ rank: 4, alpha: 6, useRslora: false }), 1.5);
  assert.equal(adapterScale({ rank: 4, alpha: 6, useRslora: true }), 3);
});

test("all-linear stands for the linear layers that the model has; one that it lacks is refused by name", () => {
  const fused = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"];
  assert.deepEqual(targetModules("all-linear", fused), fused);
  assert.deepEqual(targetModules(["o_proj"], fused), ["o_proj"]);
  assert.throws(
    () => targetModules(["q_proj", "o_proj", "v_proj"], fused),
    /Cannot adapt q_proj, v_proj: the model's linear layers are qkv_proj, o_proj, gate_up_proj, down_proj; set/,
  );
});

const REFUSED: [key: string, value: unknown][] = [
  ["peft_type", "IA3"],
  ["task_type", "SEQ_CLS"],
  ["r", 0],
  ["lora_alpha", "16"],
  ["use_dora", true],
  ["use_qalora", true],
  ["use_something_new", true],
  ["bias", "all"],
  ["lora_bias", true],
  ["modules_to_save", ["lm_head"]],
  ["rank_pattern", { q_proj: 4 }],
  ["alpha_pattern", { q_proj: 4 }],
  ["fan_in_fan_out", true],
  ["layer_replication", [[0, 2]]],
  ["init_lora_weights", "pissa"],
  ["arrow_config", { a: 1 }],
  ["alora_invocation_tokens", [1]],
  ["target_parameters", ["a"]],
  ["trainable_token_indices", [1]],
];
for (const [key, value] of REFUSED) {
  test(`${key} ${JSON.stringify(value)} is refused by name`, () => {
    assert.throws(() => parse({ [key]: value }), new RegExp(`^TypeError: a\\.json: ${key} `));
  });
}

test("keys that are unset, and how a file's values were drawn, are no reason to refuse it", () => {
  const change = {
    modules_to_save: null,
    rank_pattern: {},
    use_dora: false,
    init_lora_weights: "gaussian",
    extra: 1,
  };
  assert.deepEqual(parse(change), CONFIG);
});

test("a base model's folder counts from the working directory, else from the adapter's; else it is a hub id", () =>
  withScratchFolder(async (dir) => {
    const adapter = join(dir, "runs/adapter");
    for (const name of [join(dir, "base"), adapter]) await mkdir(name, { recursive: true });
    await writeFile(join(dir, "base/config.json"), "{}");
    assert.equal(await baseModelName(adapter, join(dir, "base"), null), join(dir, "base"));
    assert.equal(await baseModelName(adapter, "../../base", null), join(dir, "base"));
    assert.equal(
      await baseModelName(adapter, "models/quickstart/policy", "main"),
      "models/quickstart/policy",
    );
    // Where both have such a folder, the working directory's counts, as for peft.
    await mkdir(join(adapter, "models/quickstart/policy"), { recursive: true });
    await writeFile(join(adapter, "models/quickstart/policy/config.json"), "{}");
    assert.equal(
      await baseModelName(adapter, "models/quickstart/policy", null),
      "models/quickstart/policy",
    );
    assert.equal(await baseModelName(adapter, "org/name", "abc"), "org/name@abc");
    assert.equal(await baseModelName(adapter, "org/name", null), "org/name");
  }));

test("a folder opens with its weights in either format; without a config it is no adapter", () =>
  withScratchFolder(async (dir) => {
    assert.equal(await openAdapterFolder(dir), null);
    await writeFile(join(dir, "adapter_config.json"), formatAdapterConfig(CONFIG, ["q_proj"]));
    await assert.rejects(
      openAdapterFolder(dir),
      /looked for adapter_model\.safetensors and adapter_model\.bin/,
    );
    const values = Float32Array.of(1, -2, 0.5, 3);
    const tensor = { name: "a", dtype: "F32" as const, shape: [2, 2], bytes: new Uint8Array(values.buffer) };
    await writeTorchBin(join(dir, "adapter_model.bin"), [tensor]);
    const readFirst = async () => {
      const folder = (await openAdapterFolder(dir))!;
      const read = await folder.source.read("a");
      await folder.close();
      return read;
    };
    assert.deepEqual(await readFirst(), values);
    const negated = new Uint8Array(values.map((value) => -value).buffer);
    await writeSafetensors(join(dir, "adapter_model.safetensors"), [{ ...tensor, bytes: negated }]);
    assert.deepEqual(await readFirst(), values.map((value) => -value), "safetensors first");
  }));

test("the file that peft opens holds every key that it has no safe default for", () => {
  assert.deepEqual(
    JSON.parse(formatAdapterConfig({ ...CONFIG, baseModel: null, revision: null }, ["v_proj", "q_proj"])),
    {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: null,
      revision: null,
      inference_mode: true,
      r: 8,
      lora_alpha: 12,
      lora_dropout: 0,
      use_rslora: true,
      target_modules: ["q_proj", "v_proj"],
      bias: "none",
      modules_to_save: null,
      fan_in_fan_out: false,
      init_lora_weights: true,
      use_dora: false,
      rank_pattern: {},
      alpha_pattern: {},
    },
  );
});

test("rank and alpha are above 0, and what is not said of the base model is null", () => {
  assert.equal(parse({ r: 1 }).rank, 1);
  assert.equal(parse({ lora_alpha: 0.5 }).alpha, 0.5);
  for (const r of [0, -1, 1.5, "8"]) assert.throws(() => parse({ r }), /r must be an integer >= 1/);
  for (const lora_alpha of [0, -1, null]) {
    assert.throws(() => parse({ lora_alpha }), /lora_alpha must be a number > 0/);
  }
  const { baseModel, revision, useRslora } = parse({
    base_model_name_or_path: "",
    revision: null,
    use_rslora: null,
  });
  assert.deepEqual([baseModel, revision, useRslora], [null, null, false]);
});
