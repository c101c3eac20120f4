/** How kernels are dispatched over flat tensors and rows: vec4 by vec4 where the size allows it, else value by value. */
import { modes } from "./backend.ts";
import { maxSubgroupSize } from "./device_facts.ts";

/** Splits a 1-D grid over x and y so that no dimension passes WebGPU's 65535. Kernels refold with num_workgroups. */
export function foldGrid(count: number): [number, number, number] {
  const limit = modes.foldLimit;
  if (count <= limit) return [count, 1, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y, 1];
}

/** Lanes for a workgroup that reduces a row of `width`: about 8 values each, a power of two from 8 to 256. */
export function lanesForRow(width: number): number {
  return Math.min(256, Math.max(8, 2 ** Math.floor(Math.log2(Math.max(1, width / 8)))));
}

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
