/**
 * Log-probabilities of the next tokens straight from hidden states: the lm-head product, softmax and pick in one op.
 *
 * [M,V] logits never exist. Rows go through one scratch buffer of chunkRows rows, and backward computes each chunk's
 * logits again, turns them into their gradient in place, and uses that for both products.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { bindingLimit } from "../../gpu/device_facts.ts";
import { type Binding, byteSize, disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { linearF64, linearGradF64 } from "../linear/linear.ts";
import { runLinear, runLinearGradW, runLinearGradX } from "../linear/dispatch.ts";
import { withHalves } from "../linear/halves.ts";
import { checkFinalLogits } from "./final_logits.ts";
import {
  type LogprobOptions,
  runTokenLogprobs,
  runTokenLogprobsGrad,
  tokenLogprobsF64,
  tokenLogprobsGradF64,
  type WithEntropyGradient,
} from "./token_logprobs.ts";
import type { Weight } from "../weight/weight.ts";

export interface LmHeadOptions extends LogprobOptions {
  /**
   * Rows whose logits exist at a time, at most: fewer where one binding takes no more. A multiple of 64. Changes memory
   * and speed, never a bit of the result.
   */
  chunkRows: number;
}

interface LmHeadAttrs extends LmHeadOptions {
  head: Weight;
}

/** One chunk: its window of a tensor whose first dimension is rows. */
interface Chunk {
  rows: number;
  logits: Binding;
  window(tensor: TensorInfo): Binding;
}

/** Windows of rows begin at multiples of it, so that those of 4 bytes a row are aligned. */
const ROW_STEP = 64;

/** Calls `body` for each chunk of rows in order, with one logits buffer that all of them share. */
function forEachChunk(rows: number, stride: number, mostRows: number, body: (chunk: Chunk) => void): void {
  const bindable = Math.floor(bindingLimit() / (4 * stride * ROW_STEP)) * ROW_STEP;
  const chunkRows = Math.min(mostRows, Math.max(ROW_STEP, bindable));
  const logits = newTensor([Math.min(rows, chunkRows), stride]);
  for (let first = 0; first < rows; first += chunkRows) {
    const count = Math.min(chunkRows, rows - first);
    const window = (tensor: TensorInfo) => {
      const rowBytes = byteSize(tensor) / rows;
      return { tensor, offsetBytes: first * rowBytes, sizeBytes: count * rowBytes };
    };
    body({ rows: count, logits: { tensor: logits }, window });
  }
  disposeInfo(logits);
}

/** Row stride of the scratch logits: V rounded up so that every row begins on 16 bytes. */
const logitsStride = (head: Weight) => Math.ceil(head.shape[0] / 4) * 4;

const lmHeadOp = defineOp<"h" | "tokens", LmHeadAttrs>({
  name: "GrpoLmHeadLogprobs",
  forward({ h, tokens }, { head, chunkRows, ...options }) {
    const M = h.shape[0];
    const stride = logitsStride(head);
    const [logprobs, entropy, logsum] = [newTensor([M]), newTensor([M]), newTensor([M])];
    forEachChunk(M, stride, chunkRows, ({ rows, logits, window }) => {
      runLinear({ x: window(h), weight: head, y: logits, rows, stride });
      runTokenLogprobs({
        logits,
        tokens: window(tokens),
        logprobs: window(logprobs),
        entropy: window(entropy),
        logsum: window(logsum),
        rows,
        columns: head.shape[0],
        stride,
        ...options,
      });
    });
    return [logprobs, entropy, logsum];
  },
  saves: { inputs: ["h", "tokens"], outputs: [false, true, true] },
  gradient(dys, [h, tokens, entropy, logsum], attrs) {
    const [dlogprobs, dentropy] = dys as Tensor[];
    const ofEntropy = attrs.differentiatesEntropy ? { entropy, dentropy } : null;
    return { h: () => lmHeadGradOp({ h, tokens, logsum, dlogprobs }, { ...attrs, ofEntropy })[0] };
  },
});

const lmHeadGradOp = defineOp<
  "h" | "tokens" | "logsum" | "dlogprobs",
  LmHeadAttrs & WithEntropyGradient
