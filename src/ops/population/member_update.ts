/** The step of evolution strategies along low-rank perturbations (EGGROLL, arXiv:2511.16652), in place on the GPU. */
import { runKernel } from "../../gpu/dispatch.ts";
import { rowShares } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import type { Weight } from "../weight/weight.ts";
import { refreshWeightShift } from "../weight/weight_shift.ts";
import type { MemberFactors } from "./member_factors.ts";
import type { FactorArrays } from "./member_linears.ts";

/**
 * W += sum_i A_i B_i^T over all members; A_i carries what a member is weighed by.
 * @param weight f32 [N,K], changed
 * @throws RangeError when the weight is not f32
 */
export function memberUpdate(weight: Weight, { tensor, rank, a, b }: MemberFactors): void {
  const [N, K] = weight.shape;
  const [members, pitch] = tensor.shape as [number, number];
  if (weight.format !== "f32") {
    throw new RangeError(
      `Cannot move "${weight.name}" by a population: need weights in f32, found ${weight.format}; set dtype=float32`,
    );
  }
  for (const { first, count } of windowsOf(N, 4 * K)) {
    const { conditions, constants, width, share, workgroups } = rowShares(count, K);
    runKernel({
      kernel: "member_update",
      conditions,
      constants,
      bindings: {
        factors_a: tensor,
        factors_b: tensor,
        w: bindWindow(weight.tensor, 4 * K, { first, count }),
      },
      params: {
        rows: count,
        row: first,
        outputs: N,
        width,
        share,
        members,
        rank,
        pitch,
        a_begin: a,
        b_begin: conditions.VEC4 ? b / 4 : b,
      },
      workgroups,
    });
  }
  refreshWeightShift(weight);
}

/** Twin of member_update.wgsl in f64. @returns the weight after, [N,K] */
export function memberUpdateF64(
  w: ArrayLike<number>,
  { values, pitch, rank, a, b }: FactorArrays,
  { N, K }: { N: number; K: number },
): Float64Array {
  return Float64Array.from({ length: N * K }, (_, at) => {
    const [n, k] = [Math.floor(at / K), at % K];
    let sum = 0;
    for (let member = 0; member < values.length; member += pitch) {
      for (let r = 0; r < rank; r++) {
        sum += values[member + a + r * N + n] * values[member + b + r * K + k];
      }
    }
    return w[at] + sum;
  });
}
