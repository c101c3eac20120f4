/** Works of a population's low-rank perturbations. */
import { boundBytes, type Called, gridOf, spread, vectorOf, type WorkOf } from "../work.ts";

/** Terms of a part: PART of kernels/population/member_shrink.wgsl. */
const PART = 256;
/** Instructions of four normal values from a counter: ten rounds of Philox, two logarithms, two points of a circle. */
const NORMALS = 10 * 30 + 120;

/** Bytes of the members' factors that a kernel reads of a matrix. @param values of a rank */
const factorBytes = ({ params, bytes }: Called["call"], values: number): number =>
  Math.min(bytes.factors ?? 0, 4 * params.rows * params.rank * values);

const shrink: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const { rows, width, ranks } = call.params;
  const values = vectorOf(call);
  const part = call.conditions.WHOLE ? width : Math.min(PART / values, width);
  const read = 4 * rows * width * values + factorBytes(call, ranks / call.params.rank * width * values);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: 1, instructions: 60, cache: 1 },
      // Lanes read rows and factors of their own.
      { times: part, instructions: 8 + values, wavefronts: 2 * WG * values / 8, memory: 1 / 4 },
    ],
    memoryBytes: read + boundBytes(call, ["parts"]),
    freshBytes: 4 * rows * width * values,
    cacheBytes: 2 * 4 * rows * ranks * width * values,
    flops: 2 * rows * ranks * width * values,
  };
};

const add: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const { rows, columns, rank, share } = call.params;
  const values = vectorOf(call);
  const moved = 2 * boundBytes(call, ["y"]);
  const factors = factorBytes(call, columns * values);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: share, instructions: 16, cache: 1 },
      {
        times: share * Math.ceil(columns / WG),
        instructions: 14 + rank * (8 + values),
        wavefronts: (2 + rank) * spread(WG, 4 * values) + rank,
        memory: 1,
      },
    ],
    memoryBytes: moved + factors,
    freshBytes: moved,
    cacheBytes: moved + 4 * rows * rank * columns * values,
    flops: 2 * rows * rank * columns * values,
  };
};

const update: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const { rows, width, outputs, share, members, rank } = call.params;
  const values = vectorOf(call);
  const terms = members * rank;
  const moved = 2 * boundBytes(call, ["w"]);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{
      times: share * Math.ceil(width / WG) * terms,
      instructions: 12 + values,
      wavefronts: 1 + spread(WG, 4 * values),
      cache: 1 / 4,
    }],
    memoryBytes: moved + 4 * terms * (outputs + width * values),
    cacheBytes: moved + 4 * terms * rows * width * values,
    products: 2 * rows * width * values * terms,
  };
};

const factors: WorkOf = ({ call, workgroups }) => {
  const { WG, SPAN } = call.constants;
  const made = boundBytes(call, ["factors"]);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    registers: 48,
    chain: [
      { times: 1, instructions: 40, cache: 1 },
      { times: SPAN / WG, instructions: NORMALS, wavefronts: spread(WG, 16) },
    ],
    memoryBytes: made,
    cacheBytes: made,
    flops: call.params.members * call.params.pitch * NORMALS,
  };
};

export const POPULATION_WORKS: Readonly<Record<string, WorkOf>> = {
  member_shrink: shrink,
  member_add: add,
  member_update: update,
  member_factors: factors,
};
