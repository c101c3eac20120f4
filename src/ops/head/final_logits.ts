/** What some models do with the head's product: divide it (Granite), bound it (Gemma 2). */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { flatGrid } from "../../gpu/grids.ts";
import { emptyTensor } from "../../gpu/tensors.ts";
import { cappedF64 } from "../attention/attention_f64.ts";

/** logits = softcap tanh(x / divisor / softcap), or x / divisor without a softcap, of the head's product x. */
export interface FinalLogits {
  /** Bound of the logits, above 0 (`final_logit_softcapping` of Gemma 2, arXiv:2408.00118); left out: none. */
  softcap?: number;
  /** Above 0 (`logits_scaling` of Granite); left out: 1. */
  divisor?: number;
}

/** @throws RangeError when softcap or divisor is no finite number above 0 */
export function checkFinalLogits({ softcap = 1, divisor = 1 }: FinalLogits): void {
  if ([softcap, divisor].every((value) => value > 0 && value < Infinity)) return;
  throw new RangeError(
    `Cannot make logits with a softcap of ${softcap} and a divisor of ${divisor}: need finite numbers above 0, or none`,
  );
}

/**
 * The logits that a model means, for sampling; no gradient. `lmHeadLogprobs` takes the same options.
 * @param x f32 [N,V]: the head's product
 * @returns f32 [N,V], a new tensor even where nothing is to be done
 * @throws RangeError when softcap or divisor is no finite number above 0
 */
export function finalLogits(x: Tensor, options: FinalLogits): Tensor {
  checkFinalLogits(options);
  const { softcap, divisor = 1 } = options;
  const y = emptyTensor(x.shape);
  const { conditions, count, ...grid } = flatGrid(x.size);
  runKernel({
    kernel: "final_logits",
    ...grid,
    conditions: { ...conditions, SOFTCAP: softcap !== undefined },
    bindings: { x, y },
    params: { count, factor: 1 / divisor, ...(softcap === undefined ? {} : { softcap }) },
  });
  return y;
}

/** Twin of final_logits.wgsl. @returns logits, and the derivative of each by its x */
export function finalLogitsF64(x: ArrayLike<number>, { softcap, divisor = 1 }: FinalLogits) {
  const made = Array.from(x, (value) => cappedF64(value / divisor, softcap));
  return {
    logits: Float64Array.from(made, ({ score }) => score),
    slopes: Float64Array.from(made, ({ slope }) => slope / divisor),
  };
}
