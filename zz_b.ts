import * as tf from "@tensorflow/tfjs";
import { openGpu, closeGpu } from "./src/gpu/device.ts";
import { readFloats } from "./src/gpu/tensors.ts";
import { attention } from "./src/ops/attention/attention.ts";
import { withPlainKernels } from "./src/gpu/trial_modes.ts";
const plain = process.argv[2] === "plain";
await openGpu();
const CASES: [number, number, number, number, number, number][] = [[4, 300, 4, 4, 16, 20], [8,80,4,4,16,60]];
for (const [n, len, H, G, D, reps] of CASES) {
  const N = n * len;
  const mk = (w: number) => tf.randomUniform([N, w], -1, 1);
  const q = mk(H * D), k = mk(G * D), v = mk(G * D);
  const b = new Int32Array(2 * N);
  for (let i = 0; i < N; i++) b.set([i - i % len, i - i % len + len], 2 * i);
  const bounds = tf.tensor(b, [N, 2], "int32");
  const go = async (r: number) => {
    let o;
    for (let i = 0; i < r; i++) {
      const f = () => attention({ q, k, v, bounds }, { heads: H, kvHeads: G, headDim: D, scale: D ** -0.5 });
      const next = plain ? withPlainKernels(f) : f();
      if (o) tf.dispose(o);
      o = next;
    }
    return (await readFloats(o!))[0];
  };
  await go(2);
  const t: number[] = [];
  for (let i = 0; i < 11; i++) {
    const c = process.cpuUsage();
    await go(reps);
    const d = process.cpuUsage(c);
    t.push((d.user + d.system) / reps / 1000);
  }
  t.sort((a, b) => a - b);
  console.log(`${n}x${len} ${H}/${G} of ${D}: cpu ms min ${t[0].toFixed(2)} median ${t[2].toFixed(2)}`);
}
closeGpu();
