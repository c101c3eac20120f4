/** Loading: what is kept as stored, and what a folder may not hold. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readTensor, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import { type ModelFolder, openModelFolder, tensorValues } from "../../src/io/model/model_folder.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { makeTrunk } from "../../src/policy/transformer.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { loadScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import { copyFrozen, listWeights, loadPolicyWeights, type PolicyWeights } from "../../src/policy/weights.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { logitsOf } from "../parity/golden_models.ts";

const SEQUENCES = [[1, 5, 9, 33, 2], [1, 60, 3, 3, 8, 21, 40, 12, 77, 31]];

const open = (path: string) => openModelFolder(fileURLToPath(new URL(`../../${path}`, import.meta.url)));
const configOf = ({ configText, configPath }: ModelFolder) => parseModelConfig(configText, configPath);
const unpacked = (source: WeightSource): WeightSource => hostSource(source);

/** The source with further tensors of the given values, one-dimensional unless they carry an existing name. */
function withTensors(source: WeightSource, extra: Record<string, Float32Array>, like?: string): WeightSource {
  return {
    ...source,
    names: () => [...source.names!(), ...Object.keys(extra)],
    shapeOf: (name) =>
      name in extra ? source.shapeOf(like ?? "") ?? [extra[name].length] : source.shapeOf(name),
    formatOf: (name) => name in extra ? "f32" : source.formatOf(name),
    upload: (name, format) =>
      name in extra
        ? Promise.resolve(uploadTensor(extra[name], [...source.shapeOf(like ?? "") ?? [extra[name].length]]))
        : source.upload(name, format),
    read: (name) => name in extra ? Promise.resolve(extra[name]) : source.read(name),
  };
}