>({
  name: "GrpoLmHeadLogprobsGrad",
  forward({ h, tokens, logsum, dlogprobs }, { head, chunkRows, ofEntropy, ...options }) {
    const M = h.shape[0];
    const stride = logitsStride(head);
    const dh = newTensor(h.shape);
    forEachChunk(M, stride, chunkRows, ({ rows, logits, window }) => {
      runLinear({ x: window(h), weight: head, y: logits, rows, stride });
      runTokenLogprobsGrad({
        logits,
        tokens: window(tokens),
        logsum: window(logsum),
        dlogprobs: window(dlogprobs),
        ofEntropy: ofEntropy && {
          entropy: window(ofEntropy.entropy),
          dentropy: window(ofEntropy.dentropy),
        },
        rows,
        columns: head.shape[0],
        stride,
        ...options,
      });
      withHalves({ matrix: logits, rows, width: head.shape[0], stride }, (halves) => {
        runLinearGradX({ dy: logits, weight: head, dx: window(dh), rows, stride, halves });
        runLinearGradW({ dy: logits, x: window(h), weight: head, rows, stride, dyHalves: halves });
      });
    });
    return dh;
  },
});

/**
 * tokenLogprobs(h W^T, tokens, options) without the logits.
 * @param h f32 [M,D], final hidden states
 * @param head [V,D]; its `grad`, when it has one, is added to in backward (a tied head is the embedding's Weight)
 * @param tokens i32 [M], the token that follows each row, or -1 = padding -> 0
 * @returns logprobs f32 [M] and entropy f32 [M], in nats; the second has a gradient only where the options say so
 * @throws RangeError when the shapes do not fit, chunkRows is no multiple of 64, or softcap or divisor is no finite
 *   number above 0
 */
export function lmHeadLogprobs(
  h: Tensor,
  head: Weight,
  tokens: Tensor,
  options: LmHeadOptions,
): [Tensor, Tensor] {
  const { temperature, chunkRows, softcap, divisor, differentiatesEntropy } = options;
  checkFinalLogits(options);
  if (h.rank !== 2 || h.shape[1] !== head.shape[1] || tokens.size !== h.shape[0]) {
    throw new RangeError(
      `Cannot apply "${head.name}" [${head.shape}] to [${h.shape}] and ${tokens.size} tokens: ` +
        `need [M,${head.shape[1]}] and M tokens`,
    );
  }
  if (!(chunkRows >= ROW_STEP) || chunkRows % ROW_STEP !== 0) {
    throw new RangeError(
      `Cannot work in chunks of ${chunkRows} rows: need a positive multiple of ${ROW_STEP}, so that windows are ` +
        "aligned",
    );
  }
  const attrs = { head, differentiatesEntropy, temperature, chunkRows, softcap, divisor };
  const [logprobs, entropy] = lmHeadOp({ h, tokens }, attrs);
  return [logprobs, entropy];
}

interface LmHeadSizes extends LogprobOptions {
  M: number;
  D: number;
  V: number;
}

/** Twin of the op in f64. @returns logprobs, entropy and logsum, each [M] */
export function lmHeadLogprobsF64(
  h: ArrayLike<number>,
  head: ArrayLike<number>,
  tokens: ArrayLike<number>,
  { M, D, V, ...options }: LmHeadSizes,
) {
  return tokenLogprobsF64(linearF64(h, head, { M, K: D, N: V }), tokens, V, options);
}

/** Twin of the op's gradient in f64. @returns dh [M,D] and dhead [V,D] */
export function lmHeadLogprobsGradF64(
  h: ArrayLike<number>,
  head: ArrayLike<number>,
  tokens: ArrayLike<number>,
  gradients: { dlogprobs: ArrayLike<number>; dentropy?: ArrayLike<number> | null },
  { M, D, V, ...options }: LmHeadSizes,
) {
  const dlogits = tokenLogprobsGradF64(
    linearF64(h, head, { M, K: D, N: V }),
    tokens,
    gradients,
    V,
    options,
  );
  const { dx, dw } = linearGradF64(h, head, dlogits, { M, K: D, N: V });
  return { dh: dx, dhead: dw };
}
