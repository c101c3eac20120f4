/** Where completions end, from the files of a model to what is scored and written. A token is a character. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { closeGpu } from "../../src/gpu/device.ts";
import { idOf } from "./config_models.ts";
import { configValue, rowsOf, runFolderOf, tableOf } from "./config_read.ts";
import {
  closeStage,
  openStage,
  type Ran,
  runCommand,
  scratch,
  type Settings,
  type Stage,
} from "./config_run.ts";

const completionsOf = (ran: Ran) => tableOf(ran, "train", 1).map(({ completion }) => completion);
const clippedRatio = (ran: Ran) => rowsOf(ran)[0]["completions/clipped_ratio"]!;

/** A copy of the policy whose config.json names another end than its tokenizer does. */
function copyPolicy(name: string, files: Record<string, unknown>): string {
  const dir = scratch(name);
  cpSync(scratch("policy"), dir, { recursive: true });
  const config = JSON.parse(readFileSync(join(dir, "config.json"), "utf8"));
  writeFileSync(join(dir, "config.json"), JSON.stringify({ ...config, eos_token_id: idOf("~") }));
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(join(dir, file), JSON.stringify(content));
  }
  return dir;
}

describe("completions", () => {
  let stage: Stage;
  let asIs: Ran;
  const train = (settings: Settings) => runCommand(stage, "train", { max_steps: 1, ...settings });
  before(async () => {
    stage = await openStage();
    asIs = await train({});
  });
  after(async () => {
    await closeStage(stage);
    await closeGpu();
  });

  it("end at the tokenizer's end token where config.json names another, and run_config.json holds both", async () => {
    const ran = await train({ model_name: copyPolicy("other_end", {}) });
    assert.equal(ran.error, null);
    assert.deepEqual(completionsOf(ran), completionsOf(asIs).map((text) => text.split("~")[0]));
    assert.ok(clippedRatio(ran) < 1);
    assert.deepEqual(configValue(ran, "eos_token_ids"), [idOf("~"), 1]);
  });

  it("end at those of generation_config.json too, which the scored text never holds, and which is carried", async () => {
    const generation = { eos_token_id: [1, idOf("d"), idOf("K")], temperature: 0.6 };
    const model_name = copyPolicy("generation", { "generation_config.json": generation });
    const ran = await train({ model_name, save_steps: 1 });
    assert.equal(ran.error, null);
    assert.deepEqual(completionsOf(ran), completionsOf(asIs).map((text) => text.split(/[dK~]/)[0]));
    assert.doesNotMatch(ran.batches.flatMap(({ responses }) => responses).join(""), /[dK~]/);
    const runDir = runFolderOf(ran);
    for (const dir of [runDir, join(runDir, "checkpoint-1")]) {
      assert.deepEqual(JSON.parse(readFileSync(join(dir, "generation_config.json"), "utf8")), generation);
    }
  });

  it("of a merged adapter end as its base model's, also where the adapter brings a tokenizer and no such file", async () => {
    const model_name = copyPolicy("adapted", { "generation_config.json": { eos_token_id: [1, idOf("d")] } });
    const settings = { use_peft: true, lora_merge: true };
    const ran = await train({ model_name, ...settings });
    assert.equal(ran.error, null);
    const adapter = runFolderOf(ran);
    const carried = (dir: string) => existsSync(join(dir, "generation_config.json"));
    assert.deepEqual([adapter, join(adapter, "merged")].map(carried), [true, true]);
    rmSync(join(adapter, "generation_config.json"));
    const again = await train({ model_name: adapter, ...settings });
    assert.equal(again.error, null);
    assert.doesNotMatch(completionsOf(again).join(""), /d/);
    assert.ok(carried(join(runFolderOf(again), "merged")));
  });
});
