/** Works of the products of linear layers. */
import {
  boundBytes,
  type Called,
  gridOf,
  spread,
  type Step,
  valueBytes,
  type Work,
  type WorkOf,
} from "../work.ts";

/** A product [rows, columns], each of whose elements is a sum over `summed` terms. */
interface Product {
  rows: number;
  columns: number;
  summed: number;
}

type Params = Called["call"]["params"];
const outputSize = ({ rows, width, columns }: Params): Product => ({ rows, columns, summed: width });
const gradXSize = ({ rows, width, columns }: Params): Product => ({ rows, columns: width, summed: columns });
const gradWSize = ({ rows, width, columns }: Params): Product => ({
  rows: columns,
  columns: width,
  summed: rows,
});
const flopsOf = ({ rows, columns, summed }: Product) => 2 * rows * columns * summed;

/** Instructions that make four f32 of four values as they lie in memory. */
const unpacking = (format: number) => format === 0 ? 0 : 6;

/** A load or store of workgroup memory with its index, which is held within the array (robustness). */
const SHARED_ACCESS = 4;
/** A load of memory with its index. */
const LOAD = 5;

/** What sums are begun from or added to. */
const addendBytes = ({ bytes }: Called["call"]) => (bytes.bias ?? 0) + (bytes.residual ?? 0);

/** Where outputs are written, an adapter's part of each: a chain over the ranks, from the core's own cache. */
function adapterSteps({ call: { conditions, params } }: Called, values: number, lanes: number): Step[] {
  if (!conditions.ADAPTER) return [];
  return [{
    times: values,
    instructions: 8 * params.rank,
    wavefronts: params.rank * spread(lanes, 8),
    shared: 2,
  }];
}

/** Of a workgroup of the tiles of kernels/lib/linear_slabs.wgsl. */
interface Tiled {
  size: Product;
  /** Bytes of a value of the rows' and of the columns' operand. */
  bytes: [number, number];
  /** Instructions of four values of either that a lane brings to workgroup memory, beside load and store. */
  turning: number;
  /** Starts from what the product's place holds. */
  adds: boolean;
}

function tiled(called: Called, { size, bytes, turning, adds }: Tiled): Work {
  const { call, workgroups } = called;
  const { TILE_M, TILE_N, TILE_K, LANE_M, LANE_N } = call.constants;
  const lanes = (TILE_M / LANE_M) * (TILE_N / LANE_N);
  const slabs = Math.ceil(size.summed / TILE_K);
  // A lane stages blocks of four vec4s, four loads under way together, of one operand and then of the other.
  const blocks = [TILE_M, TILE_N].map((side) => Math.ceil(side * TILE_K / 16 / lanes));
  const block = 4 * (LOAD + SHARED_ACCESS + turning) + 10;
  const vectors = (LANE_M + LANE_N) / 4;
  const staged = TILE_K * (TILE_M + TILE_N) / 4;
  // Of a vec4, lanes of a warp that lie side by side read 8 to a wavefront; lanes that share a row read one.
  const reads = TILE_K * lanes / 32 * (LANE_M / 4 + 2 * LANE_N / 4);
  const groups = gridOf(workgroups);
  const [rowBytes, columnBytes] = bytes;
  const made = 4 * size.rows * size.columns;
  return {
    workgroups: groups,
    lanes,
    registers: LANE_M * LANE_N + 4 * vectors + 48,
    workgroupBytes: 16 * TILE_K * (TILE_M / 4 + TILE_N / 4 + 2),
    chain: [
      {
        times: slabs,
        instructions: (blocks[0] + blocks[1]) * block,
        wavefronts: staged / 4,
        memory: 1,
        barriers: 2,
        shared: 1,
      },
      {
        times: slabs * TILE_K,
        instructions: LANE_M * LANE_N + vectors * SHARED_ACCESS,
        wavefronts: reads / TILE_K,
      },
      {
        times: 1,
        instructions: LANE_M * LANE_N * 3,
        wavefronts: LANE_M * LANE_N / 4 * spread(lanes, 16),
        memory: 1 + +adds,
      },
      ...adapterSteps(called, LANE_M * LANE_N, lanes),
    ],
    memoryBytes: boundBytes(call) + (adds ? made : 0),
    cacheBytes: groups * slabs * TILE_K * (TILE_M * rowBytes + TILE_N * columnBytes) +
      made * (adds ? 2 : 1) + addendBytes(call),
    products: flopsOf(size),
  };
}

