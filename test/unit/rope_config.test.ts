/** Ropes of config.json: the frequencies and attention factors of transformers, and how far a rope is one rope. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { attentionFactorOf, ropeFrequencies, ropeTable } from "../../src/ops/attention/rope_table.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";

interface Setting {
  config: Record<string, unknown>;
  inv_freq: number[];
  attention_factor: number;
}

const { settings }: { settings: Record<string, Setting> } = JSON.parse(
  readFileSync(new URL("../golden/ropes/ropes.json", import.meta.url), "utf8"),
);
const parse = (changes: Record<string, unknown>) =>
  parseModelConfig(
    JSON.stringify({ ...settings.linear.config, rope_scaling: null, ...changes }),
    "m/config.json",
  );

describe("a rope of config.json", () => {
  for (const [name, { config, inv_freq, attention_factor }] of Object.entries(settings)) {
    it(`has the frequencies and the attention factor of transformers: ${name}`, () => {
      const { headDim, ropeTheta, ropeScaling } = parse(config);
      const frequencies = ropeFrequencies(headDim, ropeTheta, ropeScaling);
      assert.equal(frequencies.length, inv_freq.length);
      // transformers takes a share near 1 from 1 in f32, which a factor of 32 then shows.
      frequencies.forEach((value, c) => assert.ok(Math.abs(value / inv_freq[c] - 1) < 5e-6, `pair ${c}`));
      assert.ok(Math.abs(attentionFactorOf(ropeScaling) / attention_factor - 1) < 1e-12);
    });
  }

  it("scales cosines and sines by its attention factor", () => {
    const { headDim, ropeTheta, ropeScaling } = parse(settings["yarn as Qwen writes it"].config);
    const { cos, sin } = ropeTable(2, headDim, ropeTheta, ropeScaling);
    assert.equal(cos[0], Math.fround(0.1 * Math.log(4) + 1));
    assert.ok(Math.abs(Math.hypot(cos[headDim / 2], sin[headDim / 2]) - cos[0]) < 1e-6);
  });

  const factors = Array<number>(64).fill(1.5);
  const longrope = { type: "longrope", short_factor: factors, long_factor: factors };

  it("that follows the length of the sequence ends where it would change", () => {
    const positions = (changes: Record<string, unknown>) =>
      parse({ max_position_embeddings: 4096, ...changes }).maxPositions;
    assert.equal(positions({ rope_scaling: { type: "dynamic", factor: 4 } }), 4096);
    const original = { original_max_position_embeddings: 1024 };
    assert.equal(positions({ rope_scaling: longrope, ...original }), 1024);
    assert.equal(positions({ rope_scaling: longrope }), 4096, "the model's own positions");
    assert.equal(
      positions({ rope_scaling: { type: "yarn", factor: 4, ...original } }),
      4096,
      "yarn is one rope",
    );
  });

  it("dynamic is the plain rope up to the positions of the model", () => {
    assert.equal(parse({ rope_scaling: { type: "dynamic", factor: 4 } }).ropeScaling, undefined);
  });

  it("longrope under its older names is longrope", () => {
    for (const type of ["su", "yarn"]) {
      assert.deepEqual(parse({ rope_scaling: { ...longrope, type } }), parse({ rope_scaling: longrope }));
    }
  });

  const refused: [string, Record<string, unknown>, RegExp][] = [
    [
      "a yarn of no factor that is a number",
      { type: "yarn", factor: "4" },
      /"factor" must be a positive number/,
    ],
    ["a dynamic rope without a factor", { type: "dynamic" }, /"factor" must be a positive number/],
    [
      "a yarn of a negative attention factor",
      { type: "yarn", factor: 2, attention_factor: -1 },
      /attention_factor/,
    ],
    [
      "a longrope without factors",
      { type: "longrope", long_factor: factors },
      /"short_factor" of a longrope/,
    ],
    ["a longrope of a factor that is none", { ...longrope, short_factor: [1, null] }, /"short_factor"/],
  ];
  for (const [what, rope_scaling, message] of refused) {
    it(`refuses ${what}`, () => assert.throws(() => parse({ rope_scaling }), message));
  }

  it("refuses a longrope of factors for heads of another width", () => {
    const { headDim, ropeTheta, ropeScaling } = parse({
      rope_scaling: { ...longrope, short_factor: [1, 2] },
    });
    assert.throws(
      () => ropeTable(2, headDim, ropeTheta, ropeScaling),
      /need 64 values of "short_factor".*, got 2/,
    );
  });
});
