/** What attention is given beside its tensors. */
import type { Tensor } from "@tensorflow/tfjs";

export interface AttentionShape {
  /** Query heads, a multiple of kvHeads: neighbouring heads/kvHeads of them share a key head. */
  heads: number;
  kvHeads: number;
  /** A multiple of 4, at most 256. */
  headDim: number;
  /** Factor of q.k, usually headDim^-0.5. */
  scale: number;
  /** Scores s = scale q.k become softcap tanh(s / softcap) (Gemma 2, arXiv:2408.00118); left out: they stay. */
  softcap?: number;
  /** Tokens that a token sees, itself the last of them: a sliding window, as transformers counts it; left out: all. */
  window?: number;
}

/** Keys of a split, as in lib/softmax_powers.wgsl. */
export const SPLIT_KEYS = 256;

/** Factor of q.k for a softmax by powers of two; a cap stands before that (lib/softmax_powers.wgsl). */
export const powerScale = ({ scale, softcap }: AttentionShape): number =>
  softcap === undefined ? scale * Math.LOG2E : scale;

const MAX_HEAD_DIM = 256;

/**
 * @throws RangeError when heads, scale, softcap or window cannot be, or a tensor [rows, columns] is not as wide as its
 *   heads
 */
export function checkAttentionShape(shape: AttentionShape, widths: Record<string, [Tensor, number]>): void {
  const { heads, kvHeads, headDim, scale, softcap = 1, window = 1 } = shape;
  if (headDim % 4 || headDim < 4 || headDim > MAX_HEAD_DIM || heads % kvHeads) {
    throw new RangeError(
      `Cannot attend with headDim ${headDim}, ${heads} heads and ${kvHeads} key heads: need headDim a multiple of 4 ` +
        `up to ${MAX_HEAD_DIM}, and heads a multiple of key heads`,
    );
  }
  if (!Number.isFinite(scale) || !(softcap > 0 && softcap < Infinity) || !(window >= 1 && window % 1 === 0)) {
    throw new RangeError(
      `Cannot attend with a scale of ${scale}, a softcap of ${shape.softcap} and a window of ${shape.window}: need a ` +
        "finite scale, a finite softcap above 0 or none, and a window of 1 token or more or none",
    );
  }
  for (const [name, [tensor, headCount]] of Object.entries(widths)) {
    const width = tensor.shape[tensor.shape.length - 1];
    if (width !== headCount * headDim) {
      throw new RangeError(
        `Cannot attend to ${name} of shape [${tensor.shape}]: need ${headCount} heads of ${headDim} = ${
          headCount * headDim
        } columns`,
      );
    }
  }
}
