/** Shared prefixes: prompts computed once, seen by all of their completions, with the bits of unshared sequences. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { packedBounds, prefixRanges, shapeText } from "../cases/attention/attention.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { addGradient } from "../../src/ops/elementwise/add_gradient.ts";
import { attention, type AttentionShape, type Prefix } from "../../src/ops/attention/attention.ts";

const SHAPE: AttentionShape = { heads: 4, kvHeads: 2, headDim: 20, scale: 0.2 };
/** Windows of a token, inside the completions, and from the prompts into them; and none. */
const SHAPES: AttentionShape[] = [
  SHAPE,
  { ...SHAPE, window: 1 },
  { ...SHAPE, window: 7, softcap: 2 },
  { ...SHAPE, window: 19 },
];
const KV_WIDTH = SHAPE.kvHeads * SHAPE.headDim;
const WIDTHS = [SHAPE.heads * SHAPE.headDim, KV_WIDTH, KV_WIDTH, SHAPE.heads * SHAPE.headDim]; // q, k, v, dy
const PROMPTS = [13, 6, 21];
const COMPLETIONS = [[5, 1, 17], [4], [9, 30]];

type Rows = Float32Array[]; // q, k, v, dy

const random = (seed: number, rows: number): Rows =>
  WIDTHS.map((width, n) => Float32Array.from(randomFloats(seed + n, rows * width, 2)));
const concat = (parts: Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));
const stack = (parts: Rows[]): Rows => WIDTHS.map((_, n) => concat(parts.map((part) => part[n])));
const matrix = (values: Float32Array, width: number) => tf.tensor(values, [values.length / width, width]);
const pairs = (values: Int32Array) => tf.tensor(values, [values.length / 2, 2], "int32");
const bitsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

const prompts = PROMPTS.map((tokens, n) => random(10 * n, tokens));
const completions = COMPLETIONS.map((lengths, n) =>
  lengths.map((tokens, m) => random(100 + 40 * n + 10 * m, tokens))
);

/** Runs a body with the kernels that a test is about. */
let choose: <R>(body: () => R) => R = (body) => body();
let shape = SHAPE;

/** o, dq, dk and dv of sequences that lie end to end. */
async function packed(rows: Rows, lengths: number[], prefix?: Prefix): Promise<Float32Array[]> {
  const [q, k, v, dy] = rows.map((values, n) => matrix(values, WIDTHS[n]));
  const bounds = pairs(packedBounds(lengths));
  const { value, grads } = choose(() =>
    tf.engine().gradients(() => attention({ q, k, v, bounds, prefix }, shape), [q, k, v], dy, false)
  );
  return await Promise.all([value, ...grads].map((tensor) => readFloats(tensor as Tensor)));
}

/** The prompts as a prefix, for a batch of the completions of some of them. */
function prefixOf(chosen: number[][][], dk: Tensor, dv: Tensor): Prefix {
  const lengths = chosen.map((group) => group.map(([tokens]) => tokens));
  const { ranges, readers } = prefixRanges(PROMPTS, lengths);
  const [, k, v] = stack(prompts).map((values, n) => matrix(values, WIDTHS[n]));
  return { k, v, ranges: pairs(ranges), readers: pairs(readers), dk, dv };
}

/** As `prefixOf`, of the completions that `takes` picks by prompt and number; o, dq, dk, dv of their rows. */
async function sharedPass(takes: (prompt: number, n: number) => boolean, dk: Tensor, dv: Tensor) {
  const chosen = COMPLETIONS.map((lengths, p) =>
    lengths.flatMap((tokens, n) => takes(p, n) ? [[tokens, n]] : [])
  );
  const rows = stack(chosen.flatMap((group, p) => group.map(([, n]) => completions[p][n])));
  return await packed(rows, chosen.flat().map(([tokens]) => tokens), prefixOf(chosen, dk, dv));
}

const accumulators = (value: number) =>
  [0, 1].map(() => tf.fill([PROMPTS.reduce((a, b) => a + b), KV_WIDTH], value));

