/** A profile names every kernel that ran, freshly queued or replayed, ours or stock. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { profileKernels } from "../../src/gpu/profile.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { leftOut } from "../left_out.ts";

before(async () => void await openGpu());
after(closeGpu);

it("profileKernels() counts dispatches, replays and stock ops, with their bytes and times", async (t) => {
  if (!(await openGpu()).device.features.has("timestamp-query")) {
    return t.skip(leftOut(t.name, "no timestamps here"));
  }
  const x = uploadTensor(new Float32Array(1e6).fill(1), [1000, 1000]);
  const plan = recordPlan(() => void add(x, x));
  const profile = await profileKernels(() => {
    tf.tidy(() => void tf.exp(add(x, x)));
    plan.replay(3);
  });
  plan.dispose();
  x.dispose();
  const ours = profile.find(({ kernel }) => kernel === "add VEC4")!;
  assert.equal(ours.calls, 4);
  assert.equal(ours.boundBytes, 4 * 3 * 4e6);
  assert.ok(ours.seconds > 0 && ours.seconds < 10, `${ours.seconds} s`);
  const stock = profile.find(({ kernel }) => kernel.startsWith("tfjs "))!;
  assert.equal(stock.calls, 1);
  assert.equal(profile.length, 2);
});
