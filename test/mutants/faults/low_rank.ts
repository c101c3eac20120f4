/** Faults of low-rank populations. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "kernels/population/member_shrink.wgsl",
    find: "u32(member) * params.pitch + begin + j % params.rank * params.width",
    replace: "u32(member) * params.pitch + begin",
    harm: "all ranks of a member are the first one",
    tests: ["gpu/ops.test.ts#member_linears", "gpu/low_rank.test.ts"],
  },
  {
    file: "kernels/population/member_shrink.wgsl",
    find: "for (var next = PART; next < params.width; next += PART)",
    replace: "for (var next = PART; next + PART < params.width; next += PART)",
    harm: "on a CPU, members do not see the last inputs of wide layers",
    tests: ["gpu/ops.test.ts#member_linears", "gpu/population_bits.test.ts"],
  },
  {
    file: "kernels/population/member_add.wgsl",
    find: "let a = u32(member) * params.pitch + params.begin;",
    replace: "let a = params.begin;",
    harm: "all members have the outputs' factors of the first",
    tests: ["gpu/ops.test.ts#member_linears", "gpu/low_rank.test.ts"],
  },
  {
    file: "kernels/population/member_update.wgsl",
    find: "params.row + n;",
    replace: "n;",
    harm: "a weight larger than a binding moves by its first rows' factors throughout",
    tests: ["gpu/binding_windows.test.ts#member_update"],
  },
  {
    file: "kernels/population/member_factors.wgsl",
    find: "select(1.0, bitcast<f32>(term.y), e < params.outputs)",
    replace: "bitcast<f32>(term.y)",
    harm: "a member's sign stands in both factors, so that an antithetic pair is the same policy twice",
    tests: ["gpu/ops.test.ts#member_factors", "gpu/low_rank.test.ts"],
  },
  {
    file: "src/policy/perturbations.ts",
    find: "coefficient: coefficient / Math.sqrt(rank)",
    replace: "coefficient",
    harm: "noise grows with the rank, where es_sigma says its deviation",
    tests: ["gpu/low_rank.test.ts"],
  },
  {
    file: "src/policy/decode/lane.ts",
    find: "perRow(({ prompt }) => prompt.member, -1)",
    replace: "perRow(() => 0, -1)",
    harm: "all rows are decoded as the first member's",
    tests: ["gpu/low_rank.test.ts"],
  },
  {
    file: "src/policy/decode/session.ts",
    find: "memberOfToken.fill(member, packed.starts[p], packed.starts[p + 1])",
    replace: "memberOfToken.fill(-1, packed.starts[p], packed.starts[p + 1])",
    harm: "members read their prompts as the unperturbed policy",
    tests: ["gpu/low_rank.test.ts"],
  },
  {
    file: "src/train/es/low_rank.ts",
    find: "members.slice(first, Math.min(first + atOnce, end)), first, request",
    replace: "members.slice(0, Math.min(atOnce, end - first)), first, request",
    harm: "where not all members decode at once, the first answer for the others too",
    tests: ["gpu/es_low_rank_run.test.ts"],
  },
];
