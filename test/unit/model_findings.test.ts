/** `doctor --model`: what is said of a config.json, line by line, by the program's own reader. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { exitCodeOf } from "../../src/cli/doctor/diagnosis.ts";
import { configFindings, refusals } from "../../src/cli/doctor/model_findings.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";

const LLAMA = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 100,
  max_position_embeddings: 256,
  tie_word_embeddings: true,
};

const findingsOf = (changes: Record<string, unknown>) =>
  configFindings({ ...LLAMA, ...changes }, "m/config.json");
const lineOf = (changes: Record<string, unknown>, subject: string) =>
  findingsOf(changes).findings.find((finding) => finding.subject === subject);
const codeOf = (changes: Record<string, unknown>) =>
  exitCodeOf([{ title: "", findings: findingsOf(changes).findings }]);

describe("doctor --model", () => {
  it("says of a supported model what it is", () => {
    assert.equal(codeOf({}), 0);
    assert.equal(lineOf({}, "family")?.detail, "llama");
    // 100 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64) + 64
    assert.match(lineOf({}, "size")!.detail, /^80448 parameters, 157 KiB in 16 bits, head tied/);
    assert.equal(lineOf({}, "attention")?.detail, "4 heads of 16, 2 for keys and values");
    assert.equal(lineOf({}, "rope")?.detail, "plain, base 10000");
    const longrope = { rope_scaling: { type: "linear", factor: 2 }, rope_theta: 500000 };
    assert.equal(lineOf(longrope, "rope")?.detail, "linear, factor 2, base 500000");
    assert.equal(lineOf({ model_type: "qwen2" }, "biases")?.detail, "of q, k, v");
  });

  it("tells windows and ropes of layers from those of the whole model", () => {
    const attention = (changes: Record<string, unknown>) =>
      lineOf({ model_type: "mistral", ...changes }, "attention")!.detail.split("; ")[1];
    assert.equal(attention({ sliding_window: 64 }), "every layer sees 64 tokens back");
    assert.equal(attention({ sliding_window: 256 }), undefined, "as far as the longest sequence: no window");
    const gemma = { model_type: "gemma2", head_dim: 16, sliding_window: 64 };
    assert.equal(attention(gemma), "1 of 2 layers see 64 tokens back");
    const smollm = { model_type: "smollm3", no_rope_layers: [1, 0] };
    assert.equal(lineOf(smollm, "rope")?.detail.split("; ")[1], "none in 1 of 2 layers");
    assert.equal(lineOf({ model_type: "qwen3" }, "biases")?.detail, "none; q and k are normed");
  });

  it("says where sequences must be shorter than config.json promises", () => {
    const longrope = {
      model_type: "phi3",
      num_key_value_heads: 4,
      original_max_position_embeddings: 64,
      rope_scaling: { type: "longrope", short_factor: Array(8).fill(1), long_factor: Array(8).fill(2) },
    };
    assert.match(lineOf(longrope, "positions")!.detail, /^up to 64 tokens, not config\.json's 256: /);
    assert.equal(lineOf({}, "positions")?.detail, "up to 256 tokens");
  });

  it("names every key that is refused, each with the reader's own words, and fails", () => {
    const wrong = {
      hidden_act: "gelu",
      attention_dropout: 0.1,
      rope_scaling: { rope_type: "spiral" },
      quantization_config: { quant_method: "gptq", bits: 4 },
    };
    const { findings } = findingsOf(wrong);
    const missing = findings.filter(({ mark }) => mark === "missing");
    assert.deepEqual(missing.map(({ subject }) => subject).sort(), Object.keys(wrong).sort());
    assert.match(
      missing.find(({ subject }) => subject === "rope_scaling")!.detail,
      /^rope type "spiral" is not/,
    );
    assert.match(missing.find(({ subject }) => subject === "quantization_config")!.remedy!, /quantized from/);
    assert.equal(lineOf(wrong, "rope"), undefined, "what is left without the key is not the model's rope");
    assert.equal(lineOf(wrong, "family")?.mark, "ok");
    assert.equal(codeOf(wrong), 1);
  });

  it("stops at an unknown family and at sizes that are missing, which no other key makes good", () => {
    for (const changes of [{ model_type: "gpt2" }, { num_attention_heads: undefined }, { vocab_size: "x" }]) {
      const { findings, model } = findingsOf(changes);
      assert.deepEqual(
        [findings.length, findings[0].subject, model],
        [1, "model", null],
        JSON.stringify(changes),
      );
      assert.equal(codeOf(changes), 1);
    }
    assert.match(
      lineOf({ model_type: "gpt2" }, "model")!.detail,
      /model_type "gpt2" is not supported; need one of/,
    );
  });

  it("takes a key for refused where its absence lets the reader go on, and not where it is needed", () => {
    const { rest, found, failure } = refusals(
      { ...LLAMA, hidden_act: "gelu", hidden_size: -1 },
      "m",
      parseModelConfig,
    );
    assert.deepEqual(found.map(({ key }) => key), ["hidden_act"]);
    assert.ok(!("hidden_act" in rest));
    assert.match(failure!, /"hidden_size" must be a positive number/);
  });

  it("tells score models from language models, and counts their own head", () => {
    assert.match(lineOf({}, "kind")!.detail, /^language model/);
    const score = { score_type: "cost", score_dim: 1, tie_word_embeddings: false };
    assert.match(lineOf(score, "kind")!.detail, /^score model/);
    assert.match(lineOf(score, "size")!.detail, /^80512 parameters/);
    assert.equal(lineOf({ ...score, score_type: "mood" }, "score_type")?.mark, "missing");
  });

  it("says that a model's own code is not run", () => {
    assert.equal(lineOf({ auto_map: { AutoModel: "x.Y" } }, "auto_map")?.mark, "note");
    assert.equal(codeOf({ auto_map: {} }), 0);
  });
});
