/** What config.json leaves out, and what it says otherwise; and the rows of packed sequences that nobody reads. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import type { ModelConfig } from "../../src/policy/families/family.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { cutCommonBeginnings } from "../../src/policy/shared_prefix.ts";

const SIZES = {
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 32,
  vocab_size: 61,
};
const parse = (model_type: string, changes: object = {}) =>
  parseModelConfig(JSON.stringify({ model_type, ...SIZES, ...changes }), "m/config.json");

const COMMON = { rmsNormEps: 1e-6, ropeTheta: 10000, tiedEmbeddings: false };
const LEFT_OUT: Record<string, Partial<ModelConfig>> = {
  llama: { ...COMMON, maxPositions: 2048, kvHeads: 32, headDim: 1 },
  mistral: { ...COMMON, maxPositions: 131072, kvHeads: 8, headDim: 1 },
  qwen2: { ...COMMON, maxPositions: 32768, kvHeads: 32, headDim: 1 },
  qwen3: { ...COMMON, maxPositions: 32768, kvHeads: 32, headDim: 128 },
  olmo2: { ...COMMON, rmsNormEps: 1e-5, maxPositions: 2048, kvHeads: 32, headDim: 1 },
  granite: { ...COMMON, maxPositions: 2048, kvHeads: 32, headDim: 1, attentionScale: 1, logitsDivisor: 1 },
  smollm3: { ...COMMON, ropeTheta: 2e6, tiedEmbeddings: true, maxPositions: 32768, kvHeads: 4, headDim: 1 },
  phi3: { ...COMMON, rmsNormEps: 1e-5, maxPositions: 4096, kvHeads: 32, headDim: 1 },
  gemma2: { ...COMMON, tiedEmbeddings: true, maxPositions: 8192, kvHeads: 4, headDim: 256 },
  gemma3_text: {
    ...COMMON,
    ropeTheta: 1e6,
    tiedEmbeddings: true,
    maxPositions: 131072,
    kvHeads: 4,
    headDim: 256,
  },
};

for (const [family, expected] of Object.entries(LEFT_OUT)) {
  it(`a ${family} takes what its config.json leaves out as transformers does`, () => {
    const config = parse(family);
    const found = Object.fromEntries(
      Object.keys(expected).map((key) => [key, config[key as keyof ModelConfig]]),
    );
    assert.deepEqual(found, expected);
  });

  it(`a ${family} takes what its config.json says`, () => {
    const isTied = !expected.tiedEmbeddings;
    const config = parse(family, {
      rms_norm_eps: 1e-5,
      rope_theta: 5e5,
      tie_word_embeddings: isTied,
      max_position_embeddings: 99,
      num_key_value_heads: 4,
      head_dim: 6,
      eos_token_id: [5, 6],
    });
    const { rmsNormEps, ropeTheta, tiedEmbeddings, maxPositions, kvHeads, headDim, eosIds } = config;
    assert.deepEqual(
      [rmsNormEps, ropeTheta, tiedEmbeddings, maxPositions, kvHeads, headDim, eosIds],
      [1e-5, 5e5, isTied, 99, 4, 6, [5, 6]],
    );
  });
}

it("spare rows of packed sequences see themselves alone, so that they cost what one token costs", () => {
  const { bounds, ids, starts } = packSequences([[7, 8, 9], [5]]);
  const rows = starts[2];
  assert.ok(ids.length > rows + 2, "there are several");
  const spare = Array.from({ length: ids.length - rows }, (_, i) => rows + i);
  assert.deepEqual([...bounds.slice(2 * rows)], spare.flatMap((row) => [row, row + 1]));
});

it("a text beside groups that share their prompts is read whole, not cut in two", () => {
  const group = [[1, 2, 3, 4, 5, 11], [1, 2, 3, 4, 5, 12], [1, 2, 3, 4, 5, 13]];
  const cut = cutCommonBeginnings([...group, [9, 8, 7]])!;
  assert.deepEqual(cut.prefixes, [[1, 2, 3, 4, 5], []]);
  assert.deepEqual(cut.rests, [[11], [12], [13], [9, 8, 7]]);
});
