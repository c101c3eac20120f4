/** Linear layer y = x w^T + bias, with the weight stored as in Llama: one row per output. */
import type { Tensor } from "@tensorflow/tfjs";
import { newTensor } from "../gpu/bridge.ts";
import { defineOp } from "../gpu/op.ts";
import { runLinear, runLinearBiasGrad, runLinearInputGrad, runLinearWeightGrad } from "./matmul.ts";
import type { Weight } from "./weight.ts";

interface LinearAttrs {
  weight: Weight;
  bias: Weight | null;
  kind: "many" | "few";
}

const linearOp = defineOp<"x", LinearAttrs>({
  name: "GrpoLinear",
  forward({ x }, { weight, bias, kind }) {
    const rows = x.shape[0];
    const y = newTensor([rows, weight.shape[0]]);
    runLinear({ x: { tensor: x }, weight, bias, y: { tensor: y }, rows, kind });
    return y;
  },
  saves: { inputs: ["x"] },
  gradient(dy, [x], { weight, bias }) {
    return { x: () => linearGradOp({ x, dy: dy as Tensor }, { weight, bias })[0] };
  },
});

const linearGradOp = defineOp<"x" | "dy", { weight: Weight; bias: Weight | null }>({
  name: "GrpoLinearGrad",
  forward({ x, dy }, { weight, bias }) {
    const rows = x.shape[0];
    const dx = newTensor(x.shape);
    runLinearInputGrad({ dy: { tensor: dy }, weight, dx: { tensor: dx }, rows });
    runLinearWeightGrad({ dy: { tensor: dy }, x: { tensor: x }, weight, rows });
    if (bias) runLinearBiasGrad({ dy: { tensor: dy }, bias, rows });
    return dx;
  },
});

export interface LinearOptions {
  /** [N]; its `grad`, when it has one, is added to in backward. */
  bias?: Weight;
  /** "few": decoding, one token a row; picks a kernel that wastes less on a handful of rows. The bits are the same. */
  rows?: "many" | "few";
}

/**
 * y[m,n] = sum_k x[m,k] w[n,k] + bias[n].
 * @param x f32 [M,K]
 * @param weight [N,K]; its `grad`, when it has one, is added to in backward
 * @returns f32 [M,N]
 * @throws RangeError when the shapes do not fit
 */
export function linear(x: Tensor, weight: Weight, options: LinearOptions = {}): Tensor {
  const [N, K] = weight.shape;
  if (x.rank !== 2 || x.shape[1] !== K) {
    throw new RangeError(`Cannot apply "${weight.name}" [${weight.shape}] to [${x.shape}]: need [rows,${K}]`);
  }
  const { bias, rows = "many" } = options;
  if (bias && bias.shape[0] !== N) {
    throw new RangeError(
      `Cannot add bias "${bias.name}" [${bias.shape}] to outputs of "${weight.name}": need [${N}]`,
    );
  }
  return linearOp({ x }, { weight, bias: bias ?? null, kind: rows })[0];
}

/** Twin of matmul_nt.wgsl and linear_few.wgsl in f64. @returns y [M,N] */
export function linearF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  M: number,
  K: number,
  N: number,
): Float64Array {
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k] * w[n * K + k];
      y[m * N + n] = sum + (bias ? bias[n] : 0);
    }
  }
  return y;
}

/** Twin of matmul_nn.wgsl, matmul_tn_acc.wgsl and linear_bias_grad.wgsl in f64. @returns dx [M,K], dw [N,K], db [N] */
export function linearGradF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  dy: ArrayLike<number>,
  M: number,
  K: number,
  N: number,
) {
  const dx = new Float64Array(M * K);
  const dw = new Float64Array(N * K);
  const db = new Float64Array(N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const d = dy[m * N + n];
      db[n] += d;
      for (let k = 0; k < K; k++) {
        dx[m * K + k] += d * w[n * K + k];
        dw[n * K + k] += d * x[m * K + k];
      }
    }
  }
  return { dx, dw, db };
}
