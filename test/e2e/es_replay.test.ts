/** The models that `es-replay` makes of a run's log, through the command. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { esReplayCommand } from "../../src/cli/es_replay.ts";
import { closeGpu } from "../../src/gpu/device.ts";
import { runFolderOf } from "./config_read.ts";
import {
  capture,
  closeStage,
  openStage,
  type Ran,
  runCommand,
  type Settings,
  type Stage,
} from "./config_run.ts";

const ES: Settings = {
  algorithm: "es",
  es_population_size: 2,
  es_batch_size: 2,
  es_sigma: 0.1,
  es_alpha: 0.1,
  max_steps: 3,
  es_full_checkpoint_every: 2,
  eval_jsonl: null,
};

const bytesOf = (...path: string[]) => readFileSync(join(...path));

describe("es-replay", () => {
  let stage: Stage;
  before(async () => void (stage = await openStage()));
  after(async () => {
    await closeStage(stage);
    await closeGpu();
  });

  async function trained(settings: Settings = {}): Promise<{ ran: Ran; folder: string }> {
    const ran = await runCommand(stage, "train", { ...ES, ...settings });
    if (ran.error) throw ran.error;
    return { ran, folder: runFolderOf(ran) };
  }
  const replayed = (folder: string, ...args: string[]) => capture(() => esReplayCommand([folder, ...args]));

  it("writes the bits of a checkpoint, of the end and of the start, as a model's folder", async () => {
    const { folder } = await trained();
    const out = join(folder, "made");
    const { code, output } = await replayed(folder, "--iteration", "2", "--out", out);
    assert.equal(code, 0);
    assert.match(output, /^iteration {2}2\nmodel {6}.*made\nsha256 {5}[0-9a-f]{64} of model.safetensors\n$/);
    assert.ok(bytesOf(out, "model.safetensors").equals(bytesOf(folder, "checkpoint-2", "model.safetensors")));
    assert.ok(bytesOf(out, "config.json").equals(bytesOf(folder, "config.json")));
    await replayed(folder);
    assert.ok(
      bytesOf(folder, "replayed-3", "model.safetensors").equals(bytesOf(folder, "model.safetensors")),
    );
    await replayed(folder, "--iteration", "0");
    assert.ok(
      !bytesOf(folder, "replayed-0", "model.safetensors").equals(bytesOf(folder, "model.safetensors")),
    );
    const report = readFileSync(join(folder, "report.html"), "utf8").replaceAll(
      /<script[^]*?<\/script>/g,
      "",
    );
    assert.match(report, /Safe ratio/);
    assert.doesNotMatch(report, /undefined|NaN/);
  });

  it("does so for adapters, and for the original's noise", async () => {
    const peft = (await trained({ use_peft: true, lora_r: 2, es_noise: "original" })).folder;
    await replayed(peft);
    const file = "adapter_model.safetensors";
    assert.ok(bytesOf(peft, "replayed-3", file).equals(bytesOf(peft, file)));
    assert.ok(existsSync(join(peft, "replayed-3", "adapter_config.json")));
  });

  it("says what it needs: a run by evolution strategies, its whole log, and the model that it began with", async () => {
    const { folder } = await trained();
    const errorOf = async (...args: string[]) => (await replayed(folder, ...args)).error!.message;
    assert.match(
      await errorOf("--iteration", "4"),
      /Cannot replay iteration 4: .* goes up to 3; give a lower one/,
    );
    const log = join(folder, "es_replay.jsonl");
    const whole = readFileSync(log, "utf8");
    const lines = whole.split("\n");
    writeFileSync(log, [lines[0], ...lines.slice(2)].join("\n"));
    assert.match(await errorOf(), /required every iteration up to it, and '.*' lacks 1/);
    writeFileSync(log, whole.replace('"coefficients":[', '"coefficients":[1,'));
    assert.match(await errorOf(), /es_replay.jsonl.*line 2: it must hold as many coefficients as seeds/);
    writeFileSync(log, whole.replace(/"model\.safetensors":"[0-9a-f]/, '"model.safetensors":"x'));
    assert.match(await errorOf(), /line 1: inputs.model.model.safetensors/);
    writeFileSync(log, whole.replace(/"config\.json":"[0-9a-f]{8}/, '"config.json":"00000000'));
    assert.match(
      await errorOf(),
      /files of the model that the run began with have changed: config.json; restore/,
    );
    rmSync(log);
    assert.match(await errorOf(), /required 'es_replay.jsonl' in it, found none/);
    const grpo = runFolderOf(await runCommand(stage, "train", { max_steps: 1 }));
    assert.match((await replayed(grpo)).error!.message, /required a run of algorithm "es".*got "grpo"/);
  });
});
