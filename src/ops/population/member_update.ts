/** The step of evolution strategies along low-rank perturbations (EGGROLL, arXiv:2511.16652), in place on the GPU. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { rowShares } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import type { Weight } from "../weight/weight.ts";
import { refreshWeightShift } from "../weight/weight_shift.ts";
import type { MemberFactors } from "./member_factors.ts";
import type { FactorArrays } from "./member_linears.ts";

/**
 * W += scale sum_i c_i A_i B_i^T over all members.
 * @param weight f32 [N,K], changed
 * @param coefficients f32 [members]
 * @param scale alpha / (members sqrt(rank)) for a step of size alpha
 * @throws RangeError when the weight is not f32, or there is not a coefficient for each member
 */
export function memberUpdate(
  weight: Weight,
  { tensor, rank, a, b }: MemberFactors,
  coefficients: Tensor,
  scale: number,
): void {
  const [N, K] = weight.shape;
  const [members, pitch] = tensor.shape as [number, number];
  if (weight.format !== "f32" || coefficients.size !== members) {
    throw new RangeError(
      `Cannot move "${weight.name}" (${weight.format}) by ${members} members with ${coefficients.size} coefficients: ` +
        "need an f32 weight and a coefficient for each member",
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
        coefficients,
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
        scale,
      },
      workgroups,
    });
  }
  refreshWeightShift(weight);
}

/** Twin of member_update.wgsl in f64. @returns the weight after, [N,K] */
export function memberUpdateF64(
  w: ArrayLike<number>,
  coefficients: ArrayLike<number>,
  { values, pitch, rank, a, b }: FactorArrays,
  { N, K, scale }: { N: number; K: number; scale: number },
): Float64Array {
  return Float64Array.from({ length: N * K }, (_, at) => {
    const [n, k] = [Math.floor(at / K), at % K];
    let sum = 0;
    for (let i = 0; i < coefficients.length; i++) {
      for (let r = 0; r < rank; r++) {
        sum += coefficients[i] * values[i * pitch + a + r * N + n] * values[i * pitch + b + r * K + k];
      }
    }
    return w[at] + scale * sum;
  });
}
