/** How kernels go over flat tensors and rows: vec4 by vec4 where the size allows it, else value by value. */
import { modes } from "./backend.ts";
import { hasNarrowSubgroups } from "./device_facts.ts";

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

/** What lanes take of so many values: `count` times one or four of them (kernels/lib/values.wgsl). */
export function inVec4s(values: number): { conditions: { VEC4: boolean }; count: number } {
  const VEC4 = values % 4 === 0;
  return { conditions: { VEC4 }, count: VEC4 ? values / 4 : values };
}

/** vec4s or values of a workgroup: enough to be worth starting one on a CPU, few enough to fill a GPU. */
const SPAN = 256;

/** A software GPU, 8 lanes wide, goes through a span 8 vec4s at a time. */
const spanLanes = () => hasNarrowSubgroups() ? 8 : 64;

export interface FlatGrid {
  conditions: { VEC4: boolean };
  constants: { WG: number; SPAN: number };
  /** vec4s, or values. */
  count: number;
  workgroups: [number, number, number];
}

/** The grid over `values` values, for kernels that go by spans (kernels/lib/span.wgsl). */
export function flatGrid(values: number): FlatGrid {
  const { conditions, count } = inVec4s(values);
  const workgroups = foldGrid(Math.ceil(count / SPAN));
  return { conditions, constants: { WG: spanLanes(), SPAN }, count, workgroups };
}

export interface RowShares {
  conditions: { VEC4: boolean };
  constants: { WG: number };
  /** vec4s of a row, or values. */
  width: number;
  /** Rows of a workgroup: a span's worth. */
  share: number;
  workgroups: [number, number, number];
}

/** The grid of a kernel that copies rows. @param columns values of a row */
export function rowShares(rows: number, columns: number): RowShares {
  const { conditions, count: width } = inVec4s(columns);
  const share = Math.max(1, Math.floor(SPAN / width));
  const workgroups = foldGrid(Math.ceil(rows / share));
  return { conditions, constants: { WG: spanLanes() }, width, share, workgroups };
}
