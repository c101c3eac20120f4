import * as tf from "@tensorflow/tfjs";
import { randomFloats } from "./test/cases/case.ts";
import { packedBounds, prefixRanges } from "./test/cases/attention/attention.ts";
import { openGpu, closeGpu } from "./src/gpu/device.ts";
import { withGpuLanes, withPlainKernels } from "./src/gpu/trial_modes.ts";
import { attention, type AttentionShape } from "./src/ops/attention/attention.ts";
import { attentionF64, attentionGradF64 } from "./src/ops/attention/attention_f64.ts";
import { readFloats } from "./src/gpu/tensors.ts";
await openGpu();
const pairs = (v: Int32Array) => tf.tensor(v, [v.length / 2, 2], "int32");
async function go(name: string, shape: AttentionShape, prompts: number[] | null, completions: number[][], spare = 0) {
  const bounds = packedBounds(completions.flat(), spare);
  const N = bounds.length / 2;
  const { heads, kvHeads, headDim } = shape;
  const mk = (s: number, n: number, w: number) => Float32Array.from(randomFloats(s, n * w, 2));
  const q = mk(1, N, heads * headDim), k = mk(2, N, kvHeads * headDim), v = mk(3, N, kvHeads * headDim), dy = mk(4, N, heads * headDim);
  const P = prompts ? prompts.reduce((a, b) => a + b, 0) : 0;
  const pk = mk(5, P, kvHeads * headDim), pv = mk(6, P, kvHeads * headDim);
  const r = prompts ? prefixRanges(prompts, completions, spare) : null;
  const run = async (choose: any) => {
    const T = (a: Float32Array, w: number) => tf.tensor(a, [a.length / w, w]);
    const [tq, tk, tv, tdy] = [T(q, heads * headDim), T(k, kvHeads * headDim), T(v, kvHeads * headDim), T(dy, heads * headDim)];
    const dk = tf.zeros([P, kvHeads * headDim]), dv = tf.zeros([P, kvHeads * headDim]);
    const prefix = r ? { k: T(pk, kvHeads * headDim), v: T(pv, kvHeads * headDim), ranges: pairs(r.ranges), readers: pairs(r.readers), dk, dv } : null;
    const b = pairs(bounds);
    const { value, grads } = choose(() => tf.engine().gradients(() => attention({ q: tq, k: tk, v: tv, bounds: b, prefix } as any, shape), [tq, tk, tv], tdy, false)) as any;
    return await Promise.all([value, ...grads, ...(r ? [dk, dv] : [])].map((t: any) => readFloats(t)));
  };
  const t0 = Date.now();
  const tile = await run(withGpuLanes);
  const t1 = Date.now();
  const plain = await run(withPlainKernels);
  const t2 = Date.now();
  const arrays: any = { q, k, v, bounds, prefix: r ? { k: pk, v: pv, ranges: r.ranges } : undefined };
  const o = attentionF64(arrays, shape); const g = attentionGradF64(arrays, dy, shape);
  const want = [o, g.q, g.k, g.v, ...(r ? [g.prefixK, g.prefixV] : [])];
  const err = (a: any, b: any) => { let m = 0, s = 0; for (let i = 0; i < b.length; i++) { const d = Math.abs(a[i] - b[i]); if (!(d <= m)) m = d; s = Math.max(s, Math.abs(b[i])); } return (m / s).toExponential(1); };
  const same = (a: any, b: any) => { let n = 0; for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) n++; return n; };
  console.log(name, "tile", tile.map((a: any, i: number) => err(a, want[i])).join(" "), "plain", plain.map((a: any, i: number) => err(a, want[i])).join(" "), "differ", tile.map((a: any, i: number) => same(a, plain[i])).join(" "), `ms ${t1 - t0} ${t2 - t1}`);
}
const S = (heads: number, kvHeads: number, headDim: number, more = {}) => ({ heads, kvHeads, headDim, scale: headDim ** -0.5, ...more });
const only = process.env.CASES?.split(",").map(Number);
const list: [string, AttentionShape, number[] | null, number[][], number?][] = [
  ["one", S(1, 1, 16), null, [[1]]],
  ["64", S(2, 1, 64), null, [[64]]],
  ["65 63", S(2, 2, 32), null, [[65, 63, 3]], 2],
  ["130 several", S(4, 2, 80, { softcap: 2 }), null, [[5, 1, 60, 20, 44]], 3],
  ["prefix 127", S(4, 2, 128), [127], [[30, 70]]],
  ["prefixes", S(4, 2, 16, { window: 7, softcap: 2 }), [13, 0, 6, 9, 2], [[5, 1, 17], [4, 9], [3], [], [8]], 3],
  ["prefixes w19", S(6, 2, 20, { window: 19 }), [13, 6, 21], [[5, 1, 17], [4], [9, 30]]],
  ["520", S(1, 1, 24), null, [[520]]],
  ["300 after 256", S(1, 1, 16), [256, 250], [[7, 300], [20, 300]]],
  ["256 wide", S(2, 1, 256, { window: 40 }), [33], [[11, 70]]],
  ["96", S(3, 1, 96), null, [[100, 20]]],
  ["160", S(1, 1, 160), null, [[70]]],
];
for (const [i, c] of list.entries()) if (!only || only.includes(i)) await go(...c);
await closeGpu();
