/** How kernels that go through flat tensors are dispatched: vec4 by vec4 where the size allows it, else value by value. */
import { foldGrid, maxSubgroupSize } from "./dispatch.ts";

/** vec4s of a workgroup, as in the kernels: enough to be worth starting one on a CPU, few enough to fill a GPU. */
const SPAN = 256;
/** Lanes of a workgroup that takes values one by one. */
const SCALAR_LANES = 256;

export interface FlatGrid {
  /** Whether the kernel's _vec4 variant is the one to run. */
  isVec4: boolean;
  /** vec4s, or values. */
  count: number;
  constants: { WG: number };
  workgroups: [number, number, number];
}

/** A software GPU, 8 lanes wide, goes through a span 8 vec4s at a time. */
const spanLanes = () => maxSubgroupSize() <= 8 ? 8 : 64;

/** The grid over `values` values. */
export function flatGrid(values: number): FlatGrid {
  if (values % 4) {
    const workgroups = foldGrid(Math.ceil(values / SCALAR_LANES));
    return { isVec4: false, count: values, constants: { WG: SCALAR_LANES }, workgroups };
  }
  const count = values / 4;
  return {
    isVec4: true,
    count,
    constants: { WG: spanLanes() },
    workgroups: foldGrid(Math.ceil(count / SPAN)),
  };
}

/**
 * The grid of a kernel that copies rows of whole vec4s: a workgroup takes `share` rows, a span's worth of vec4s.
 * @param width4 vec4s of a row
 */
export function rowShares(rows: number, width4: number) {
  const share = Math.max(1, Math.floor(SPAN / width4));
  return { share, constants: { WG: spanLanes() }, workgroups: foldGrid(Math.ceil(rows / share)) };
}
