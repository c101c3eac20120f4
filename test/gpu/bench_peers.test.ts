/** The peers of the benchmark, at a tiny size: they train the same model to the same numbers. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { benchDecoding } from "../../bench/decode_bench.ts";
import { decodeTable } from "../../bench/decode_table.ts";
import { assertAgreement, benchTraining } from "../../bench/train_bench.ts";
import { trainTable } from "../../bench/train_table.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";

describe("bench peers", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("two steps of ours, of plain tfjs and of jax-js agree, and each is timed and weighed", async () => {
    // Of the kernels that jax-js writes, wgpu does not compile the one of scatter; it takes a minute to say so.
    const tensors = tf.memory().numTensors;
    const isNode = detectRuntime() === "node";
    const report = await benchTraining({ repeats: 1, peer: isNode ? "all" : "tfjs", isTiny: true });
    const names = ["this project", "plain tfjs", ...(isNode ? ["@jax-js/jax"] : [])];
    assert.deepEqual(report.trainees.map(({ name }) => name), names);
    assert.deepEqual(report.skipped, []);
    assert.equal(tf.memory().numTensors, tensors);
    for (const { timing, peakBytes } of report.trainees) {
      assert.ok(timing.seconds > 0);
      assert.ok(peakBytes > 4 * report.parameters * 4, "weights, moments and gradients");
    }
    const lines = trainTable("a GPU", report).split("\n");
    assert.match(lines.find((line) => line.startsWith("plain tfjs"))!, /x +/);
  });

  it("a peer that computes something else is not timed", () => {
    const own = { meanLogprobs: [-4, -3.9], gradNorms: [1, 2] } as const;
    const check = (second: number) => ({ meanLogprobs: [-4, -3.9], gradNorms: [1, second] }) as const;
    assertAgreement(own, check(2.001), "a peer");
    assert.throws(
      () => assertAgreement(own, check(2.01), "a peer"),
      /Not timed: a peer .* second step of 2.01/,
    );
  });

  it("decoding by a recorded plan, by its kernels unrecorded and by plain tfjs picks the same tokens", async () => {
    const tensors = tf.memory().numTensors;
    const report = await benchDecoding({ repeats: 1, withTfjs: true, isTiny: true });
    const names = ["recorded plan", "the same kernels, unrecorded", "plain tfjs"];
    assert.deepEqual(report.decoders.map(({ name }) => name), names);
    assert.ok(report.replay.dispatches >= 32 && report.replay.fastestMs > 0);
    assert.match(decodeTable("a GPU", report), /JavaScript of a replayed token, 32 layers/);
    assert.equal(tf.memory().numTensors, tensors);
  });
});
