/** Linear layer y = x w^T + bias, with the weight stored as in Llama: one row per output. */
import type { Tensor } from "@tensorflow/tfjs";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { runLinear, runLinearGradBias, runLinearGradW, runLinearGradX } from "./dispatch.ts";
import { withHalves } from "./halves.ts";
import type { Weight } from "../weight/weight.ts";
import type { LayerSizes, RowCount } from "./choice.ts";

export type { RowCount };

interface LinearsAttrs {
  weights: readonly Weight[];
  biases: readonly (Weight | null)[];
  rowCount: RowCount;
}

/** Names of the gradients of the outputs, one for each weight. */
type OutputGrad = `dy${number}`;

const linearsOp = defineOp<"x", LinearsAttrs>({
  name: "GrpoLinear",
  forward({ x }, { weights, biases, rowCount }) {
    const [rows, width] = x.shape;
    return withHalves({ matrix: { tensor: x }, rows, width }, (halves) =>
      weights.map((weight, i) => {
        const y = newTensor([rows, weight.shape[0]]);
        runLinear({ x: { tensor: x }, weight, bias: biases[i], y: { tensor: y }, rows, rowCount, halves });
        return y;
      }));
  },
  saves: { inputs: ["x"] },
  gradient(dy, [x], attrs) {
    const dys = [dy].flat().map((each, i) => [`dy${i}`, each] as const);
    return { x: () => linearsGradOp({ x, ...Object.fromEntries(dys) }, attrs)[0] };
  },
});

const linearsGradOp = defineOp<"x" | OutputGrad, LinearsAttrs>({
  name: "GrpoLinearGrad",
  forward(inputs, { weights, biases }) {
    const x = { tensor: inputs.x };
    const [rows, width] = inputs.x.shape;
    const dx = newTensor(inputs.x.shape);
    withHalves({ matrix: x, rows, width }, (xHalves) =>
      weights.forEach((weight, i) => {
        const dy = { tensor: inputs[`dy${i}`] };
        const bias = biases[i];
        withHalves({ matrix: dy, rows, width: weight.shape[0] }, (halves) => {
          runLinearGradX({ dy, weight, dx: { tensor: dx }, rows, adds: i > 0, halves });
          runLinearGradW({ dy, x, weight, rows, dyHalves: halves, xHalves });
        });
        if (bias) runLinearGradBias({ dy, bias, rows });
      }));
    return dx;
  },
});

interface LinearAttrs {
  weight: Weight;
  bias: Weight | null;
  rowCount: RowCount;
}

const residualOp = defineOp<"x" | "residual", LinearAttrs>({
  name: "GrpoLinearResidual",
  forward({ x, residual }, { weight, bias, rowCount }) {
    const rows = x.shape[0];
    const y = newTensor(residual.shape);
    const bindings = { x: { tensor: x }, residual: { tensor: residual }, y: { tensor: y } };
    runLinear({ ...bindings, weight, bias, rows, rowCount });
    return y;
  },
  saves: { inputs: ["x"] },
  gradient(dy, [x], { weight, bias, rowCount }) {
    const attrs = { weights: [weight], biases: [bias], rowCount };
    return {
      x: () => linearsGradOp({ x, dy0: dy as Tensor }, attrs)[0],
      residual: () => (dy as Tensor).clone(),
    };
  },
});

export interface LinearOptions {
  /** [N]; its `grad`, when it has one, is added to in backward. */
  bias?: Weight;
  /** f32 [M,N], added to the output as a tensor that the tape differentiates too. */
  residual?: Tensor;
  /** "many" unless given. */
  rows?: RowCount;
}

export interface LinearsOptions {
  /** Of each weight, undefined where it has none. */
  biases?: readonly (Weight | undefined)[];
  /** "many" unless given. */
  rows?: RowCount;
}

/** @throws RangeError when x, weight and bias do not fit each other */
export function assertFits(x: Tensor, weight: Weight, bias?: Weight): void {
  const [N, K] = weight.shape;
  if (x.rank !== 2 || x.shape[1] !== K) {
    throw new RangeError(`Cannot apply "${weight.name}" [${weight.shape}] to [${x.shape}]: need [rows,${K}]`);
  }
  if (bias && bias.shape[0] !== N) {
    throw new RangeError(
      `Cannot add bias "${bias.name}" [${bias.shape}] to outputs of "${weight.name}": need [${N}]`,
    );
  }
}

/** @throws RangeError when the residual is not of the output's shape */
export function assertResidualFits(x: Tensor, weight: Weight, residual: Tensor): void {
  if (residual.rank !== 2 || residual.shape[0] !== x.shape[0] || residual.shape[1] !== weight.shape[0]) {
    throw new RangeError(
      `Cannot add a residual [${residual.shape}] to outputs of "${weight.name}": need [${x.shape[0]},${
        weight.shape[0]
      }]`,
    );
  }
}

/**
 * y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n], with the bits of `add(residual, linear(x, weight, {bias}))`.
 * @param x f32 [M,K]
 * @param weight [N,K]; its `grad`, when it has one, is added to in backward
 * @returns f32 [M,N]
 * @throws RangeError when the shapes do not fit
 */
export function linear(x: Tensor, weight: Weight, options: LinearOptions = {}): Tensor {
  const { bias, residual, rows } = options;
  if (!residual) return linears(x, [weight], { biases: [bias], rows })[0];
  assertFits(x, weight, bias);
  assertResidualFits(x, weight, residual);
  return residualOp({ x, residual }, { weight, bias: bias ?? null, rowCount: rows ?? "many" })[0];
}

/**
 * Several linear layers of one x, as queries, keys and values are: y_i = x w_i^T + bias_i, with the bits of `linear`.
 * Backward makes one dx: its chain over the outputs goes on from weight to weight, in their order, where separate
 * layers would each make a dx that the tape then adds.
 * @param x f32 [M,K]
 * @param weights [N_i,K]; the `grad` of each, when it has one, is added to in backward
 * @returns f32 [M,N_i], one for each weight
 * @throws RangeError when the shapes do not fit
 */
export function linears(x: Tensor, weights: readonly Weight[], options: LinearsOptions = {}): Tensor[] {
  const { biases = [], rows = "many" } = options;
  if (weights.length === 0 || biases.length > weights.length) {
    throw new RangeError(
      `Cannot apply ${weights.length} weights with ${biases.length} biases: ` +
        "need a weight, and no more biases than weights",
    );
  }
  weights.forEach((weight, i) => assertFits(x, weight, biases[i]));
  return linearsOp({ x }, { weights, biases: weights.map((_, i) => biases[i] ?? null), rowCount: rows });
}

/** What a twin adds: bias [N] and residual [M,N]. */
interface AddendArrays {
  bias?: ArrayLike<number>;
  residual?: ArrayLike<number>;
}

/** Twin of linear.wgsl and linear_few.wgsl in f64. @returns y [M,N] */
export function linearF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  { M, K, N, bias, residual }: LayerSizes & AddendArrays,
): Float64Array {
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k] * w[n * K + k];
      y[m * N + n] = sum + (bias ? bias[n] : 0) + (residual ? residual[m * N + n] : 0);
    }
  }
  return y;
}

/**
 * Twin of linear_grad_x.wgsl, linear_grad_w.wgsl and linear_grad_bias.wgsl in f64.
 * @returns dx [M,K], dw [N,K], db [N]
 */
export function linearGradF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  dy: ArrayLike<number>,
  { M, K, N }: LayerSizes,
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
