/**
 * Decoding's way through the linear layers of one input, on matrix units and without a tape: what all need of x is made
 * in one dispatch, and all outputs, with what adapters add, in another. The bits of the layers one by one.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { defineOp, isTapeOn } from "../../gpu/op.ts";
import { matmulPrecision } from "../../gpu/precision.ts";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { type AdaptedLayer, adaptersOf } from "./adapted_layer.ts";
import { type RowCount, valuesPerLoad } from "./choice.ts";
import { openFacts } from "./facts.ts";
import { fitsFewMatrix, runLinearFewMatrix } from "./few_matrix.ts";
import { fewMatrixTile } from "./few_matrix_tiles.ts";
import { disposeHalves, makeHalves } from "./halves.ts";
import { runHalvesShrink } from "./lora_shrink.ts";

interface FewAttrs {
  layers: readonly AdaptedLayer[];
  /** silu of the first layer times the second. */
  isGated: boolean;
}

function runFewLayers(x: TensorInfo, residual: TensorInfo | undefined, { layers, isGated }: FewAttrs) {
  const [rows, width] = x.shape;
  const matrices = adaptersOf(layers).map(({ a }) => a);
  const made = matrices.length > 0
    ? runHalvesShrink(x, matrices)
    : { halves: makeHalves({ matrix: { tensor: x }, rows, width }), parts: undefined };
  const outputs = (isGated ? layers.slice(0, 1) : layers).map(({ weight }) =>
    newTensor([rows, weight.shape[0]])
  );
  runLinearFewMatrix({
    ...made,
    rows,
    layers,
    isGated,
    low: made.parts,
    outputs: outputs.map((tensor) => ({ tensor })),
    residual: residual && { tensor: residual },
  });
  disposeHalves(made.halves);
  if (made.parts) disposeInfo(made.parts.tensor);
  return outputs;
}

const fewLayersOp = defineOp<"x" | "residual", FewAttrs>({
  name: "GrpoFewLayers",
  forward: ({ x, residual }, attrs) => runFewLayers(x, residual, attrs),
  gradient() {
    throw new Error(
      "Cannot differentiate the layers of few rows: they keep nothing; use them without a tape",
    );
  },
});

export interface FewLayersOptions {
  residual?: Tensor;
  rows?: RowCount;
  isGated?: boolean;
}

/** The outputs of the layers, or their gated product; undefined where this is not the way to make them. */
export function fewLayers(
  x: Tensor,
  layers: readonly AdaptedLayer[],
  { residual, rows, isGated = false }: FewLayersOptions,
): Tensor[] | undefined {
  if (rows !== "few" || isTapeOn() || matmulPrecision() !== "float16") return undefined;
  const columns = layers.reduce((sum, { weight }) => sum + weight.shape[0], 0);
  const [{ weight: { format, shape: [, width] } }] = layers;
  const matrices = adaptersOf(layers).map(({ a }) => a);
  const isTaken = fewMatrixTile({ rows: x.shape[0], columns }, openFacts) !== undefined &&
    [format, ...matrices.map((a) => a.format)].every((each) => width % valuesPerLoad(each) === 0) &&
    matrices.every((a) => a.format === matrices[0].format) && fitsFewMatrix(layers, isGated);
  if (!isTaken) return undefined;
  const inputs = (residual ? { x, residual } : { x }) as Record<"x" | "residual", Tensor>;
  return fewLayersOp(inputs, { layers, isGated });
}