/** Tiles in registers: a lane makes 8 x 8 sums, operands straight from memory, four terms at a time. */
function inRegisters(
  { call, workgroups }: Called,
  size: Product,
  bytes: [number, number],
  adds: boolean,
): Work {
  const { WG_X, WG_Y } = call.constants;
  const lanes = WG_X * WG_Y;
  const groups = gridOf(workgroups);
  const terms = Math.ceil(size.summed / 4);
  const made = 4 * size.rows * size.columns;
  const [rowBytes, columnBytes] = bytes;
  return {
    workgroups: groups,
    lanes,
    registers: 64 + 64 + 40,
    chain: [
      {
        times: terms,
        instructions: 256 + 16 * LOAD + 8 * unpacking(columnBytes === 2 ? 1 : 0),
        // Rows of an operand lie a row apart: a lane's load is a wavefront of its own; those of one row are shared.
        wavefronts: 8 * WG_Y + 8 * lanes,
        memory: 1,
      },
      { times: 1, instructions: 64 * 4, wavefronts: 16 * spread(lanes, 16), memory: 1 + +adds },
    ],
    memoryBytes: boundBytes(call) + (adds ? made : 0),
    cacheBytes: groups * 8 * size.summed * (WG_Y * rowBytes + WG_X * columnBytes) + made + addendBytes(call),
    products: flopsOf(size),
  };
}

/** One subgroup of 8 lanes, TILE_ROWS rows x 4 columns a lane, values of the rows broadcast. */
function simd8({ call, workgroups }: Called, size: Product, tile: [number, number], weights: number): Work {
  const groups = gridOf(workgroups);
  const [rows, columns] = tile;
  const made = 4 * size.rows * size.columns;
  return {
    workgroups: groups,
    lanes: 8,
    registers: rows * columns / 8 + 60,
    chain: [{
      times: Math.ceil(size.summed / 4),
      instructions: 4 * rows * columns / 8 + rows * 2 + 4 * LOAD,
      wavefronts: 4 * 8,
      cache: 1,
    }],
    memoryBytes: boundBytes(call),
    cacheBytes: groups * size.summed * (rows * 4 + columns * weights) + made,
    products: flopsOf(size),
  };
}

/** Terms of a slab on matrix units (kernels/lib/linear_matrix_slabs.wgsl), and of a weight gradient's block. */
const UNITS_SLAB = 32;
const UNITS_BLOCK = 512;
/** Instructions of a matrix that is loaded with its checks, and of one product. */
const MATRIX_LOAD = 16;
const MATRIX_PRODUCT = 2;

/** @param format of the columns' operand */
function onUnits(called: Called, size: Product, format: number): Work {
  const { call, workgroups } = called;
  const { UNIT8, WIDE, GRAD_X, GRAD_W, ADD } = call.conditions;
  const { SUBGROUP } = call.constants;
  const lanes = 4 * SUBGROUP;
  const unit = UNIT8 ? 8 : 16;
  const units = WIDE ? 4 : 2; // matrices that a subgroup makes, each way
  const tile = 2 * units * unit;
  const adds = ADD || GRAD_W;
  const blocks = tile * UNITS_SLAB / 8 / lanes;
  const columnBytes = valueBytes(format);
  // Of eight values: both loads with their places, rounding (of bf16 and f16 unpacking too), both stores.
  const rounding = format === 0 ? 12 : 20;
  const staging = blocks *
    (2 * LOAD + columnBytes / 2 * LOAD + rounding + 2 * SHARED_ACCESS + (GRAD_W ? 2 * LOAD : 0));
  const steps = UNITS_SLAB / unit;
  const slabBytes = UNITS_SLAB * tile * (2 + columnBytes);
  const staged = UNITS_SLAB * tile * 2 * 2;
  const loaded = 4 * steps * 2 * units * unit * unit * 2;
  const byRow = tile * 5 * 16;
  const byTerm = UNITS_SLAB * (tile / 8 + 1) * 16;
  const sums = GRAD_W ? Math.ceil(size.summed / UNITS_BLOCK) : 1;
  const slabs = Math.ceil(size.summed / UNITS_SLAB);
  const groups = gridOf(workgroups);
  const made = 4 * size.rows * size.columns;
  const ofLane = (units * unit) ** 2 / SUBGROUP; // sums
  return {
    workgroups: groups,
    lanes,
    registers: ofLane + blocks * 4 * (1 + columnBytes / 2) + 48,
    workgroupBytes: 2 * ((GRAD_W ? byTerm : byRow) + (GRAD_W || GRAD_X ? byTerm : byRow)),
    chain: [
      { times: 1, instructions: 60, memory: 2, barriers: 1 },
      {
        times: sums,
        instructions: staging,
        wavefronts: (slabBytes + staged) / 128,
        memory: 1,
        shared: 1,
        barriers: 1,
      },
      {
        times: slabs,
        instructions: staging + steps * (2 * units * MATRIX_LOAD + units * units * MATRIX_PRODUCT),
        matrixFlops: 2 * tile * tile * UNITS_SLAB,
        wavefronts: (slabBytes + staged + loaded) / 128,
        ahead: 1,
        shared: steps,
        barriers: 1,
      },
      {
        times: sums * units / 2,
        instructions: ofLane / (units / 2) * 14,
        wavefronts: 3 * 4 * 4 * 2 * unit * units * unit / 128,
        memory: +adds,
        shared: 2,
        barriers: 2,
      },
      ...adapterSteps(called, ofLane, lanes),
    ],
    memoryBytes: boundBytes(call) + (adds ? made : 0),
    cacheBytes: groups * slabs * slabBytes + sums * made * (adds ? 2 : 1) + addendBytes(call),
    products: flopsOf(size),
  };
}

