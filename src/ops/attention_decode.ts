/** Attention of the newest token of each completion, over the shared prompts and the completions' caches. */
import type { Tensor } from "@tensorflow/tfjs";
import { emptyTensor, f32, foldGrid, runKernel, u32 } from "../gpu/bridge.ts";
import { type AttentionShape, checkAttentionShape } from "./attention.ts";

const WG = 32; // at least headDim / 4

/** Keys and values that a new token sees. Completions of one prompt share its rows instead of copying them. */
export interface DecodeContext {
  /** f32 [P, kvHeads*headDim]: all prompts, end to end. */
  kPrompt: Tensor;
  vPrompt: Tensor;
  /** i32 [R,2]: half-open row range of each completion's prompt; may be empty. */
  promptBounds: Tensor;
  /** f32 [R, T, kvHeads*headDim]: the completions. */
  kCache: Tensor;
  vCache: Tensor;
  /** i32 [1]: slots 0..position of the caches are filled; the last of them is the new token's own. */
  position: Tensor;
}

/**
 * o[r] = softmax_t(scale q[r].k[t]) v[t] over the row's prompt, then its cache. No gradient.
 * All lengths are read on the GPU, so a recorded plan can replay it while they change.
 * @param q f32 [R, heads*headDim]
 * @returns f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function attentionDecode(q: Tensor, context: DecodeContext, shape: AttentionShape): Tensor {
  const { kPrompt, vPrompt, promptBounds, kCache, vCache, position } = context;
  const { heads, kvHeads, headDim, scale } = shape;
  const keys = { kPrompt, vPrompt, kCache, vCache };
  checkAttentionShape(shape, {
    q: [q, heads],
    ...Object.fromEntries(Object.entries(keys).map(([name, tensor]) => [name, [tensor, kvHeads]])),
  });
  const rows = q.shape[0];
  const slots = kCache.shape[1] ?? 0;
  if (kCache.shape[0] !== rows || promptBounds.size !== 2 * rows || kCache.size !== vCache.size) {
    throw new RangeError(
      `Cannot decode ${rows} rows with promptBounds [${promptBounds.shape}], kCache [${kCache.shape}] and vCache ` +
        `[${vCache.shape}]: need one range and one cache row for each`,
    );
  }
  const o = emptyTensor([rows, heads * headDim]);
  const inputs = [q, kPrompt, vPrompt, promptBounds, kCache, vCache, position];
  runKernel({
    kernel: "attention_decode",
    constants: { WG },
    bindings: [...inputs.map((tensor) => ({ tensor })), { tensor: o, written: true }],
    params: [u32(rows), u32(heads), u32(kvHeads), u32(slots), f32(scale), u32(headDim / 4)],
    workgroups: foldGrid(rows * heads),
  });
  return o;
}

type Values = ArrayLike<number>;

/** Twin of attention_decode.wgsl in f64. @returns o [R, heads*headDim] */
export function attentionDecodeF64(
  q: Values,
  context: Record<keyof DecodeContext, Values>,
  slots: number,
  shape: AttentionShape,
): Float64Array {
  const { heads, kvHeads, headDim, scale } = shape;
  const o = new Float64Array(q.length);
  for (let slot = 0; slot < q.length / headDim; slot++) {
    const row = Math.floor(slot / heads);
    const kvHead = Math.floor((slot % heads) / (heads / kvHeads));
    const offset = (tokenRow: number) => (tokenRow * kvHeads + kvHead) * headDim;
    const seen: { k: Values; v: Values; base: number; score: number }[] = [];
    const see = (k: Values, v: Values, base: number) => {
      let dot = 0;
      for (let c = 0; c < headDim; c++) dot += q[slot * headDim + c] * k[base + c];
      seen.push({ k, v, base, score: scale * dot });
    };
    for (let t = context.promptBounds[2 * row]; t < context.promptBounds[2 * row + 1]; t++) {
      see(context.kPrompt, context.vPrompt, offset(t));
    }
    for (let t = 0; t <= context.position[0]; t++) {
      see(context.kCache, context.vCache, offset(row * slots + t));
    }
    const most = seen.reduce((m, { score }) => Math.max(m, score), -Infinity);
    const total = seen.reduce((sum, { score }) => sum + Math.exp(score - most), 0);
    for (const { v, base, score } of seen) {
      for (let c = 0; c < headDim; c++) o[slot * headDim + c] += Math.exp(score - most) / total * v[base + c];
    }
  }
  return o;
}
