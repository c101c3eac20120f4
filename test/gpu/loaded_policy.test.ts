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
import { disposeTrunk } from "../../src/policy/transformer.ts";
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

  /** What ends completions of the quickstart's policy with these files, and what was said of it. */
  const endsWith = async (
    config: Record<string, unknown>,
    generation?: Record<string, unknown>,
    eosTokenIds: number[] | null = null,
  ) => {
    let ids: readonly number[] = [];
    const said: string[] = [];
    await withScratchFolder(async (folder) => {
      const model = await changedModel(folder, config);
      if (generation) await writeFile(join(model, "generation_config.json"), JSON.stringify(generation));
      const events = { onMessage: (text: string) => said.push(text) };
      const { policy, ends, files } = await loadPolicy(model, "frozen", { eosTokenIds, events });
      ids = policy.config.eosIds;
      assert.deepEqual(ends.map(({ id }) => id), ids);
      assert.equal(files.includes(join(model, "generation_config.json")), generation !== undefined);
      disposePolicyWeights(policy);
      disposeTrunk(policy);
    });
    return { ids, said };
  };

  it("ends completions at every end token of config.json, generation_config.json and the tokenizer", async () => {
    assert.deepEqual((await endsWith({ eos_token_id: [EOS, 7, 9] })).ids, [EOS, 7, 9]);
    assert.deepEqual((await endsWith({ eos_token_id: 7 })).ids, [7, EOS]);
    assert.deepEqual((await endsWith({ eos_token_id: null })).ids, [EOS]);
    assert.deepEqual((await endsWith({ eos_token_id: 3 }, { eos_token_id: [EOS, 7] })).ids, [3, EOS, 7]);
    assert.deepEqual((await endsWith({}, { eos_token_id: 5, temperature: 1 })).ids, [EOS, 5]);
  });

  it("ends them at eos_token_ids alone where these are given", async () => {
    assert.deepEqual((await endsWith({}, { eos_token_id: 5 }, [11])).ids, [11]);
    await assert.rejects(
      endsWith({}, undefined, [11, 99_999]),
      /eos_token_ids holds 99999, but the model's ids are 0/,
    );
  });

  it("leaves out ends beyond the vocabulary, and says so", async () => {
    const { ids, said } = await endsWith({ eos_token_id: [-1, 7] }, { eos_token_id: [EOS, 128_009] });
    assert.deepEqual(ids, [7, EOS]);
    assert.match(said[0], /config.json ends completions at -1, beyond the model's \d+ ids: left out/);
    assert.match(said[1], /generation_config.json ends completions at 128009/);
  });

  it("takes an added token that the model has no row for as plain text, and says so", () =>
    withScratchFolder(async (folder) => {
      const model = await changedModel(folder, {});
      const path = join(model, "tokenizer.json");
      const json = JSON.parse(await readFile(path, "utf8"));
      const { vocab_size: rows } = JSON.parse(await readFile(join(model, "config.json"), "utf8"));
      json.added_tokens.push({ ...json.added_tokens[0], id: rows, content: "[PAD]", special: false });
      await writeFile(path, JSON.stringify(json));
      const said: string[] = [];
      const { policy, tokenizer } = await loadPolicy(model, "frozen", {
        events: { onMessage: (text) => said.push(text) },
      });
      assert.match(
        said.join(),
        /no row for \[PAD\] \(\d+\), which were added to its tokenizer: they are plain text/,
      );
      for (const encode of [tokenizer.encode, tokenizer.encodeWithoutSpecial, tokenizer.encodeRendered]) {
        assert.ok(Math.max(...encode("a [PAD] b")) < rows);
      }
      disposePolicyWeights(policy);
      disposeTrunk(policy);
    }));

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
