/** Token embedding, and the root of the tape. */
import type { Tensor } from "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { suitsTiles } from "../../gpu/device_facts.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { foldGrid, inVec4s, rowShares } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "../weight/weight.ts";

const embeddingOp = defineOp<"root" | "table" | "ids", { weight: Weight }>({
  name: "GrpoEmbedding",
  forward({ table, ids }, { weight }) {
    const [tokens] = ids.shape;
    const [vocab, width] = weight.shape;
    const rowBytes = bytesOf(weight.format, width);
    const y = newTensor([tokens, width]);
    const { conditions, constants, workgroups, ...shares } = rowShares(tokens, width);
    for (const window of windowsOf(vocab, rowBytes)) {
      runKernel({
        kernel: "embedding",
        conditions,
        constants: { ...constants, FORMAT: FORMAT_CODE[weight.format] },
        bindings: { table: bindWindow(table, rowBytes, window), ids, y },
        params: { tokens, first: window.first, rows: window.count, ...shares },
        workgroups,
      });
    }
    return y;
  },
  saves: { inputs: ["ids"] },
  gradient(dy, [ids], { weight }) {
    return {
      root: () => {
        if (weight.grad) addEmbeddingGrad(ids, dy as Tensor, weight.grad);
        return tf.scalar(0);
      },
    };
  },
});

/** Lanes of a workgroup that adds to a row of a GPU's, each a value or vec4. */
const rowLanes = (width: number) => Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(width))));

/** All kernels give the same bits. */
function addEmbeddingGrad(ids: Tensor, dy: Tensor, grad: Tensor): void {
  const [tokens, columns] = dy.shape as [number, number];
  const rowBytes = bytesOf("f32", columns);
  const { conditions, count: width } = inVec4s(columns);
  const byRows = suitsTiles();
  const WG = byRows ? rowLanes(width) : 8;
  const slices = Math.ceil(width / WG);
  for (const window of windowsOf(grad.shape[0], rowBytes)) {
    runKernel({
      kernel: byRows ? "embedding_grad_rows" : "embedding_grad",
      conditions,
      constants: { WG },
      bindings: { ids, dy, dtable: bindWindow(grad, rowBytes, window) },
      params: { tokens, width, first: window.first, rows: window.count, ...(byRows ? { slices } : {}) },
      workgroups: foldGrid(byRows ? tokens * slices : slices),
    });
  }
}

/**
 * y[n] = table[ids[n]].
 *
 * The weights are no inputs of the tape (their gradients accumulate in place), so the tape needs one input that
 * the whole model depends on: `root`, a scalar whose value is never read and whose gradient is 0.
 * @param ids i32 [N], each in [0, V)
 * @param table [V,D], any format
 * @returns f32 [N,D]
 */
export function embedding(root: Tensor, ids: Tensor, table: Weight): Tensor {
  return embeddingOp({ root, table: table.tensor, ids }, { weight: table })[0];
}

/** Twin of embedding.wgsl. */
export function embeddingF64(table: ArrayLike<number>, ids: ArrayLike<number>, width: number): Float64Array {
  return Float64Array.from(
    { length: ids.length * width },
    (_, i) => table[ids[Math.floor(i / width)] * width + i % width],
  );
}

/** Twin of embedding_grad.wgsl and embedding_grad_rows.wgsl, from zero. @returns [V,D] */
export function embeddingGradF64(
  ids: ArrayLike<number>,
  dy: ArrayLike<number>,
  vocab: number,
  width: number,
): Float64Array {
  const grad = new Float64Array(vocab * width);
  for (let i = 0; i < ids.length * width; i++) grad[ids[Math.floor(i / width)] * width + i % width] += dy[i];
  return grad;
}
