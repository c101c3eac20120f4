import { factorLayout } from "../../../src/ops/population/member_factors.ts";
import { addMemberParts, memberLinearF64 } from "../../../src/ops/population/member_linears.ts";
import { type OpCase, uniform } from "../case.ts";

/** Layers of one x, some of which may be perturbed; rows take the members in turn, every fifth none. */
function memberCase(
  M: number,
  K: number,
  widths: number[],
  { rank, members, isPerturbed = widths.map(() => true) }: {
    rank: number;
    members: number;
    isPerturbed?: boolean[];
  },
): OpCase {
  const { places, pitch } = factorLayout(widths.map((N) => [N, K]), rank);
  const inputs: OpCase["inputs"] = {
    x: uniform(1, [M, K]),
    factors: uniform(2, [members, pitch]),
    members: {
      shape: [M],
      values: Int32Array.from({ length: M }, (_, m) => m % 5 === 4 ? -1 : (7 * m + 3) % members),
    },
  };
  widths.forEach((N, i) => inputs[`y${i}`] = uniform(10 + i, [M, N]));
  return {
    name: `member_linears ${M}x${K}x(${widths}) rank ${rank} of ${members}${
      isPerturbed.includes(false) ? ` perturbed ${isPerturbed.map(Number)}` : ""
    }`,
    inputs,
    run: ({ tensors: { x, factors, members, ...ys } }) => {
      const made = widths.map((_, i) => ys[`y${i}`]);
      const own = places.map((place, i) => isPerturbed[i] ? { tensor: factors, rank, ...place } : undefined);
      addMemberParts(x, made, own, members);
      return made.map((y) => y.clone());
    },
    twin: ({ x, factors, members, ...ys }) =>
      widths.map((N, i) => {
        const y = ys[`y${i}`];
        const own = { values: factors, pitch, rank, ...places[i] };
        return isPerturbed[i] ? memberLinearF64({ x, y, members }, own, { M, N, K }) : y;
      }),
    tolerance: 1e-5,
    toleranceReason: "f32 sums over the width and the ranks",
  };
}

export const cases: OpCase[] = [
  memberCase(1, 1, [1], { rank: 1, members: 1 }),
  memberCase(9, 12, [8, 4, 4], { rank: 1, members: 3 }),
  memberCase(7, 35, [6, 5], { rank: 2, members: 4 }),
  memberCase(33, 64, [64, 20, 20], { rank: 4, members: 5 }),
  memberCase(70, 256, [17], { rank: 3, members: 2 }),
  memberCase(19, 257, [20], { rank: 1, members: 30 }),
  memberCase(5, 516, [24, 13, 9, 8], { rank: 5, members: 3 }),
  memberCase(260, 40, [36, 1036], { rank: 1, members: 7 }),
  memberCase(26, 300, [8, 9], { rank: 3, members: 2 }),
  memberCase(26, 301, [7, 8], { rank: 3, members: 2 }),
  memberCase(6, 40, [24, 12, 8], { rank: 2, members: 3, isPerturbed: [true, false, true] }),
];
