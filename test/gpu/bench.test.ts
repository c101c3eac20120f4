/** The benchmark on a small case: real numbers out, and nothing left on the GPU. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { cases } from "../cases/norm/rms_norm.ts";
import { measureCeilings } from "../../bench/ceilings.ts";
import { timeOp } from "../../bench/op_timing.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";

describe("bench", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("measureCeilings() finds a copy rate and an FMA rate", async () => {
    const { copyGBps, fmaGflops } = await measureCeilings((await openGpu()).device);
    assert.ok(copyGBps > 0.01 && Number.isFinite(copyGBps), `copy ${copyGBps} GB/s`);
    assert.ok(fmaGflops > 0.1 && Number.isFinite(fmaGflops), `FMA ${fmaGflops} GFLOP/s`);
  });

  it("timeOp() times kernels, call, backward and plain tfjs, and frees every tensor", async () => {
    const tensorsBefore = tf.memory().numTensors;
    const { kernels, forward, forwardBackward, plainForward } = await timeOp("rms_norm", cases[1], {
      repeats: 1,
    });
    for (const timing of [kernels, forward, forwardBackward!, plainForward!]) {
      assert.ok(timing.seconds > 0 && timing.samples >= 1);
    }
    assert.equal(kernels.dispatches, 1);
    assert.equal(tf.memory().numTensors, tensorsBefore);
  });
});
