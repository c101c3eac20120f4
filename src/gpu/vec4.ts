/** How kernels that go through flat tensors are dispatched: vec4 by vec4 where the size allows it, else value by value. */
import { foldGrid, maxSubgroupSize } from "./bridge.ts";

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

/** The grid over `values` values. A software GPU, 8 lanes wide, goes through a span 8 vec4s at a time. */
export function flatGrid(values: number): FlatGrid {
  if (values % 4) {
    const workgroups = foldGrid(Math.ceil(values / SCALAR_LANES));
    return { isVec4: false, count: values, constants: { WG: SCALAR_LANES }, workgroups };
  }
  const count = values / 4;
  const WG = maxSubgroupSize() <= 8 ? 8 : 64;
  return { isVec4: true, count, constants: { WG }, workgroups: foldGrid(Math.ceil(count / SPAN)) };
}