function matrix(called: Called): Work {
  const { conditions: { GRAD_X, GRAD_W }, params, constants } = called.call;
  const size = GRAD_W ? gradWSize(params) : GRAD_X ? gradXSize(params) : outputSize(params);
  return onUnits(called, size, constants.FORMAT);
}

const weightBytes = ({ call }: Called) => valueBytes(call.constants.FORMAT);

/** A thread for each sum, values one by one. */
const strided: WorkOf = ({ call, workgroups }) => {
  const { rows, columns, terms } = call.params;
  const lanes = call.constants.WG;
  return {
    workgroups: gridOf(workgroups),
    lanes,
    chain: [{ times: terms, instructions: 14, wavefronts: lanes, cache: 1 }],
    memoryBytes: boundBytes(call),
    cacheBytes: rows * columns * terms * 8,
    products: 2 * rows * columns * terms,
  };
};

const few: WorkOf = (called) => {
  const { call, workgroups } = called;
  const size = outputSize(call.params);
  const { WG, ROWS } = call.constants;
  const weights = weightBytes(called);
  const perLoad = 16 / weights;
  const times = Math.ceil(size.summed / perLoad);
  const groups = gridOf(workgroups);
  return {
    workgroups: groups,
    lanes: WG,
    registers: 100,
    chain: [{
      times,
      instructions: 4 * ROWS * perLoad + 4 * LOAD + ROWS * perLoad / 4 * LOAD +
        perLoad * unpacking(call.constants.FORMAT),
      wavefronts: 4 * WG + ROWS * perLoad / 4,
      memory: 1,
    }],
    memoryBytes: boundBytes(call),
    cacheBytes: groups * size.summed * (4 * WG * weights + 4 * ROWS),
    products: flopsOf(size),
  };
};

/** A workgroup a row: its largest, then its values, read again from the cache. */
const halves: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const { rows, width, pitch } = call.params;
  const turns = Math.ceil(width / 4 / WG);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: turns, instructions: 20, wavefronts: spread(WG, 16), cache: 1 },
      { times: Math.log2(WG), instructions: 8, shared: 1, barriers: 1 },
      { times: turns, instructions: 30, wavefronts: spread(WG, 24), cache: 1 },
    ],
    memoryBytes: rows * (4 * width + 2 * pitch),
    freshBytes: rows * (4 * width + 2 * pitch),
    cacheBytes: rows * (8 * width + 2 * pitch),
  };
};

const gradBias: WorkOf = ({ call, workgroups }) => {
  const { rows } = call.params;
  const lanes = call.constants.WG;
  return {
    workgroups: gridOf(workgroups),
    lanes,
    chain: [{ times: rows, instructions: 6, wavefronts: spread(lanes, 4), cache: 1 }],
    memoryBytes: boundBytes(call),
    cacheBytes: boundBytes(call),
    flops: rows * call.params.columns,
  };
};

/** Two products in one, and what joins them. */
function twice(work: Work): Work {
  return { ...work, products: 2 * (work.products ?? 0) };
}

export const LINEAR_WORKS: Readonly<Record<string, WorkOf>> = {
  linear: (called) => inRegisters(called, outputSize(called.call.params), [4, weightBytes(called)], false),
  linear_few: few,
  linear_strided: strided,
  linear_tile: (called) =>
    tiled(called, {
      size: outputSize(called.call.params),
      bytes: [4, weightBytes(called)],
      turning: unpacking(called.call.constants.FORMAT),
      adds: false,
    }),
  linear_simd8: (called) =>
    simd8(called, outputSize(called.call.params), [called.call.constants.TILE_ROWS, 32], weightBytes(called)),
  linear_matrix: matrix,
  linear_grad_x: (called) =>
    inRegisters(called, gradXSize(called.call.params), [4, weightBytes(called)], called.call.conditions.ADD),
  linear_grad_x_tile: (called) =>
    tiled(called, {
      size: gradXSize(called.call.params),
      bytes: [4, weightBytes(called)],
      turning: unpacking(called.call.constants.FORMAT),
      adds: called.call.conditions.ADD,
    }),
  linear_grad_x_simd8: (called) =>
    simd8(called, gradXSize(called.call.params), [16, 32], weightBytes(called)),
  linear_grad_w: (called) => inRegisters(called, gradWSize(called.call.params), [4, 4], true),
  linear_grad_w_tile: (called) =>
    tiled(called, { size: gradWSize(called.call.params), bytes: [4, 4], turning: 0, adds: true }),
  linear_grad_w_simd8: (called) => simd8(called, gradWSize(called.call.params), [16, 32], 4),
  linear_grad_bias: gradBias,
  halves,
  swiglu_linear: (called) =>
    twice(inRegisters(called, outputSize(called.call.params), [4, weightBytes(called)], false)),
  swiglu_linear_simd8: (called) =>
    twice(
      simd8(
        called,
        outputSize(called.call.params),
        [called.call.constants.TILE_ROWS, 32],
        weightBytes(called),
      ),
    ),
};
