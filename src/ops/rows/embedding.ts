/** Token embedding, and the root of the tape. */
import type { Tensor } from "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs";
import { runKernel, u32 } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { foldGrid, rowShares } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "../weight/weight.ts";

const embeddingOp = defineOp<"root" | "table" | "ids", { weight: Weight }>({
  name: "GrpoEmbedding",
  forward({ table, ids }, { weight }) {
    const [tokens] = ids.shape;
    const [vocab, width] = weight.shape;
    const rowBytes = bytesOf(weight.format, width);
    const y = newTensor([tokens, width]);
    const isVec4 = width % 4 === 0;
    const { share, constants, workgroups } = rowShares(tokens, width / 4);
    const FORMAT = FORMAT_CODE[weight.format];
    for (const { first, count } of windowsOf(vocab, rowBytes)) {
      runKernel({
        kernel: isVec4 ? "embedding_vec4" : "embedding",
        constants: isVec4 ? { ...constants, FORMAT } : { FORMAT },
        bindings: [bindWindow(table, rowBytes, { first, count }), { tensor: ids }, {
          tensor: y,
          written: true,
        }],
        params: (isVec4 ? [tokens, width / 4, first, count, share] : [tokens, width, first, count]).map(u32),
        workgroups: isVec4 ? workgroups : foldGrid(Math.ceil(tokens * width / 256)),
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

function addEmbeddingGrad(ids: Tensor, dy: Tensor, grad: Tensor): void {
  const [tokens, width] = dy.shape;
  const rowBytes = bytesOf("f32", width);
  const isVec4 = width % 4 === 0;
  const columns = isVec4 ? width / 4 : width;
  for (const window of windowsOf(grad.shape[0], rowBytes)) {
    runKernel({
      kernel: isVec4 ? "embedding_grad_vec4" : "embedding_grad",
      bindings: [{ tensor: ids }, { tensor: dy }, { ...bindWindow(grad, rowBytes, window), written: true }],
      params: [tokens, columns, window.first, window.count].map(u32),
      workgroups: [Math.ceil(columns / 8), 1, 1],
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

/** Twin of embedding_grad.wgsl, from zero. @returns [V,D] */
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
