/** `doctor --model` and `doctor --gpu`: of models without weights, and of GPUs that are not here. Two run at a time. */
import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { startFakeHub } from "../chaos/fake_hub.ts";
import { inScratchFolder, ROOT, runProgram } from "./program.ts";

const MODELS = join(ROOT, "models/quickstart");

/** Folders of the quickstart's models that hold their config.json alone. */
function configsIn(scratch: string): string[] {
  return ["policy", "reward", "cost"].flatMap((name) => {
    mkdirSync(join(scratch, name));
    copyFileSync(join(MODELS, name, "config.json"), join(scratch, name, "config.json"));
    const key = name === "policy" ? "model_name" : `${name}_model`;
    return ["--set", `${key}=${JSON.stringify(join(scratch, name))}`];
  });
}

const planned = (output: string) => output.match(/planned (\S+ \S+) of/)?.[1];

describe("doctor", () => {
  it("--model: a folder, its config.json alone, and one that is not supported", () =>
    inScratchFolder(async (scratch) => {
      for (const name of ["chat", "broken", "other"]) mkdirSync(join(scratch, name));
      for (const [name, template] of [["chat", "{{ messages }}"], ["broken", "{% if"]]) {
        cpSync(join(MODELS, "policy"), join(scratch, name), { recursive: true });
        writeFileSync(join(scratch, name, "chat_template.jinja"), template);
        writeFileSync(join(scratch, name, "generation_config.json"), '{"eos_token_id": [7]}');
      }
      writeFileSync(join(scratch, "other", "config.json"), '{"model_type": "gpt2"}');
      const doctor = (path: string) => runProgram(["doctor", "--model", path]);
      const [whole, alone] = await Promise.all([
        doctor(join(MODELS, "policy")),
        doctor(join(MODELS, "reward", "config.json")),
      ]);
      assert.equal(whole.code, 0, whole.output);
      assert.match(whole.output, /ok +tokenizer .*1024 tokens/);
      assert.match(whole.output, /ok +weights +21 tensors of F16/);
      assert.equal(alone.code, 0, alone.output);
      assert.match(alone.output, /ok +kind +score model/);
      assert.doesNotMatch(alone.output, /tokenizer|weights/);
      const [chat, broken] = await Promise.all(["chat", "broken"].map((name) => doctor(join(scratch, name))));
      assert.match(chat.output, /^ {2}ok +chat template /m);
      assert.match(chat.output, /^ {2}ok +ends +2 "<\/s>", 7 "/m, "those of all files, as in training");
      assert.match(broken.output, /^ {2}missing +chat template /m);
      const other = await doctor(join(scratch, "other"));
      assert.equal(other.code, 1, other.output);
      assert.match(other.output, /missing +model +model_type "gpt2"[^]*Not supported: /);
    }));

  it("--model: a hub id, without its weights and without a trace in the cache", async () => {
    const files = Object.fromEntries(
      ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((name) =>
        [name, new Uint8Array(readFileSync(join(MODELS, "policy", name)))] as const
      ),
    );
    const hub = await startFakeHub(files);
    try {
      await inScratchFolder(async (scratch) => {
        Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: scratch, TMPDIR: scratch });
        const found = await runProgram(["doctor", "--model", "org/name"]);
        assert.equal(found.code, 0, found.output);
        assert.match(found.output, /ok +tokenizer .*1024 tokens[^]*note +weights +none here/);
        assert.ok(!hub.requests.some(({ path }) => path.includes("model.safetensors")));
        const left = readdirSync(scratch).filter((name) => !name.startsWith("tsx-"));
        assert.deepEqual(left, [], "nothing is left behind");
      });
    } finally {
      for (const name of ["HF_ENDPOINT", "HF_HOME", "TMPDIR"]) delete process.env[name];
      await hub.close();
    }
  });

  it("--gpu: the plan needs config.json alone, and is that of the same models with weights", () =>
    inScratchFolder(async (scratch) => {
      const set = configsIn(scratch);
      const prompts = ["--set", "max_prompt_length=64"];
      const [whole, alone] = await Promise.all([
        runProgram(["doctor", "--gpu", "h100"]),
        runProgram(["doctor", "--gpu", "h100", ...set, ...prompts]),
      ]);
      assert.equal(whole.code, 0, whole.output);
      assert.match(whole.output, /planned .* of 75 GiB \(h100, less/);
      assert.equal(alone.code, 0, alone.output);
      assert.match(alone.output, /prompts +not read: all are taken to be of max_prompt_length 64/);
      for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
        copyFileSync(join(MODELS, "policy", name), join(scratch, "policy", name));
      }
      const read = await runProgram(["doctor", "--gpu", "h100", ...set]);
      assert.equal(planned(read.output), planned(whole.output), read.output);
    }));

  it("--gpu: what does not fit says with which settings it would, and exits with 1", async () => {
    const [small, unknown] = await Promise.all(
      ["0.04", "h999"].map((gpu) => runProgram(["doctor", "--gpu", gpu])),
    );
    assert.equal(small.code, 1, small.output);
    assert.match(
      small.output,
      /missing +training +The run needs .*there are 41 MiB \(as given\); it fits with --set/,
    );
    assert.equal(unknown.code, 1, unknown.output);
    assert.match(unknown.output, /Cannot plan for the GPU "h999"/);
  });
});
