/** A population of low-rank perturbations: each row of a batch as its member's policy would have it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { settle } from "../../src/gpu/queue.ts";
import { readFloats, uploadTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { factorLayout, memberFactorsF64 } from "../../src/ops/population/member_factors.ts";
import { memberUpdateF64 } from "../../src/ops/population/member_update.ts";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { createGenerator, type GenerationOptions } from "../../src/policy/decode/generate.ts";
import {
  createPerturbations,
  factorBytes,
  type MemberPerturbations,
  moveByPerturbations,
} from "../../src/policy/perturbations.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { membersOf, type NoiseTerm, updateTerms } from "../../src/rl/es.ts";
import { openPopulation } from "../../src/train/es/open_population.ts";
import { memberOptions } from "../../src/train/es/population.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { PROMPTS as RUN_PROMPTS, tinyConfig } from "./tiny_run.ts";

const OPTIONS: GenerationOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  eosIds: [2],
  maxTokens: 9,
  readbackEvery: 4,
  keepsLogprobs: true,
};
const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40]];
const RANK = 2;
const TERMS: NoiseTerm[] = [
  { seed: 11, coefficient: 0.03 },
  { seed: 12, coefficient: 0.03 },
  { seed: 11, coefficient: -0.03 },
];

/** The matrices of each layer with what the terms add to them, in f64. */
function added(policy: Policy, terms: readonly NoiseTerm[], rank: number): [Weight, Float64Array][] {
  return policy.weights.layers.flatMap((layer, l) => {
    const weights = (Object.values(layer) as Weight[]).filter(({ shape }) => shape.length === 2);
    const layout = factorLayout(weights.map(({ shape }) => shape), rank);
    const scaled = terms.map(({ seed, coefficient }) => ({
      seed,
      coefficient: coefficient / Math.sqrt(rank),
    }));
    const values = memberFactorsF64(scaled, layout, l);
    return weights.map((weight, i): [Weight, Float64Array] => {
      const [N, K] = weight.shape;
      const factors = { values, pitch: layout.pitch, rank, ...layout.places[i] };
      return [weight, memberUpdateF64(new Float64Array(N * K), factors, { N, K })];
    });
  });
}

/** Runs `body` with the terms added to the weights themselves, and takes them off again. */
async function withAdded<R>(policy: Policy, terms: readonly NoiseTerm[], body: () => Promise<R>): Promise<R> {
  const changes = added(policy, terms, RANK);
  const before = await Promise.all(changes.map(([{ tensor }]) => readFloats(tensor)));
  changes.forEach(([{ tensor }, values], i) => writeTensor(tensor, before[i].map((w, at) => w + values[at])));
  const made = await body();
  changes.forEach(([{ tensor }], i) => writeTensor(tensor, before[i]));
  return made;
}

