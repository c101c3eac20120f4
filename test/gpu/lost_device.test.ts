/**
 * A device has all that its GPU offers; when it fails, the run ends with what it was at, the work under way, the remedy
 * and the newest checkpoint that is whole, and never with zeros or blame on another.
 */
import assert from "node:assert/strict";
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openAdapter, openGpu } from "../../src/gpu/device.ts";
import { assertGpuHealthy, enterPhase, forgetGpuFailure, GpuError } from "../../src/gpu/failure.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { checkpointsIn, textScores, tinyRun, type TinyRunOptions } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

it("a device has the features that make kernels faster, and every limit, where its GPU offers them", async () => {
  const { features, limits } = await openAdapter();
  const { device } = await openGpu();
  for (const name of ["timestamp-query", "shader-f16", "subgroups"] as GPUFeatureName[]) {
    assert.equal(device.features.has(name), features.has(name), name);
  }
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxComputeInvocationsPerWorkgroup",
  ] as const;
  for (const name of names) assert.equal(device.limits[name], limits[name], name);
});

/** A fault of the device, as its driver would tell of it. */
type Fault = (device: GPUDevice) => void;
const tell = (makeError: () => GPUError): Fault => (device) =>
  void device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error: makeError() }));
const noMemory = tell(() => new GPUOutOfMemoryError("Failed to allocate 12345 bytes"));
const refusal = tell(() => new GPUValidationError("Binding sizes are too small"));
const loss: Fault = (device) => device.destroy();

describe("a run whose GPU", () => {
  const SCORING =
    /\(in (sampling completions|the passes of the reference policy), with (scoring|the update) under way; the last work/;
  const LATER = /\(in (the update|saving)/;
  const whileScoring = (fault: () => void): TinyRunOptions => ({
    score(request, completions) {
      if (request !== 3) return textScores(completions);
      fault();
      return new Promise(() => {}); // for as long as a scorer may take: the GPU's failure does not wait for it
    },
  });
  const afterStep = (at: number, fault: () => void): TinyRunOptions => ({
    onStep: ({ step }) => step === at && fault(),
  });
  const CASES: [string, Fault, typeof whileScoring, RegExp, RegExp, RegExp][] = [
    [
      "has no memory left",
      noMemory,
      whileScoring,
      SCORING,
      /^The GPU is out of memory \(.*; the last memory asked for: \d+ bytes, beside \d+ that are held\): Failed to all/,
      /nvidia-smi.* --set gpu_memory_gib=0\.00\d+ plans .*per_device_train_batch_size, max_completion_length/,
    ],
    [
      "refuses work",
      refusal,
      (fault) => afterStep(3, fault),
      LATER,
      /^The GPU rejected work, so every later number would be wrong \(.*\): Binding sizes are too small\. This is a fault/,
      /report it/,
    ],
    // Last: what is lost does not come back.
    ["is lost", loss, whileScoring, SCORING, /^The GPU device was lost \(/, /nvidia-smi.*dmesg/],
  ];
  const settings = { max_steps: 3 };

  it("fails names no checkpoint that is damaged, and says where there is none", () =>
    withScratchFolder(async (dir) => {
      const { device } = await openGpu();
      const failedAt = async (at: number, before: () => void = () => {}) => {
        const fault = () => {
          before();
          refusal(device);
        };
        const run = await tinyRun(dir, { settings, ...afterStep(at, fault) });
        forgetGpuFailure();
        return run.error!.message;
      };
      assert.match(await failedAt(1), /There is no checkpoint: the same command starts over$/);
      const damage = () => truncateSync(join(dir, "checkpoint-2", "model.safetensors"), 100);
      assert.match(
        await failedAt(3, damage),
        /whole checkpoint is '.*checkpoint-1' \(checkpoint-2 is damaged\): the same command goes on from it$/,
      );
    }));

  for (const [what, fault, injected, place, said, remedy] of CASES) {
    it(`${what} says so, with phase, work, remedy and the newest whole checkpoint, and blames nobody else`, () =>
      withScratchFolder(async (dir) => {
        const { device } = await openGpu();
        const run = await tinyRun(dir, { settings, ...injected(() => fault(device)) });
        assert.ok(run.error instanceof GpuError, `${run.error}`);
        const { message } = run.error;
        for (const part of [said, place, remedy, / the last work it was given: [a-z]/]) {
          assert.match(message, part);
        }
        assert.deepEqual(checkpointsIn(dir), [1, 2]);
        const next = `The newest whole checkpoint is '${
          join(dir, "checkpoint-2")
        }': the same command goes on from it`;
        assert.ok(message.endsWith(next), message);
        assert.doesNotMatch(`${message}${run.messages}`, /scorer/i);
        if (fault !== loss) return forgetGpuFailure();
        await closeGpu();
        await openGpu();
        assert.equal((await tinyRun(dir, { settings })).error, null);
      }));
  }
});

it("a GPU device that was lost is never taken for one that works", async () => {
  const { device } = await openGpu();
  const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [1, 4]);
  const sum = add(x, x);
  assert.deepEqual([...await readFloats(sum)], [2, 4, 6, 8]);
  enterPhase("the update");
  add(x, x);
  const waiting = readFloats(add(sum, x));
  device.destroy();
  const LOST = /The GPU device was lost \(in the update; the last work it was given: add.* \[1,4\]\): /;
  // What was waited for may have been done; else it says why it was not.
  await waiting.catch(({ message }) => assert.match(message, LOST));
  await device.lost;
  assert.throws(assertGpuHealthy, LOST);
  assert.throws(() => add(x, x), LOST, "no kernel is queued");
  await assert.rejects(readFloats(sum), LOST, "not even what was read before");
});