async function assertUnshared() {
  const [dk, dv] = accumulators(0);
  const shared = await sharedPass(() => true, dk, dv);
  let first = 0;
  for (const [p, group] of COMPLETIONS.entries()) {
    for (const [n, tokens] of group.entries()) {
      const whole = await packed(stack([prompts[p], completions[p][n]]), [PROMPTS[p] + tokens]);
      ["o", "dq", "dk", "dv"].forEach((name, i) => {
        const width = i < 2 ? WIDTHS[0] : KV_WIDTH;
        const own = shared[i].slice(first * width, (first + tokens) * width);
        assert.deepEqual(bitsOf(own), bitsOf(whole[i].slice(PROMPTS[p] * width)), `${name} of ${n} of ${p}`);
      });
      first += tokens;
    }
  }
}

async function assertSplitPasses() {
  const [dk, dv] = accumulators(0.5);
  await sharedPass(() => true, dk, dv);
  const [splitDk, splitDv] = accumulators(0.5);
  await sharedPass((p, n) => p === 0 && n < 2, splitDk, splitDv);
  await sharedPass((p, n) => p === 0 && n === 2 || p === 2 && n === 0, splitDk, splitDv);
  await sharedPass((p, n) => p === 1 || p === 2 && n === 1, splitDk, splitDv);
  assert.deepEqual(bitsOf(await readFloats(splitDk)), bitsOf(await readFloats(dk)));
  assert.deepEqual(bitsOf(await readFloats(splitDv)), bitsOf(await readFloats(dv)));
}

describe("attention to shared prefixes", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  const kernels: [string, typeof choose][] = [["the device's", (body) => body()], [
    "plain",
    withPlainKernels,
  ]];
  for (const [name, chosen] of kernels) {
    for (const one of SHAPES) {
      const how = `with ${name} kernels${shapeText({ ...one, scale: undefined })}`;
      it(`has the bits of every sequence laid out on its own, ${how}`, async () => {
        [choose, shape] = [chosen, one];
        await assertUnshared();
      });
      it(`gives a prefix gradients whose bits do not depend on how its readers are split, ${how}`, async () => {
        [choose, shape] = [chosen, one];
        await assertSplitPasses();
      });
    }
  }

  it("wants no gradient of a prefix without accumulators", async () => {
    [choose, shape] = [(body) => body(), SHAPE];
    const [dk, dv] = accumulators(0);
    const expected = await sharedPass(() => true, dk, dv);
    const lengths = COMPLETIONS.map((group) => group.map((tokens) => [tokens]));
    const frozen = { ...prefixOf(lengths, dk, dv), dk: null, dv: null };
    assert.deepEqual(await packed(stack(completions.flat()), COMPLETIONS.flat(), frozen), expected);
  });

  it("names the parts of a prefix that do not fit", () => {
    const [dk, dv] = accumulators(0);
    const prefix = prefixOf([[[3]], [], []], dk, dv);
    const [q, k, v] = random(1, 3).map((values, n) => matrix(values, WIDTHS[n]));
    const bounds = pairs(packedBounds([3]));
    const attend = (one: Prefix) => attention({ q, k, v, bounds, prefix: one }, SHAPE);
    assert.throws(() => attend({ ...prefix, dv: null }), /both of dk and dv/);
    assert.throws(() => attend({ ...prefix, readers: bounds }), /need v like k, readers \[40,2\]/);
    assert.throws(() => attend({ ...prefix, ranges: prefix.readers }), /ranges \[3,2\]/);
  });

  it("addGradient passes x on, and adds the accumulator to its gradient", async () => {
    const [x, accumulator, dy] = [1, 2, 3].map((seed) =>
      matrix(Float32Array.from(randomFloats(seed, 5 * 33)), 33)
    );
    const { value, grads } = tf.engine().gradients(() => addGradient(x, accumulator), [x], dy, false);
    assert.deepEqual(await readFloats(value), await readFloats(x));
    assert.deepEqual(await readFloats(grads[0] as Tensor), await readFloats(tf.add(dy, accumulator)));
  });

  it("addGradient says when shapes differ", () => {
    const [x, accumulator] = [matrix(new Float32Array(6), 3), matrix(new Float32Array(6), 2)];
    assert.throws(() => addGradient(x, accumulator), /need the same shape/);
  });
});