describe("a population of low-rank perturbations", () => {
  let policy: Policy;
  let perturbations: MemberPerturbations;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
    perturbations = createPerturbations(policy.weights, RANK, TERMS.length + 1);
    perturbations.make(TERMS);
  });
  after(closeGpu);

  interface Place {
    firstPrompt?: number;
    groupSize?: number;
    options?: Partial<GenerationOptions>;
  }
  const generate = async (prompts: number[][], members: number[] | undefined, place: Place = {}) => {
    const { firstPrompt = 0, groupSize = 1, options } = place;
    const generator = createGenerator(policy, { ...OPTIONS, ...(members && { perturbations }), ...options });
    const completions = await generator.generate({
      prompts,
      groupSize,
      seed: 11,
      step: 3,
      firstPrompt,
      members,
    });
    generator.dispose();
    return completions;
  };
  const population = [0, 1, 2].flatMap((member) => PROMPTS.map((prompt) => ({ member, prompt })));
  const all = () => generate(population.map(({ prompt }) => prompt), population.map(({ member }) => member));

  it("a row's bits depend on its tokens and its member alone, whoever stands beside it", async () => {
    const together = await all();
    for (const [i, { member, prompt }] of population.entries()) {
      assert.deepEqual(await generate([prompt], [member], { firstPrompt: i }), [together[i]], `row ${i}`);
    }
  });

  it("completions of one prompt share its prefill with those of the same member only", async () => {
    const groups = await generate([PROMPTS[0], PROMPTS[0]], [0, 1], { groupSize: 3 });
    const alone = await generate([PROMPTS[0]], [1], { groupSize: 3, firstPrompt: 1 });
    assert.deepEqual(groups.slice(3), alone);
    assert.notDeepEqual(
      groups.slice(0, 3).map(({ logprobs }) => logprobs),
      alone.map(({ logprobs }) => logprobs),
    );
  });

  it("members answer as policies whose weights have the perturbation in them", async () => {
    const together = await all();
    const plain = await generate(PROMPTS, undefined);
    for (const [member, term] of TERMS.entries()) {
      const own = together.slice(member * PROMPTS.length, (member + 1) * PROMPTS.length);
      const wanted = await withAdded(
        policy,
        [term],
        () => generate(PROMPTS, undefined, { firstPrompt: member * PROMPTS.length }),
      );
      own.forEach(({ tokens, logprobs }, i) => {
        assert.deepEqual(tokens, wanted[i].tokens, `member ${member}, prompt ${i}`);
        // Sums in another order: W x + A (B x) for (W + A B) x, in f32, through two layers.
        logprobs!.forEach((logprob, t) => assert.ok(Math.abs(logprob - wanted[i].logprobs![t]) < 2e-5));
      });
      assert.notDeepEqual(own.map(({ logprobs }) => logprobs), plain.map(({ logprobs }) => logprobs));
    }
  });

  it("a row without a member is the policy's own, to the bit", async () => {
    assert.deepEqual(await generate(PROMPTS, [-1, -1, -1]), await generate(PROMPTS, undefined));
    const mixed = await generate(PROMPTS, [0, -1, 1]);
    assert.deepEqual(mixed[1], (await generate(PROMPTS, undefined))[1]);
  });

  it("factors that are made anew serve the plan that was recorded over them", async () => {
    const generator = createGenerator(policy, { ...OPTIONS, perturbations });
    const request = { prompts: PROMPTS, groupSize: 1, seed: 11, step: 3, members: [0, 0, 0] };
    const first = await generator.generate(request);
    perturbations.make([TERMS[1]]);
    const second = await generator.generate(request);
    perturbations.make(TERMS);
    assert.deepEqual(second, await generate(PROMPTS, [1, 1, 1]));
    assert.notDeepEqual(second, first);
    assert.deepEqual(await generator.generate(request), first);
    generator.dispose();
  });

  it("the step adds each member's matrices, weighed, to the layers' matrices and to nothing else", async () => {
    const moved = await tinyPolicy();
    const before = new Map(
      await Promise.all(
        listWeights(moved.weights).map(async (weight) => [weight, await readFloats(weight.tensor)] as const),
      ),
    );
    moveByPerturbations(moved.weights, TERMS, RANK);
    const changes = new Map(added(moved, TERMS, RANK));
    for (const [weight, old] of before) {
      const values = await readFloats(weight.tensor);
      const change = changes.get(weight);
      // f32 sums of six products, and of the weight.
      values.forEach((value, i) =>
        assert.ok(Math.abs(value - old[i] - (change?.[i] ?? 0)) <= 1e-7, weight.name)
      );
      assert.equal(values.some((value, i) => value !== old[i]), change !== undefined, weight.name);
    }
  });

  it("factors take rank (N + K) values of a matrix and a member", () => {
    const { all, largest } = factorBytes(policy.weights, RANK);
    const { layers } = policy.weights;
    const values = (Object.values(layers[0]) as Weight[]).filter(({ shape }) => shape.length === 2)
      .reduce((sum, { shape: [N, K] }) => sum + RANK * (N + K), 0);
    assert.deepEqual({ all, largest }, { all: 4 * layers.length * values, largest: 4 * values });
  });

  it("takes 1.1 times the memory of inference with as many rows at the most", async () => {
    const { memory } = await openGpu();
    const own = await tinyPolicy("perturbed");
    const config = tinyConfig({
      algorithm: "es",
      es_rank: 1,
      es_population_size: 2,
      max_completion_length: 8,
    });
    const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as unknown as Tokenizer;
    const peakOf = async (body: () => Promise<unknown>) => {
      trimPool();
      memory.forgetPeak();
      await body();
      return memory().peakBytes;
    };
    const prompts = [...RUN_PROMPTS, ...RUN_PROMPTS].map(({ ids }) => ids);
    const plain = await peakOf(async () => {
      const generator = createGenerator(own, memberOptions(own, config));
      await generator.generate({ prompts, groupSize: 1, seed: 0, step: 0 });
      generator.dispose();
    });
    const low = await peakOf(async () => {
      const population = await openPopulation({ policy: own, tokenizer, config });
      const members = membersOf(1, config);
      await population.rollouts(members, { start: 0, end: 2 }, { prompts: RUN_PROMPTS });
      population.update(updateTerms(members, [1, 2], 0.01)!);
      await settle();
      population.dispose();
    });
    assert.ok(low <= 1.1 * plain, `${low} bytes, inference ${plain}`);
  });

  it("what does not fit is refused", async () => {
    const six = Array.from({ length: 5 }, (_, seed) => ({ seed, coefficient: 1 }));
    assert.throws(() => perturbations.make(six), /Cannot make factors of 5 members: there is room for 4/);
    assert.throws(
      () => createPerturbations(policy.weights, 0, 1),
      /rank 0: need a whole number of at least 1/,
    );
    await assert.rejects(generate(PROMPTS, [0, 1]), /need one for each of 3 prompts/);
    await assert.rejects(generate(PROMPTS, [0, 1, 4]), /from -1 \(the policy itself\) to before 4/);
    const packed = {
      ...policy.weights.layers[0].output,
      format: "bf16" as const,
      tensor: uploadTensor(new Int32Array(512), [32, 16]),
    };
    const weights = { ...policy.weights, layers: [{ ...policy.weights.layers[0], output: packed }] };
    assert.throws(
      () => moveByPerturbations(weights, TERMS, RANK),
      /need weights in f32, found bf16; set dtype=float32/,
    );
  });
});
