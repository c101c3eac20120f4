/** Noise on a policy's weights: that it comes off again, whose it is, and what is left of it where it does not. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { settle } from "../../src/gpu/queue.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { disposePolicyWeights, trainableWeights } from "../../src/policy/adapters.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { type EsNoise, membersOf, updateTerms } from "../../src/rl/es.ts";
import { normalNoise } from "../../src/rl/rng.ts";
import { perturb, type Perturbation } from "../../src/train/es/perturbation.ts";
import { openPopulation } from "../../src/train/es/open_population.ts";
import { memberOptions } from "../../src/train/es/population.ts";
import { PROMPTS, tinyConfig } from "./tiny_run.ts";
import { tinyPolicy } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

const SIGMA = 1e-3;

type Values = Record<string, Float32Array>;

async function valuesOf(policy: Policy): Promise<Values> {
  const values: Values = {};
  for (const { name, tensor } of trainableWeights(policy)) values[name] = await readFloats(tensor);
  return values;
}

async function withPolicy(
  es_noise: EsNoise,
  body: (policy: Policy, perturbation: Perturbation) => Promise<void>,
  es_sigma = SIGMA,
): Promise<void> {
  const policy = await tinyPolicy("perturbed");
  try {
    await body(policy, await perturb(trainableWeights(policy), { es_noise, es_sigma }));
  } finally {
    disposePolicyWeights(policy);
    disposeTrunk(policy);
  }
}

/** What a seed's noise does to each weight, in deviations. */
async function noiseOf(policy: Policy, { add }: Perturbation, seed: number): Promise<Values> {
  const before = await valuesOf(policy);
  add([{ seed, coefficient: SIGMA }]);
  const after = await valuesOf(policy);
  add([{ seed, coefficient: -SIGMA }]);
  return Object.fromEntries(
    Object.entries(after).map(([name, values]) => [
      name,
      values.map((value, i) => (value - before[name][i]) / SIGMA),
    ]),
  );
}

const Q = "model.layers.0.self_attn.q_proj.weight";
const O = "model.layers.0.self_attn.o_proj.weight"; // of q's shape

describe("noise on weights", () => {
  it("comes off to the bit: after 1000 members the weights are as they were", () =>
    withPolicy("iid", async (policy, { add, isUndone }) => {
      assert.equal(isUndone, true);
      const before = await valuesOf(policy);
      for (let seed = 0; seed < 1000; seed++) {
        add([{ seed, coefficient: SIGMA }]);
        add([{ seed, coefficient: -SIGMA }]);
      }
      assert.deepEqual(await valuesOf(policy), before);
    }));

  it("laying weights on their grids moves none by more than 2^-21 of the largest weight, or of 256 sigma", async () => {
    const plain = await tinyPolicy("perturbed");
    const unmoved = await valuesOf(plain);
    disposePolicyWeights(plain);
    disposeTrunk(plain);
    await withPolicy("iid", async (policy) => {
      for (const [name, values] of Object.entries(await valuesOf(policy))) {
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 256 * SIGMA);
        values.forEach((value, i) =>
          assert.ok(Math.abs(value - unmoved[name][i]) <= 2 ** -21 * largest, `${name}[${i}]`)
        );
      }
    });
  });

  it("is another in every tensor, and what the twin draws for the tensor's place", () =>
    withPolicy("iid", async (policy, perturbation) => {
      const noise = await noiseOf(policy, perturbation, 7);
      const names = trainableWeights(policy).map(({ name }) => name);
      for (const name of [Q, O]) {
        noise[name].slice(0, 64).forEach((value, e) => {
          const expected = normalNoise(7, names.indexOf(name), e);
          assert.ok(Math.abs(value - expected) < 2e-3, `${name}[${e}] = ${value}, twin ${expected}`); // grid, f32
        });
      }
      assert.notDeepEqual(noise[Q], noise[O]);
    }));

  it("of the original is the same in tensors of a shape, and leaves rounding behind", () =>
    withPolicy("original", async (policy, perturbation) => {
      assert.equal(perturbation.isUndone, false);
      const before = await valuesOf(policy);
      const noise = await noiseOf(policy, perturbation, 7);
      noise[Q].forEach((value, e) => assert.ok(Math.abs(value - noise[O][e]) < 1e-3)); // f32 of weights up to 0.35
      for (let seed = 0; seed < 20; seed++) {
        perturbation.add([{ seed, coefficient: SIGMA }]);
        perturbation.add([{ seed, coefficient: -SIGMA }]);
      }
      const after = await valuesOf(policy);
      assert.notDeepEqual(after, before);
      after[Q].forEach((value, e) => assert.ok(Math.abs(value - before[Q][e]) < 1e-6));
    }));

  it("an update that would leave the grid stops at its end, and members still come off", () =>
    withPolicy("iid", async (policy, { add, update }) => {
      update([{ seed: 1, coefficient: 1e6 }]);
      const ends = await valuesOf(policy);
      assert.ok(ends[Q].every((value) => Number.isFinite(value) && Math.abs(value) < 8));
      add([{ seed: 2, coefficient: SIGMA }]);
      add([{ seed: 2, coefficient: -SIGMA }]);
      assert.deepEqual(await valuesOf(policy), ends);
    }));

  it("takes 1.1 times the memory of inference at the most", () =>
    withPolicy("iid", async (policy) => {
      const { memory } = await openGpu();
      const config = tinyConfig({ algorithm: "es", es_population_size: 2, max_completion_length: 8 });
      const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as unknown as Tokenizer;
      const peakOf = async (body: () => Promise<unknown>) => {
        trimPool();
        memory.forgetPeak();
        await body();
        return memory().peakBytes;
      };
      const plain = await peakOf(async () => {
        const generator = createGenerator(policy, memberOptions(policy, config));
        const prompts = PROMPTS.map(({ ids }) => ids);
        await generator.generate({ prompts, groupSize: 1, seed: 0, step: 0 });
        generator.dispose();
      });
      const byNoise = await peakOf(async () => {
        const population = await openPopulation({ policy, tokenizer, config });
        const members = membersOf(1, config);
        await population.rollouts(members, { start: 0, end: 2 }, { prompts: PROMPTS });
        population.update(updateTerms(members, [1, 2], 0.01)!);
        await settle();
        population.dispose();
      });
      assert.ok(byNoise <= 1.1 * plain, `${byNoise} bytes, inference ${plain}`);
    }));

  it("is refused on packed weights", async () => {
    const policy = await tinyPolicy("bfloat16");
    const config = { es_noise: "iid" as const, es_sigma: SIGMA };
    await assert.rejects(
      perturb(trainableWeights(policy), config),
      /need float32 weights.*set dtype=float32/,
    );
    disposePolicyWeights(policy);
    disposeTrunk(policy);
  });
});
