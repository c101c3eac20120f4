import { openGpu, closeGpu } from "./src/gpu/device.ts";
import { linkKernel } from "./src/gpu/wgsl.ts";
const { device } = await openGpu();
import { tileConstants } from "./src/ops/attention/attention_tiles.ts";
for (const kernel of (process.env.K ?? "attention_tile,attention_grad_q_tile,attention_grad_kv_tile").split(",")) {
  for (const D of [16]) {
    const t = performance.now(), c = process.cpuUsage();
    const module = device.createShaderModule({ code: linkKernel(kernel, {}).text });
    const p = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants: tileConstants(D, device.limits) as any } });
    const u = process.cpuUsage(c);
    console.log(kernel, D, "wall", ((performance.now() - t) / 1000).toFixed(1), "cpu", (u.user / 1e6).toFixed(1));
  }
}


import * as tf from "@tensorflow/tfjs";
import { packedBounds } from "./test/cases/attention/attention.ts";
import { randomFloats } from "./test/cases/case.ts";
import { newTensor, readFloats } from "./src/gpu/tensors.ts";
import { runAttentionTiles, runAttentionGradQTiles, runAttentionGradKvTiles } from "./src/ops/attention/attention_tiles.ts";
const D = Number(process.env.D ?? 16), N = Number(process.env.N ?? 64);
const constants = tileConstants(D, device.limits)!;
const T = (w: number) => tf.tensor(Float32Array.from(randomFloats(1, N * w)), [N, w]);
const q = T(D), k = T(D), v = T(D), d_o = T(D), stats = tf.ones([N, 1, 2]);
const bounds = tf.tensor(packedBounds([N]), [N, 2], "int32");
const shape = { heads: 1, kvHeads: 1, headDim: D, scale: 0.1 };
const pass = { constants, shape, rows: N, prefixRows: null };
const time = async (name: string, f: () => any) => {
  for (let n = 0; n < 3; n++) {
    const t = performance.now(), c = process.cpuUsage();
    await readFloats(tf.engine().makeTensorFromTensorInfo(f()) as any);
    const u = process.cpuUsage(c);
    console.log(name, "wall", ((performance.now() - t) / 1000).toFixed(2), "cpu", (u.user / 1e6).toFixed(2));
  }
};
await time("fwd", () => { const o = newTensor([N, D]), softmax = newTensor([N, 1, 2]); runAttentionTiles({ q, k, v, bounds, o, softmax } as any, pass); return o; });
await time("gq", () => { const dq = newTensor([N, D]); runAttentionGradQTiles({ q, k, v, bounds, stats, d_o, dq } as any, pass); return dq; });
await time("gkv", () => { const dk = newTensor([N, D]), dv = newTensor([N, D]); runAttentionGradKvTiles({ q, k, v, bounds, stats, d_o, dk, dv } as any, pass); return dk; });
await closeGpu();
