/** config.json of a model: what is read, what is refused. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LLAMA_LAYOUT } from "../../src/policy/families/layout.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";

const LLAMA_2 = {
  model_type: "llama",
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  vocab_size: 32001,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  eos_token_id: 2,
};
const parse = (changes: Record<string, unknown>) =>
  parseModelConfig(JSON.stringify({ ...LLAMA_2, ...changes }), "m/config.json");

describe("parseModelConfig()", () => {
  it("fills in what Llama 2 leaves out: key heads, head size, theta, untied embeddings", () => {
    const config = parse({});
    assert.equal(config.kvHeads, 32);
    assert.equal(config.headDim, 128);
    assert.equal(config.ropeTheta, 10000);
    assert.equal(config.tiedEmbeddings, false);
    assert.deepEqual(config.eosIds, [2]);
  });

  it("reads Llama 3's grouped heads, several end tokens and rope scaling, in the old and the new spelling", () => {
    const scaling = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const old = parse({
      num_key_value_heads: 8,
      eos_token_id: [2, 9],
      rope_theta: 500000,
      rope_scaling: scaling,
    });
    const renamed = parse({
      num_key_value_heads: 8,
      eos_token_id: [2, 9],
      rope_parameters: { rope_theta: 500000, ...scaling },
    });
    assert.deepEqual(old, renamed);
    assert.equal(old.kvHeads, 8);
    assert.deepEqual(old.eosIds, [2, 9]);
    assert.deepEqual(old.ropeScaling, {
      type: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 8192,
    });
  });

  it("knows which linear layers of a family add a bias", () => {
    const biases = (changes: Record<string, unknown>) => parse(changes).biases;
    assert.deepEqual(biases({}), { qkv: false, output: false, mlp: false });
    assert.deepEqual(biases({ attention_bias: true }), { qkv: true, output: true, mlp: false });
    assert.deepEqual(biases({ mlp_bias: true }), { qkv: false, output: false, mlp: true });
    assert.deepEqual(biases({ model_type: "mistral" }), { qkv: false, output: false, mlp: false });
    assert.deepEqual(biases({ model_type: "qwen2" }), { qkv: true, output: false, mlp: false });
    const qwen3 = { model_type: "qwen3", num_key_value_heads: 8 };
    assert.deepEqual(biases(qwen3), { qkv: false, output: false, mlp: false });
    assert.deepEqual(biases({ ...qwen3, attention_bias: true }), { qkv: true, output: true, mlp: false });
  });

  it("takes what a family leaves out as transformers does", () => {
    const mistral = parse({ model_type: "mistral" });
    assert.equal(mistral.kvHeads, 8);
    assert.equal(parse({ model_type: "mistral", num_key_value_heads: null }).kvHeads, 32);
    const qwen3 = parse({ model_type: "qwen3", num_key_value_heads: 8 });
    assert.deepEqual([qwen3.headDim, qwen3.headNorms], [128, true]);
    assert.equal(parse({ model_type: "qwen3", head_dim: 64, num_attention_heads: 64 }).headDim, 64);
    assert.equal(parse({ model_type: "qwen2", max_position_embeddings: undefined }).maxPositions, 32768);
    assert.equal(parse({ model_type: "qwen2" }).headNorms, false);
  });

  it("goes as far as sliding attention is full attention", () => {
    const positions = (changes: Record<string, unknown>) => parse(changes).maxPositions;
    const mistral = { model_type: "mistral", max_position_embeddings: 32768 };
    assert.equal(positions({ ...mistral, sliding_window: 1024 }), 1024);
    assert.equal(positions({ ...mistral, sliding_window: 65536 }), 32768);
    assert.equal(positions({ ...mistral, sliding_window: null }), 32768);
    assert.equal(positions(mistral), 4096, "the family's default window");
    const qwen = { model_type: "qwen2", max_position_embeddings: 32768, sliding_window: 4096 };
    assert.equal(positions({ ...qwen, use_sliding_window: false }), 32768);
    assert.equal(positions({ ...qwen, use_sliding_window: true, sliding_window: 32768 }), 32768);
    assert.equal(positions({ sliding_window: 16 }), 2048, "Llama does not slide");
  });

  it("a rope without its original positions was made for the model's own", () => {
    const scaling = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    const { ropeScaling } = parse({ rope_scaling: scaling });
    assert.ok(ropeScaling?.type === "llama3" && ropeScaling.originalMaxPositions === 2048);
  });

  it("has every size from its own key", () => {
    const sizes = {
      hidden_size: 64,
      intermediate_size: 96,
      num_hidden_layers: 3,
      num_attention_heads: 8,
      num_key_value_heads: 2,
      head_dim: 10,
      vocab_size: 500,
      max_position_embeddings: 77,
      rms_norm_eps: 1e-5,
      rope_theta: 123,
      tie_word_embeddings: true,
      eos_token_id: 7,
    };
    assert.deepEqual(parse(sizes), {
      layout: LLAMA_LAYOUT,
      hiddenSize: 64,
      intermediateSize: 96,
      layers: 3,
      heads: 8,
      kvHeads: 2,
      headDim: 10,
      vocabSize: 500,
      maxPositions: 77,
      rmsNormEps: 1e-5,
      ropeTheta: 123,
      ropeScaling: undefined,
      biases: { qkv: false, output: false, mlp: false },
      headNorms: false,
      tiedEmbeddings: true,
      eosIds: [7],
    });
    assert.equal(parse({ rms_norm_eps: undefined }).rmsNormEps, 1e-6);
    assert.deepEqual(parse({ eos_token_id: null }).eosIds, []);
    assert.deepEqual(parse({ eos_token_id: [3, null, 4] }).eosIds, [3, 4]);
  });

  it("reads a linear rope, and the original positions wherever they stand, those of the model last", () => {
    assert.deepEqual(parse({ rope_scaling: { type: "linear", factor: 4 } }).ropeScaling, {
      type: "linear",
      factor: 4,
    });
    const llama3 = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    const originalOf = (changes: Record<string, unknown>) => {
      const { ropeScaling } = parse(changes);
      return ropeScaling?.type === "llama3" ? ropeScaling.originalMaxPositions : undefined;
    };
    const key = "original_max_position_embeddings";
    assert.equal(originalOf({ rope_scaling: { ...llama3, [key]: 100 } }), 100);
    assert.equal(originalOf({ rope_scaling: { ...llama3, [key]: 100 }, [key]: 200 }), 200);
    assert.equal(originalOf({ rope_scaling: llama3 }), 2048);
  });

  for (const wrong of [0, -1, "64", null, NaN]) {
    it(`refuses ${JSON.stringify(wrong)} for a size`, () =>
      assert.throws(() => parse({ vocab_size: wrong }), /"vocab_size" must be a positive number/));
  }

  const yarn = { rope_type: "yarn", rope_theta: 10000, factor: 2 };
  const slidingQwen = { model_type: "qwen2", use_sliding_window: true, sliding_window: 512 };
  const refused: [string, Record<string, unknown>, RegExp][] = [
    [
      "another family",
      { model_type: "gpt2" },
      /m\/config\.json: model_type "gpt2" .* llama, mistral, qwen2, qwen3/,
    ],
    ["a family of an inherited name", { model_type: "constructor" }, /model_type "constructor"/],
    ["no family", { model_type: undefined }, /model_type undefined/],
    ["another activation", { hidden_act: "gelu" }, /hidden_act "gelu"/],
    ["dropout it would leave out", { attention_dropout: 0.1 }, /attention_dropout 0\.1/],
    ["quantized weights", { quantization_config: { bits: 4 } }, /quantization_config/],
    ["layers that are no attention", { layer_types: ["linear_attention"] }, /layer type "linear_attention"/],
    [
      "a window within the positions",
      slidingQwen,
      /window of 512 in 2048 positions .*"max_position_embeddings": 512/,
    ],
    ["a rope that turns part of a head", { partial_rotary_factor: 0.5 }, /partial_rotary_factor 0\.5/],
    [
      "the same in the new spelling",
      { rope_parameters: { partial_rotary_factor: 0.5 } },
      /partial_rotary_factor/,
    ],
    ["a rope for each kind of layer", { rope_parameters: { full_attention: yarn } }, /"full_attention"/],
    ["a missing size", { hidden_size: undefined }, /"hidden_size" must be a positive number/],
    ["a fraction", { num_hidden_layers: 2.5 }, /"num_hidden_layers" must be an integer/],
    ["heads that do not divide", { num_key_value_heads: 5 }, /must be a multiple of num_key_value_heads 5/],
    ["an unknown rope", { rope_scaling: { rope_type: "spiral", factor: 2 } }, /rope type "spiral"/],
  ];
  for (const [what, changes, message] of refused) {
    it(`refuses ${what}`, () => assert.throws(() => parse(changes), message));
  }

  it("says which file is not JSON", () => {
    assert.throws(() => parseModelConfig("{", "m/config.json"), /m\/config\.json: not valid JSON/);
  });
});
