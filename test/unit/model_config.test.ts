/** config.json of a model: what is read, what is refused. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { bucketRows } from "../../src/policy/packing.ts";

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

  const refused: [string, Record<string, unknown>, RegExp][] = [
    ["another family", { model_type: "gpt2" }, /m\/config\.json: model_type "gpt2" is not supported/],
    ["another activation", { hidden_act: "gelu" }, /hidden_act "gelu"/],
    ["biases it would not compute", { attention_bias: true }, /attention_bias/],
    ["a missing size", { hidden_size: undefined }, /"hidden_size" must be a positive number/],
    ["a fraction", { num_hidden_layers: 2.5 }, /"num_hidden_layers" must be an integer/],
    ["heads that do not divide", { num_key_value_heads: 5 }, /must be a multiple of num_key_value_heads 5/],
    ["an unknown rope", { rope_scaling: { rope_type: "yarn", factor: 2 } }, /rope type "yarn"/],
  ];
  for (const [what, changes, message] of refused) {
    it(`refuses ${what}`, () => assert.throws(() => parse(changes), message));
  }

  it("says which file is not JSON", () => {
    assert.throws(() => parseModelConfig("{", "m/config.json"), /m\/config\.json: not valid JSON/);
  });
});

describe("packSequences()", () => {
  it("lays sequences end to end; spare rows see only themselves", () => {
    const packed = packSequences([[7, 8, 9], [5]]);
    assert.deepEqual(packed.starts, [0, 3, 4]);
    assert.deepEqual(Array.from(packed.ids.slice(0, 5)), [7, 8, 9, 5, 0]);
    assert.deepEqual(Array.from(packed.positions.slice(0, 4)), [0, 1, 2, 0]);
    assert.deepEqual(Array.from(packed.bounds.slice(0, 10)), [0, 3, 0, 3, 0, 3, 3, 4, 4, 5]);
  });

  it("rounds up to few sizes and wastes at most an eighth", () => {
    const sizes = new Set<number>();
    for (let rows = 1; rows <= 10000; rows++) {
      const padded = bucketRows(rows);
      sizes.add(padded);
      assert.ok(padded >= rows && padded <= Math.max(64, rows * 1.125 + 64), `${rows} -> ${padded}`);
    }
    assert.ok(sizes.size < 60, `${sizes.size} sizes`);
  });
});
