/** The peers of the benchmark, at a tiny size: they train the same model to the same numbers. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { benchDecoding } from "../../bench/decode_bench.ts";
import { decodeTable } from "../../bench/decode_table.ts";
import { benchQuickstart } from "../../bench/quickstart_bench.ts";
import { quickstartTable } from "../../bench/quickstart_table.ts";
import { assertAgreement, benchTraining } from "../../bench/train_bench.ts";
import { trainTable } from "../../bench/train_table.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";
import { leftOut } from "../left_out.ts";

/** The one that may have torch, transformers and trl. */
const PYTHON = process.env.GRPO_TEST_PYTHON ?? "python3";
const noTorch = spawnSync(PYTHON, ["-c", "import torch, transformers, trl"]).status !== 0 &&
  `${PYTHON} has no torch, transformers and trl; GRPO_TEST_PYTHON names another`;
const NO_PYTHON = "no-such-python";
const tiny = { repeats: 1, python: NO_PYTHON, isTiny: true } as const;

describe("bench peers", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("two steps of ours, of plain tfjs and of jax-js agree, and each is timed and weighed", async () => {
    // Of the kernels that jax-js writes, wgpu does not compile the one of scatter; it takes a minute to say so.
    const tensors = tf.memory().numTensors;
    const isNode = detectRuntime() === "node";
    const report = await benchTraining({ ...tiny, peer: isNode ? "all" : "tfjs" });
    const names = ["this project", "plain tfjs", ...(isNode ? ["@jax-js/jax"] : [])];
    assert.deepEqual(report.trainees.map(({ name }) => name), names);
    assert.deepEqual(report.skipped.map(({ name }) => name), isNode ? ["torch"] : []);
    assert.equal(tf.memory().numTensors, tensors);
    for (const { timing, peakBytes } of report.trainees) {
      assert.ok(timing.seconds > 0);
      assert.ok(peakBytes! > 4 * report.parameters * 4, "weights, moments and gradients");
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
    const report = await benchDecoding({ ...tiny, peer: "tfjs" });
    const names = ["recorded plan", "the same kernels, unrecorded", "plain tfjs"];
    assert.deepEqual(report.decoders.map(({ name }) => name), names);
    assert.ok(report.replay.dispatches >= 32 && report.replay.fastestMs > 0);
    assert.match(decodeTable("a GPU", report), /JavaScript of a replayed token, 32 layers/);
    assert.equal(tf.memory().numTensors, tensors);
  });

  it("a Python that is missing, or ends, is told as skipped with the reason, and ours is timed", async () => {
    const { trainees, skipped } = await benchTraining({ ...tiny, peer: "torch" });
    assert.deepEqual(trainees.map(({ name }) => name), ["this project"]);
    assert.match(skipped[0].reason, /^no-such-python does not start .* name one with --python$/);
    // No Python, but a program that starts and ends.
    const decoded = await benchDecoding({ ...tiny, python: process.execPath, peer: "torch" });
    assert.equal(decoded.decoders.length, 2);
    assert.match(decoded.skipped[0].reason, / torch_train\.py ended with \d+: .*\S/);
  });

  it("steps of the quickstart are taken with a scorer of their own, and TRL is skipped without Python", async () => {
    const report = await benchQuickstart({ ...tiny, repeats: 2, peer: "torch" });
    const [{ timing, means }] = report.runners;
    assert.equal(timing.samples, 2, "the first of three steps warms up");
    assert.ok(timing.seconds > 0 && means.tokens > 1 && means.tokens <= 8 && means.cost !== 0);
    assert.deepEqual(report.skipped.map(({ name }) => name), ["TRL"]);
  });

  const withTorch = { ...tiny, python: PYTHON, peer: "torch" } as const;
  it(
    "two steps of torch agree with ours, and its greedy tokens are ours",
    { skip: leftOut("bench peers: torch", noTorch) },
    async () => {
      const trained = await benchTraining(withTorch);
      assert.deepEqual(trained.skipped, []);
      const [, torch] = trained.trainees;
      assert.match(torch.name, /^torch \d/);
      assert.equal(torch.peakBytes, null);
      assert.match(trainTable("a GPU", trained), /\ntorch .*x +- +- +-4\.\d+/);
      const { decoders, skipped } = await benchDecoding(withTorch);
      assert.deepEqual(skipped, []);
      assert.match(decoders[2].name, /^torch \d/);
    },
  );

  it(
    "a step of the quickstart by TRL makes as many completions, judged by the same scorer",
    { skip: leftOut("bench peers: TRL", noTorch) },
    async () => {
      const report = await benchQuickstart(withTorch);
      assert.deepEqual(report.skipped, []);
      const [own, trl] = report.runners;
      assert.ok(trl.timing.seconds > 0);
      // Of 8 completions of 8 tokens or fewer.
      assert.ok(Math.abs(trl.means.tokens - own.means.tokens) < 4);
      assert.ok(Math.abs(trl.means.reward - own.means.reward) < 4);
      assert.ok(trl.means.lambda > 0.9 && trl.means.lambda <= 5);
      assert.match(quickstartTable("a GPU", report), /\nTRL \d\S+, torch \S+, CPU +\S+ +- +\S+x/);
    },
  );
});
