import { factorLayout } from "../../../src/ops/population/member_factors.ts";
import { memberUpdate, memberUpdateF64 } from "../../../src/ops/population/member_update.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

/** The second of two matrices, so that neither of its factors begins a row. */
export function updateCase(N: number, K: number, rank: number, members: number): OpCase {
  const { places, pitch } = factorLayout([[3, 5], [N, K]], rank);
  return {
    name: `member_update ${N}x${K} rank ${rank} of ${members}`,
    inputs: {
      w: uniformWeight(1, [N, K]),
      factors: uniform(2, [members, pitch]),
    },
    run: ({ tensors: { factors }, weights: { w } }) => {
      memberUpdate(w, { tensor: factors, rank, ...places[1] });
      return [w.tensor.clone()];
    },
    twin: ({ w, factors }) => {
      const own = { values: factors, pitch, rank, ...places[1] };
      return [memberUpdateF64(w, own, { N, K })];
    },
    tolerance: 2e-6,
    toleranceReason: "f32 sums over members and ranks",
  };
}

export const cases: OpCase[] = [
  updateCase(1, 1, 1, 1),
  updateCase(7, 12, 2, 3),
  updateCase(64, 64, 1, 30),
  updateCase(5, 33, 3, 4),
  updateCase(515, 8, 1, 2),
  updateCase(33, 33, 1, 2),
  updateCase(3, 1036, 4, 5),
];
