import * as tf from "@tensorflow/tfjs";
import { awaitGpu, closeGpu, openGpu } from "../src/gpu/device.ts";
import { flush } from "../src/gpu/bridge.ts";
import { linear } from "../src/ops/linear.ts";
import { lmHeadLogprobs } from "../src/ops/lm_head_logprobs.ts";
import { attention } from "../src/ops/attention.ts";
import { rmsNorm } from "../src/ops/rms_norm.ts";
import { embedding } from "../src/ops/embedding.ts";
import { swiglu } from "../src/ops/swiglu.ts";
const { device } = await openGpu();
const W8 = process.env.SPIN ? (<T>(p: Promise<T>) => p) : awaitGpu;
const N = 2560, D = 96, F = 256, V = 1024, M = 1280;
const rnd = (s: number[]) => tf.randomUniform(s, -1, 1);
const W = (o: number, i: number) => ({
  name: "w",
  shape: [o, i],
  format: "f32" as const,
  tensor: rnd([o, i]),
  grad: tf.zeros([o, i]),
});
const time = async (name: string, f: () => tf.Tensor[], flops = 0) => {
  for (let k = 0; k < 2; k++) {
    tf.tidy(() => {
      f();
    });
    flush();
    await W8(device.queue.onSubmittedWorkDone());
  }
  const c0 = process.cpuUsage();
  const n = 3;
  for (let k = 0; k < n; k++) {
    tf.tidy(() => {
      f();
    });
    flush();
  }
  await W8(device.queue.onSubmittedWorkDone());
  const c = process.cpuUsage(c0);
  const ms = (c.user + c.system) / 2000 / n;
  console.log(name.padEnd(30), ms.toFixed(2), "ms", flops ? (flops / ms / 1e6).toFixed(2) + " GFLOP/s" : "");
};
const g = (f: () => tf.Tensor, xs: tf.Tensor[]) => () => {
  const y = tf.tidy(f);
  const r = tf.engine().gradients(f, xs, tf.onesLike(y), false);
  return r.grads;
};
for (const [o, i] of [[96, 96], [256, 96], [96, 256], [48, 96]]) {
  const x = rnd([N, i]);
  const w = W(o, i);
  await time(`linear ${N}x${i}->${o}`, () => [linear(x, w)], 2 * N * i * o);
  await time(`linear 2fwd+bwd`, g(() => linear(x, w), [x]), 8 * N * i * o);
}
{
  const h = rnd([M, D]);
  const w = W(V, D);
  const t = tf.tensor1d(Int32Array.from({ length: M }, (_, i) => i % V), "int32");
  await time(
    "lm head fwd",
    () => lmHeadLogprobs(h, w, t, { temperature: 1, chunkRows: 1024 }),
    2 * M * D * V,
  );
  await time(
    "lm head 2fwd+bwd",
    g(() => lmHeadLogprobs(h, w, t, { temperature: 1, chunkRows: 1024 })[0], [h]),
    10 * M * D * V,
  );
}
{
  const L = 40;
  const b = new Int32Array(N * 2);
  for (let n = 0; n < N; n++) {
    b[2 * n] = Math.floor(n / L) * L;
    b[2 * n + 1] = b[2 * n] + L;
  }
  const bounds = tf.tensor2d(b, [N, 2], "int32");
  const q = rnd([N, 96]), k = rnd([N, 48]), v = rnd([N, 48]);
  const s = { heads: 4, kvHeads: 2, headDim: 24, scale: 0.2 };
  await time("attention fwd", () => [attention(q, k, v, bounds, s)]);
  await time("attention 2fwd+bwd", g(() => attention(q, k, v, bounds, s), [q, k, v]));
}
{
  const x = rnd([N, D]);
  const w = { name: "n", shape: [D], format: "f32" as const, tensor: rnd([D]), grad: tf.zeros([D]) };
  await time("rmsnorm", () => [rmsNorm(x, w, 1e-5)]);
  await time("rmsnorm 2f+b", g(() => rmsNorm(x, w, 1e-5), [x]));
}
{
  const a = rnd([N, F]), b = rnd([N, F]);
  await time("swiglu", () => [swiglu(a, b)]);
  await time("swiglu 2f+b", g(() => swiglu(a, b), [a, b]));
}
{
  const w = W(V, D);
  const ids = tf.tensor1d(Int32Array.from({ length: N }, (_, i) => i % V), "int32");
  const root = tf.scalar(0);
  await time("embedding", () => [embedding(root, ids, w)]);
  await time("embedding 2f+b", g(() => embedding(root, ids, w), [root]));
}
await closeGpu();
process.exit();
