/** Measuring which kernel is fastest: every class once, and only what is not known. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { isSoftwareDevice } from "../../src/gpu/device_facts.ts";
import { linearClass } from "../../src/ops/linear/choice.ts";
import { REGISTERS } from "../../src/ops/linear/tiles.ts";
import { linearSizes, tuneLinear } from "../../src/ops/linear/tuning.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { leftOut } from "../left_out.ts";

/** On a software GPU a tile has to be forced into the choice. */
const CANDIDATES = [REGISTERS, "16x32x32 by 4x4"];

function weightOf(shape: number[], options: Partial<Weight> = {}) {
  return { shape, format: "f32" as const, grad: null, ...options };
}

describe("tuning of matrix products", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("a trained weight makes three products of each power of two of rows, a frozen one two", () => {
    const grad = tf.zeros([24, 16]);
    const classes = linearSizes([weightOf([24, 16], { grad })], 17).map(linearClass);
    assert.deepEqual(
      classes,
      [8, 16, 32].flatMap((rows) => [
        `linear f32 ${rows} x 24 x 16`,
        `linear_grad_x f32 ${rows} x 16 x 24`,
        `linear_grad_w f32 24 x 16 x ${rows}`,
      ]),
    );
    const frozen = linearSizes([weightOf([24, 16], { format: "bf16" })], 8).map(linearClass);
    assert.deepEqual(frozen, ["linear bf16 8 x 24 x 16", "linear_grad_x bf16 8 x 16 x 24"]);
    grad.dispose();
  });

  it("weights of one class are measured once; vectors, and what no tile takes, never", () => {
    const weights = [weightOf([24, 16]), weightOf([24, 16]), weightOf([16]), weightOf([24, 18])];
    assert.equal(linearSizes(weights, 8).length, 2);
  });

  it("no product that is measured is larger than what fills a GPU", () => {
    const sizes = linearSizes([weightOf([128_000, 11_008])], 100_000);
    assert.ok(sizes.length > 0);
    assert.ok(sizes.every(({ rows }) => rows <= 4096));
    assert.deepEqual(sizes.at(-1), { ...sizes.at(-1)!, rows: 4096, columns: 11_008, summed: 16_384 });
  });

  it("each class gets a candidate, nothing stays allocated, and what is known is not measured again", async () => {
    const weights = [
      weightOf([22, 16], { grad: tf.zeros([22, 16]) }),
      weightOf([40, 24], { format: "bf16" }),
    ];
    const sizes = linearSizes(weights, 16);
    const tensors = tf.memory().numTensors;
    const steps: string[] = [];
    const onProgress = (done: number, total: number) => void steps.push(`${done}/${total}`);
    const tuning = await tuneLinear(sizes, { candidates: CANDIDATES, onProgress });
    assert.deepEqual(Object.keys(tuning).sort(), sizes.map(linearClass).sort());
    assert.ok(Object.values(tuning).every((variant) => CANDIDATES.includes(variant)));
    assert.equal(tf.memory().numTensors, tensors);
    assert.deepEqual([steps[0], steps.at(-1)], [`0/${sizes.length}`, `${sizes.length}/${sizes.length}`]);

    steps.length = 0;
    const known = { ...tuning, [linearClass(sizes[0])]: "a tile of another version" };
    const again = await tuneLinear(sizes, { candidates: CANDIDATES, known, onProgress });
    assert.deepEqual(steps, ["0/1", "1/1"]);
    assert.ok(CANDIDATES.includes(again[linearClass(sizes[0])]));
  });

  it("a software device has nothing to choose, and nothing is measured", async (t) => {
    if (!isSoftwareDevice()) return t.skip(leftOut(t.name, "this device is a GPU"));
    const onProgress = () => assert.fail("measured");
    assert.deepEqual(await tuneLinear(linearSizes([weightOf([24, 16])], 8), { onProgress }), {});
  });
});