describe("loading weights", () => {
  let bf16: ModelFolder;
  let tied: ModelFolder;
  before(async () => {
    await openGpu();
    bf16 = await open("test/golden/models/mistral_bf16");
    tied = await open("test/golden/models/llama3");
  });
  after(async () => {
    await bf16.close();
    await tied.close();
    await closeGpu();
  });

  const logits = (folder: ModelFolder, weights: PolicyWeights) =>
    logitsOf(makeTrunk(configOf(folder), weights), SEQUENCES);

  it("frozen matrices of 16 bits stay packed, where two share a word, and change no bit of the logits", async () => {
    const packed = await loadPolicyWeights(bf16.source, configOf(bf16), "frozen");
    for (const { name, shape, format } of listWeights(packed)) {
      assert.equal(format, shape.length === 2 && shape[1] % 2 === 0 ? "bf16" : "f32", `${name} [${shape}]`);
    }
    assert.equal(packed.layers[0].down.format, "f32", "45 columns");
    const plain = await loadPolicyWeights(unpacked(bf16.source), configOf(bf16), "frozen");
    assert.deepEqual(await logits(bf16, packed), await logits(bf16, plain));
    assert.deepEqual(await logits(bf16, copyFrozen(packed)), await logits(bf16, plain));
  });

  it("a score model of f16 gives the same scores packed and converted", async () => {
    const folder = await open("models/quickstart/reward");
    const config = parseScoreConfig(folder.configText, folder.configPath);
    const packed = await loadScoreModel(folder.source, config);
    const plain = await loadScoreModel(unpacked(folder.source), config);
    await folder.close();
    assert.deepEqual([packed.scoreHead.format, plain.scoreHead.format], ["f16", "f32"]);
    assert.deepEqual(await scoreSequences(packed, SEQUENCES), await scoreSequences(plain, SEQUENCES));
  });

  it("trainable weights are f32 with a gradient; their frozen copy is packed as the file is, with the same values", async () => {
    const weights = await loadPolicyWeights(bf16.source, configOf(bf16), "float32");
    assert.ok(listWeights(weights).every(({ format, grad }) => format === "f32" && grad !== null));
    const copy = copyFrozen(weights);
    const stored = (shape: number[]) => shape.length === 2 && shape[1] % 2 === 0 ? "bf16" : "f32";
    assert.ok(
      listWeights(copy).every(({ shape, format, grad }) => format === stored(shape) && grad === null),
    );
    assert.deepEqual(await logits(bf16, copy), await logits(bf16, weights));
  });

  it("a tensor larger than a piece arrives whole, packed or widened, and its bytes are told as they come", () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "large.safetensors");
      const shape = [3, 6 << 20]; // 36 MiB of bf16, in pieces of 16
      const words = Uint32Array.from(
        { length: shape[0] * shape[1] / 2 },
        (_, i) => Math.imul(i, 0x9e3779b1) & 0xbfffbfff,
      );
      const bytes = new Uint8Array(words.buffer);
      await writeSafetensors(path, [{ name: "w", dtype: "BF16", shape, bytes }]);
      const reader = await openSafetensors(path);
      const told: number[] = [];
      const source = tensorValues(reader, path, (count) => told.push(count));
      assert.equal(source.formatOf("w"), "bf16");
      const packed = await source.upload("w", "bf16");
      assert.deepEqual(await readTensor(packed), new Int32Array(words.buffer));
      assert.deepEqual(told, [16 << 20, 16 << 20, 4 << 20]);
      const wide = await source.upload("w", "f32");
      assert.deepEqual(await readTensor(wide), bytesToF32(bytes, "BF16"));
      await reader.close();
      packed.dispose();
      wide.dispose();
    }));

  it("rows of a tensor arrive alone, packed, widened and on the host; rows that it has not are refused", () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "fused.safetensors");
      const words = Uint32Array.from({ length: 15 }, (_, i) => Math.imul(i + 1, 0x01010101) & 0x3fff3fff);
      const bytes = new Uint8Array(words.buffer); // 5 rows of 6 bf16
      await writeSafetensors(path, [{ name: "w", dtype: "BF16", shape: [5, 6], bytes }]);
      const reader = await openSafetensors(path);
      const source = tensorValues(reader, path);
      const packed = await source.upload("w", "bf16", [1, 4]);
      assert.deepEqual(packed.shape, [3, 3]);
      assert.deepEqual(await readTensor(packed), new Int32Array(words.slice(3, 12).buffer));
      const wide = await source.upload("w", "f32", [1, 4]);
      const expected = bytesToF32(bytes.slice(12, 48), "BF16");
      assert.deepEqual([wide.shape, await readTensor(wide)], [[3, 6], expected]);
      assert.deepEqual(await source.read("w", [1, 4]), expected);
      assert.equal((await source.read("w", [5, 5])).length, 0);
      for (const rows of [[-1, 2], [3, 2], [0, 6], [0.5, 1]] as const) {
        await assert.rejects(
          source.read("w", rows),
          /Cannot read rows .* of tensor "w": it has the shape \[5,6\]/,
        );
      }
      await reader.close();
      packed.dispose();
      wide.dispose();
    }));

  it("a tensor that config.json does not announce is refused by name; rope buffers of old files are not", async () => {
    const bias = "model.layers.1.self_attn.q_proj.bias";
    const load = (extra: Record<string, Float32Array>) =>
      loadPolicyWeights(withTensors(bf16.source, extra), configOf(bf16), "frozen");
    await assert.rejects(
      load({ [bias]: new Float32Array(48) }),
      new RegExp(`without ${bias}, which the weights hold`),
    );
    await load({ "model.layers.0.self_attn.rotary_emb.inv_freq": new Float32Array(6) });
  });

  it("tied embeddings may be repeated as a head, and not contradicted", async () => {
    const values = await tied.source.read("model.embed_tokens.weight");
    const load = (head: Float32Array) =>
      loadPolicyWeights(
        withTensors(tied.source, { "lm_head.weight": head }, "model.embed_tokens.weight"),
        configOf(tied),
        "frozen",
      );
    const weights = await load(values);
    assert.equal(weights.head, weights.embedding);
    await assert.rejects(
      load(values.map((value, i) => i === 7 ? value + 1 : value)),
      /"tie_word_embeddings": false/,
    );
  });

  it("a tied model whose file holds the matrix as its head alone gives the same logits", async () => {
    const [embedding, head] = ["model.embed_tokens.weight", "lm_head.weight"];
    const stored = (name: string) => name === head ? embedding : name;
    const { source } = tied;
    const headAlone: WeightSource = {
      ...source,
      names: () => [...source.names()].map((name) => name === embedding ? head : name),
      shapeOf: (name) => name === embedding ? undefined : source.shapeOf(stored(name)),
      formatOf: (name) => source.formatOf(stored(name)),
      upload: (name, format) => source.upload(stored(name), format),
      read: (name) => source.read(stored(name)),
    };
    const load = (from: WeightSource) => loadPolicyWeights(from, configOf(tied), "frozen");
    const weights = await load(headAlone);
    assert.equal(weights.embedding.name, embedding, "and is written under the name that transformers reads");
    assert.deepEqual(await logits(tied, weights), await logits(tied, await load(source)));
  });

  it("buffers of old files and a value head are left out; a head of another kind is refused", async () => {
    const load = (name: string) =>
      loadPolicyWeights(withTensors(bf16.source, { [name]: new Float32Array(4) }), configOf(bf16), "frozen");
    const layer = "model.layers.0.self_attn";
    const unused = [`${layer}.rotary_emb.cos_cached`, `${layer}.bias`, `${layer}.masked_bias`];
    for (const name of [...unused, "v_head.summary.weight"]) await load(name);
    for (const name of ["ema.model.norm.weight", "classifier.weight", `${layer}.sinks`]) {
      await assert.rejects(load(name), /which the weights hold/);
    }
  });

  it("a bias that config.json announces must be there", async () => {
    const folder = await open("test/golden/models/llama2");
    const configText = folder.configText.replace('"mlp_bias": false', '"mlp_bias": true');
    const load = loadPolicyWeights(folder.source, configOf({ ...folder, configText }), "frozen");
    await assert.rejects(load, /"model\.layers\.0\.mlp\.gate_proj\.bias" is missing/);
    await folder.close();
  });
});
