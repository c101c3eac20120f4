import * as tf from "@tensorflow/tfjs";
import { cases } from "/work/main/bench/cases/attention.ts";
import { caseOperands } from "/work/main/bench/operands.ts";
import { openGpu, closeGpu } from "/work/main/src/gpu/device.ts";
import { readFloats } from "/work/main/src/gpu/bridge.ts";
await openGpu();
for (const id of (process.env.CASES ?? "0").split(",").map(Number)) {
  const c = cases[id];
  const { tensors: t } = caseOperands(c);
  const t0 = performance.now();
  const [o] = c.run({ tensors: t, weights: {} });
  await readFloats(o);
  console.log(c.name, "fwd", performance.now() - t0);
  const g = (tf.engine() as any).gradients(() => c.run({ tensors: t, weights: {} })[0], [t.q, t.k, t.v], tf.onesLike(o), false).grads;
  await readFloats(g[0]);
  console.log("dq", performance.now() - t0);
  await readFloats(g[1]);
  console.log("dk", performance.now() - t0);
}
await closeGpu();
