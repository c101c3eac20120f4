/**
 * Linear layers of rows each of which belongs to a member of a population, and has that member's low-rank perturbation
 * of the weights (EGGROLL, arXiv:2511.16652): y = x (W + A B^T)^T = x W^T + (x B) A^T. The product with W is that of
 * all rows at once; what a row gets beside it depends on the row and its member alone.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { isSoftwareDevice } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, rowShares } from "../../gpu/grids.ts";
import { isTapeOn } from "../../gpu/op.ts";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import type { LayerSizes } from "../linear/choice.ts";
import { PART, runLoraLow } from "../linear/lora_shrink.ts";
import type { MemberFactors } from "./member_factors.ts";

/** Matrices of one x whose ranks one kernel makes. */
const MOST_MATRICES = 3;
const LANES = { software: 8, gpu: 64 };

/** Matrices of one tensor of factors and one rank, in order, with their outputs. */
interface Group {
  factors: MemberFactors[];
  ys: Tensor[];
}

function groupsOf(ys: readonly Tensor[], factors: readonly (MemberFactors | undefined)[]): Group[] {
  const groups: Group[] = [];
  factors.forEach((each, i) => {
    if (!each) return;
    const last = groups.at(-1);
    const isNext = last && last.factors.length < MOST_MATRICES && last.factors[0].tensor === each.tensor;
    if (!isNext) return void groups.push({ factors: [each], ys: [ys[i]] });
    last.factors.push(each);
    last.ys.push(ys[i]);
  });
  return groups;
}

/** x B of all matrices of a group. @returns f32 [M, ranks] */
function runMemberLows(x: TensorInfo, factors: readonly MemberFactors[], members: Tensor): TensorInfo {
  const [rows, width] = x.shape;
  const [{ tensor, rank }] = factors;
  const pitch = tensor.shape[1]!;
  const ranks = rank * factors.length;
  // A CPU has rows enough for all its lanes; a GPU takes the parts of a sum side by side.
  const WHOLE = isSoftwareDevice() || width <= PART;
  const count = WHOLE ? 1 : Math.ceil(width / PART);
  const parts = newTensor([count, rows, ranks]);
  const VEC4 = width % 4 === 0;
  const units = (values: number) => VEC4 ? values / 4 : values;
  const begins = factors.map(({ b }) => units(b));
  const WG = isSoftwareDevice() ? LANES.software : LANES.gpu;
  runKernel({
    kernel: "member_shrink",
    conditions: { VEC4, WHOLE },
    constants: { WG },
    bindings: { x, factors: tensor, members, parts },
    params: {
      rows,
      width: units(width),
      ranks,
      rank,
      pitch: units(pitch),
      first: begins[0],
      second: begins[1] ?? 0,
      third: begins[2] ?? 0,
    },
    workgroups: foldGrid(Math.ceil(count * rows * ranks / WG)),
  });
  if (WHOLE) return { ...parts, shape: [rows, ranks] };
  const low = runLoraLow({ tensor: parts, count, ranks, firsts: [0] }, 0, ranks);
  disposeInfo(parts);
  return low;
}

function runMemberAdd(
  y: Tensor,
  { low, first }: { low: TensorInfo; first: number },
  { tensor, rank, a }: MemberFactors,
  members: Tensor,
): void {
  const [rows, columns] = y.shape as [number, number];
  const { width, ...grid } = rowShares(rows, columns);
  const units = (values: number) => grid.conditions.VEC4 ? values / 4 : values;
  const { conditions, constants, share, workgroups } = grid;
  runKernel({
    kernel: "member_add",
    conditions,
    constants,
    bindings: { low, factors: tensor, members, y },
    params: {
      rows,
      columns: width,
      share,
      ranks: low.shape[1],
      first,
      rank,
      pitch: units(tensor.shape[1]!),
      begin: units(a),
    },
    workgroups,
  });
}

/** @throws RangeError when rows, outputs and members do not fit each other */
function assertFits(x: Tensor, ys: readonly Tensor[], members: Tensor): void {
  const rows = x.shape[0];
  if (members.dtype === "int32" && members.size === rows && ys.every(({ shape }) => shape[0] === rows)) {
    return;
  }
  throw new RangeError(
    `Cannot perturb outputs of ${rows} rows for members ${members.dtype} [${members.shape}]: need int32 [${rows}]`,
  );
}

/**
 * Adds to the outputs of linear layers of one x what the perturbations of the rows' members make of it, in place:
 * y_i += (x B_i) A_i^T.
 * @param x f32 [M,K]
 * @param ys f32 [M,N_i], changed
 * @param factors of each layer's weight, undefined where it is not perturbed
 * @param members i32 [M]: the member of each row, -1 = none, whose outputs stay as they are
 * @throws RangeError when the rows and their members do not fit
 * @throws Error when a tape is on: perturbations are not differentiated
 */
export function addMemberParts(
  x: Tensor,
  ys: readonly Tensor[],
  factors: readonly (MemberFactors | undefined)[],
  members: Tensor,
): void {
  if (isTapeOn()) {
    throw new Error("Cannot differentiate a population's perturbations: generate without a tape");
  }
  assertFits(x, ys, members);
  for (const group of groupsOf(ys, factors)) {
    const low = runMemberLows(x, group.factors, members);
    group.ys.forEach((y, i) => {
      const own = group.factors[i];
      runMemberAdd(y, { low, first: i * own.rank }, own, members);
    });
    disposeInfo(low);
  }
}

/** Factors of one weight as plain arrays. */
export interface FactorArrays {
  /** [members, pitch] */
  values: ArrayLike<number>;
  pitch: number;
  rank: number;
  a: number;
  b: number;
}

/** What member_shrink.wgsl makes, in f64, of one matrix. @returns parts [ceil(K / 256), M, rank] */
function memberPartsF64(
  x: ArrayLike<number>,
  members: ArrayLike<number>,
  { values, pitch, rank, b }: FactorArrays,
  { M, K }: Omit<LayerSizes, "N">,
): Float64Array {
  const count = Math.ceil(K / PART);
  return Float64Array.from({ length: count * M * rank }, (_, i) => {
    const [part, m, r] = [Math.floor(i / (M * rank)), Math.floor(i / rank) % M, i % rank];
    if (members[m] < 0) return 0;
    const begin = members[m] * pitch + b + r * K;
    let sum = 0;
    for (let k = part * PART; k < Math.min(K, (part + 1) * PART); k++) {
      sum += x[m * K + k] * values[begin + k];
    }
    return sum;
  });
}

/** Twin of addMemberParts in f64, of one layer. @param y [M,N] before @returns y after */
export function memberLinearF64(
  operands: { x: ArrayLike<number>; y: ArrayLike<number>; members: ArrayLike<number> },
  factors: FactorArrays,
  sizes: LayerSizes,
): Float64Array {
  const { x, y, members } = operands;
  const { values, pitch, rank, a } = factors;
  const { M, N, K } = sizes;
  const parts = memberPartsF64(x, members, factors, sizes);
  return Float64Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let r = 0; r < rank && members[m] >= 0; r++) {
      let low = 0;
      for (let part = 0; part < Math.ceil(K / PART); part++) low += parts[(part * M + m) * rank + r];
      sum += low * values[members[m] * pitch + a + r * N + n];
    }
    return y[i] + sum;
  });
}
