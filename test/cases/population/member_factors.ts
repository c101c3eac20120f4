import { uploadTerms } from "../../../src/ops/noise/add_noise.ts";
import { factorLayout, makeFactors, memberFactorsF64 } from "../../../src/ops/population/member_factors.ts";
import { type OpCase, uniform } from "../case.ts";

function factorsCase(shapes: number[][], rank: number, members: number): OpCase {
  const layout = factorLayout(shapes, rank);
  const terms = Array.from({ length: members }, (_, i) => ({
    seed: Math.imul(i + 1, 0x9e3779b1) >>> 0,
    coefficient: i % 2 === 0 ? 0.125 : -1.5,
  }));
  const layer = members % 3;
  return {
    name: `member_factors of (${shapes.map((shape) => shape.join("x"))}) rank ${rank} of ${members}`,
    inputs: { factors: uniform(1, [members, layout.pitch]) },
    run: ({ tensors: { factors } }) => {
      const uploaded = uploadTerms(terms);
      makeFactors(factors, uploaded, layout, layer);
      uploaded.dispose();
      return [factors.clone()];
    },
    twin: () => [memberFactorsF64(terms, layout, layer)],
    tolerance: 2e-6,
    toleranceReason: "logarithm, sine and cosine as polynomials in f32",
  };
}

export const cases: OpCase[] = [
  factorsCase([[1, 1]], 1, 1),
  factorsCase([[64, 64], [32, 64], [32, 64], [64, 64], [128, 64], [128, 64], [64, 128]], 1, 8),
  factorsCase([[7, 5], [3, 9]], 3, 5),
  factorsCase([[515, 1030]], 1, 3),
];
