/** config.json of a model: what is read, what is refused. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LLAMA_LAYOUT } from "../../src/policy/families/layout.ts";
import { describeModel } from "../../src/io/model/config_text.ts";
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

  it("slides in the layers and by the windows that transformers slides in", () => {
    const windows = (changes: Record<string, unknown>) =>
      parse({ num_hidden_layers: 4, ...changes }).layerKinds.map(({ window }) => window);
    const all = (window: number | null) => [window, window, window, window];
    const types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
    assert.deepEqual(windows({ sliding_window: 16 }), all(null), "Llama does not slide");
    assert.deepEqual(windows({ model_type: "mistral", sliding_window: 1024 }), all(1024));
    assert.deepEqual(windows({ model_type: "mistral", sliding_window: null }), all(null));
    assert.deepEqual(windows({ model_type: "mistral" }), all(4096), "the family's default window");
    assert.deepEqual(windows({ model_type: "phi3" }), all(null));
    assert.deepEqual(windows({ model_type: "phi3", sliding_window: 2047 }), all(2047));
    for (const model_type of ["qwen2", "qwen3"]) {
      const qwen = { model_type, num_key_value_heads: 8, sliding_window: 9, max_window_layers: 3 };
      assert.deepEqual(windows(qwen), all(null));
      assert.deepEqual(windows({ ...qwen, use_sliding_window: true }), [null, null, null, 9]);
      assert.deepEqual(windows({ ...qwen, use_sliding_window: true, layer_types: types }), [
        null,
        9,
        null,
        9,
      ]);
    }
    const gemma = { num_key_value_heads: 8, sliding_window: 9 };
    assert.deepEqual(windows({ ...gemma, model_type: "gemma2" }), [9, null, 9, null]);
    assert.deepEqual(windows({ ...gemma, model_type: "gemma2", layer_types: types }), [null, 9, null, 9]);
    assert.deepEqual(windows({ ...gemma, model_type: "gemma3_text" }), all(9));
    const gemma3 = { ...gemma, model_type: "gemma3_text", sliding_window_pattern: 3 };
    assert.deepEqual(windows(gemma3), [9, 9, null, 9]);
    const smollm3 = { model_type: "smollm3", sliding_window: 9 };
    assert.deepEqual(windows(smollm3), all(null));
    assert.deepEqual(windows({ ...smollm3, use_sliding_window: true }), [null, null, null, 9]);
  });

  it("turns the layers, and the part of a head, that config.json says", () => {
    const ropes = (changes: Record<string, unknown>) =>
      parse({ num_hidden_layers: 4, ...changes }).layerKinds.map(({ rope }) => rope);
    assert.deepEqual(ropes({ model_type: "smollm3" }), ["global", "global", "global", null]);
    assert.deepEqual(ropes({ model_type: "smollm3", no_rope_layer_interval: 2 }), [
      "global",
      null,
      "global",
      null,
    ]);
    assert.deepEqual(ropes({ model_type: "smollm3", no_rope_layers: [0, 1, 1, 0] }), [
      null,
      "global",
      "global",
      null,
    ]);
    const pattern = { model_type: "gemma3_text", num_key_value_heads: 8, sliding_window_pattern: 2 };
    assert.deepEqual(ropes(pattern), ["local", "global", "local", "global"]);
    assert.equal(parse({ model_type: "phi3", partial_rotary_factor: 0.75 }).rotatedDim, 96);
    assert.equal(parse({ model_type: "phi3" }).rotatedDim, 128);
  });

  it("reads Gemma 3's two ropes in the old spelling and in the new", () => {
    const gemma = { model_type: "gemma3_text", num_key_value_heads: 8 };
    const ropesOf = (changes: Record<string, unknown>) => {
      const { ropeTheta, ropeScaling, localRope } = parse({ ...gemma, ...changes });
      return { ropeTheta, ropeScaling, localRope };
    };
    const linear = { type: "linear", factor: 8 };
    const plain = { theta: 1e4, scaling: undefined };
    assert.deepEqual(ropesOf({}), { ropeTheta: 1e6, ropeScaling: undefined, localRope: plain });
    const old = {
      rope_theta: 5e5,
      rope_local_base_freq: 7,
      rope_scaling: { rope_type: "linear", factor: 8 },
    };
    const wanted = { ropeTheta: 5e5, ropeScaling: linear, localRope: { ...plain, theta: 7 } };
    assert.deepEqual(ropesOf(old), wanted);
    const renamed = {
      full_attention: { rope_type: "linear", factor: 8, rope_theta: 5e5 },
      sliding_attention: { rope_type: "default", rope_theta: 7 },
    };
    assert.deepEqual(ropesOf({ rope_parameters: renamed }), wanted);
  });

  it("reads a Gemma 3 with a vision tower by its text_config, whose sizes may be left out", () => {
    const stored = {
      model_type: "gemma3",
      eos_token_id: [1, 106],
      text_config: {
        model_type: "gemma3_text",
        hidden_size: 2560,
        intermediate_size: 10240,
        num_hidden_layers: 34,
        rope_scaling: { factor: 8, rope_type: "linear" },
        sliding_window: 1024,
      },
      vision_config: { hidden_size: 1152, model_type: "siglip_vision_model" },
    };
    const { text } = describeModel(JSON.stringify(stored), "m/config.json");
    const config = parseModelConfig(text, "m/config.json");
    const { hiddenSize, heads, kvHeads, headDim, vocabSize, tiedEmbeddings, eosIds } = config;
    const { layerKinds, ropeScaling } = config;
    assert.deepEqual([hiddenSize, heads, kvHeads, headDim, vocabSize], [2560, 8, 4, 256, 262208]);
    assert.deepEqual([tiedEmbeddings, eosIds], [true, [1, 106]]);
    assert.deepEqual(ropeScaling, { type: "linear", factor: 8 });
    assert.deepEqual(layerKinds[4], { window: 1024, rope: "local" });
    assert.deepEqual(layerKinds[5], { window: null, rope: "global" });
  });

  it("takes Gemma's caps and scales as config.json says, and as transformers where it does not", () => {
    const arithmetic = (changes: Record<string, unknown>) => {
      const { attentionScale, attentionSoftcap, logitsSoftcap, embeddingScale } = parse({
        num_key_value_heads: 8,
        ...changes,
      });
      return [attentionScale, attentionSoftcap, logitsSoftcap, embeddingScale];
    };
    assert.deepEqual(arithmetic({ model_type: "gemma2" }), [1 / 16, 50, 30, 64]);
    assert.deepEqual(arithmetic({ model_type: "gemma3_text" }), [1 / 16, null, null, 64]);
    const given = { query_pre_attn_scalar: 64, attn_logit_softcapping: 20, final_logit_softcapping: null };
    assert.deepEqual(arithmetic({ model_type: "gemma2", ...given }), [1 / 8, 20, null, 64]);
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
      layerKinds: Array(3).fill({ window: null, rope: "global" }),
      heads: 8,
      kvHeads: 2,
      headDim: 10,
      vocabSize: 500,
      maxPositions: 77,
      rmsNormEps: 1e-5,
      ropeTheta: 123,
      ropeScaling: undefined,
      rotatedDim: 10,
      localRope: null,
      biases: { qkv: false, output: false, mlp: false },
      headNorms: false,
      activation: "silu",
      unitOffsetNorms: false,
      embeddingScale: 1,
      roundsEmbeddingScale: false,
      residualScale: 1,
      attentionScale: null,
      attentionSoftcap: null,
      logitsDivisor: 1,
      logitsSoftcap: null,
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
  const slidingQwen = { model_type: "qwen2", use_sliding_window: true, layer_types: ["full_attention"] };
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
      "layer types of another model",
      slidingQwen,
      /layer_types \["full_attention"\] .* each of the 32 layers/,
    ],
    ["no 0 or 1 for a layer", { model_type: "smollm3", no_rope_layers: [1] }, /no_rope_layers \[1\]/],
    [
      "a part of a head that is no multiple of 4",
      { model_type: "phi3", partial_rotary_factor: 0.4 },
      /not 51/,
    ],
    ["more than a head", { model_type: "phi3", partial_rotary_factor: 1.5 }, /partial_rotary_factor 1\.5/],
    ["dropout of Phi-3", { model_type: "phi3", resid_pdrop: 0.1 }, /resid_pdrop 0\.1/],
    [
      "another activation of Gemma",
      { model_type: "gemma2", num_key_value_heads: 8, hidden_activation: "gelu" },
      /hidden_activation "gelu" .* "gelu_pytorch_tanh"/,
    ],
    [
      "a Gemma that encodes",
      { model_type: "gemma3_text", num_key_value_heads: 8, use_bidirectional_attention: true },
      /use_bidirectional_attention/,
    ],
    [
      "a Gemma 3 of one rope",
      { model_type: "gemma3_text", num_key_value_heads: 8, rope_parameters: { rope_theta: 5 } },
      /rope_parameters .*"full_attention"/,
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
    [
      "too many layers",
      { num_hidden_layers: 1e12 },
      /config\.json: num_hidden_layers 1000000000000 is not supported; need 10000/,
    ],
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
