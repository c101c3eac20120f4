/** A policy as it is loaded by its name: which tokens end a completion, whose tokenizer reads. */
import assert from "node:assert/strict";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadPolicy, loadTokenizerOf, withModel } from "../../src/assembly/models.ts";
import { withModelTexts } from "../../src/assembly/model_texts.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { formatAdapterConfig } from "../../src/policy/adapter_config.ts";
import { disposePolicyWeights } from "../../src/policy/adapters.ts";
import { disposeTrunk } from "../../src/policy/llama.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { ROOT } from "../unit/source_files.ts";

const POLICY = join(ROOT, "models/quickstart/policy");
const EOS = 2;

/** The quickstart's policy with a changed config.json. */
async function changedModel(folder: string, changes: Record<string, unknown>): Promise<string> {
  await cp(POLICY, folder, { recursive: true });
  const path = join(folder, "config.json");
  const json = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...json, ...changes }));
  return folder;
}

describe("loadPolicy()", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  const eosIdsOf = async (eos_token_id: number | number[] | null) => {
    let eosIds: readonly number[] = [];
    await withScratchFolder(async (folder) => {
      const { policy } = await loadPolicy(await changedModel(folder, { eos_token_id }), "frozen");
      eosIds = policy.config.eosIds;
      disposePolicyWeights(policy);
      disposeTrunk(policy);
    });
    return eosIds;
  };

  it("ends completions at every end token of config.json, where it names none at the tokenizer's", async () => {
    assert.deepEqual(await eosIdsOf([EOS, 7, 9]), [EOS, 7, 9]);
    assert.deepEqual(await eosIdsOf(7), [7]);
    assert.deepEqual(await eosIdsOf(null), [EOS]);
  });

  it("refuses a family that it does not know before it looks for any other file", () =>
    withScratchFolder(async (folder) => {
      await writeFile(join(folder, "config.json"), '{"model_type": "gpt2"}');
      const message = /config\.json: model_type "gpt2" is not supported/;
      await assert.rejects(loadPolicy(folder, "frozen"), { name: "TypeError", message });
      await assert.rejects(loadTokenizerOf(folder), { name: "TypeError", message });
    }));

  it("refuses a tokenizer that knows more tokens than the model has", () =>
    withScratchFolder(async (folder) => {
      const { vocabSize } = await loadTokenizerOf(POLICY);
      const model = await changedModel(folder, { vocab_size: vocabSize - 1 });
      const message =
        /the tokenizer knows \d+ tokens, config.json's vocab_size is \d+; take tokenizer and weights/;
      await assert.rejects(loadPolicy(model, "frozen"), { name: "RangeError", message });
    }));
});

describe("an adapter's folder", () => {
  const adapterConfig = { rank: 2, alpha: 4, useRslora: false, baseModel: POLICY, revision: null };

  async function writeAdapter(folder: string): Promise<string> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "adapter_config.json"), formatAdapterConfig(adapterConfig, ["q_proj"]));
    await writeSafetensors(join(folder, "adapter_model.safetensors"), [
      { name: "a", dtype: "F32", shape: [1], bytes: new Uint8Array(4) },
    ]);
    return folder;
  }
  const dirsOf = (name: string) =>
    withModel(name, ({ base, tokenizerDir }) => Promise.resolve([base.dir, tokenizerDir]));

  it("stands for its base model, whose tokenizer reads unless the adapter brings its own", () =>
    withScratchFolder(async (folder) => {
      const adapter = await writeAdapter(folder);
      assert.deepEqual(await dirsOf(adapter), [POLICY, POLICY]);
      await cp(join(POLICY, "tokenizer.json"), join(adapter, "tokenizer.json"));
      assert.deepEqual(await dirsOf(adapter), [POLICY, adapter]);
    }));

  it("is looked at as its base model, which doctor --model tells of", () =>
    withScratchFolder(async (folder) => {
      const adapter = await writeAdapter(folder);
      assert.equal(await withModelTexts(adapter, ({ dir }) => Promise.resolve(dir)), POLICY);
      const alone = { dir: POLICY, isConfigAlone: true };
      assert.deepEqual(
        await withModelTexts(join(POLICY, "config.json"), (texts) => Promise.resolve(texts)),
        alone,
      );
    }));

  it("is not trained as a whole model: the error names use_peft", () =>
    withScratchFolder(async (folder) => {
      const adapter = await writeAdapter(folder);
      const message = /which is an adapter; set use_peft to train the adapter on/;
      await assert.rejects(loadPolicy(adapter, "float32"), { name: "RangeError", message });
    }));
});
