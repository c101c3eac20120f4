/** The first half of Llama's MLP with adapters: silu(gate(x)) up(x). */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { isTapeOn } from "../../gpu/op.ts";
import { swiglu } from "../elementwise/swiglu.ts";
import { adaptedLinears } from "./adapted.ts";
import type { AdaptedLayer } from "./adapted_layer.ts";
import type { RowCount } from "./choice.ts";
import { fewLayers } from "./few_layers.ts";
import { swigluLinear } from "./swiglu_linear.ts";

/**
 * silu(gate(x)) up(x), with the bits of `swiglu` of the two layers; in fewer kernels where nothing of them is needed
 * later.
 * @param x f32 [M,K]
 * @returns f32 [M,N]
 * @throws RangeError when the shapes do not fit
 */
export function adaptedSwiglu(
  x: Tensor,
  gate: AdaptedLayer,
  up: AdaptedLayer,
  rows: RowCount = "many",
): Tensor {
  const few = fewLayers(x, [gate, up], { rows, isGated: true });
  if (few) return few[0];
  const isPlain = [gate, up].every(({ bias, adapter }) => !bias && !adapter);
  if (isPlain && !isTapeOn()) return swigluLinear(x, gate.weight, up.weight, { rows });
  return tf.tidy(() => {
    const [gates, ups] = adaptedLinears(x, [gate, up], { rows });
    return swiglu(gates, ups);
  });
}
