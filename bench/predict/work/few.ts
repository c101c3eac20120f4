/** Works of what decoding makes of few rows on matrix units, and of adapters. */
import { halvesPitch } from "../../../src/ops/linear/halves.ts";
import { boundBytes, type Called, gridOf, spread, valueBytes, type Work, type WorkOf } from "../work.ts";

/** A load or store of workgroup memory with its index, which is held within the array (robustness). */
const SHARED_ACCESS = 4;
/** A load of memory with its index. */
const LOAD = 5;
/** Terms of a part: PART of kernels/lib/lora_shrink.wgsl. */
const PART = 256;
/** Ranks that linear_few_matrix stages at a time. */
const CHUNK = 16;

/** The numbers of all layers that go by a name, with "2" and "3" behind it for the second and third. */
const ofLayers = (values: Readonly<Record<string, number>>, name: string) =>
  ["", "2", "3"].flatMap((suffix) => values[`${name}${suffix}`] ?? []);

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Steps behind the sums over k: parts of the ranks are added eight loads at a time, then the ranks of each output. */
function epilogue({ call }: Called, tile: { rows: number; columns: number; lanes: number }): Work["chain"] {
  const { rows, columns, lanes } = tile;
  const quads = rows * columns / 4 / lanes;
  const finish = {
    times: quads,
    instructions: 4 * 12 + 20,
    wavefronts: 2 * spread(lanes, 16),
    shared: 1,
    cache: 1,
  };
  if (!call.conditions.ADAPTER) return [finish];
  const ranks = ofLayers(call.params, "rank").filter((rank) => rank > 0);
  // A workgroup makes one layer's outputs, or, gated, those of both.
  const chunks = call.conditions.GATED
    ? sum(ranks.map((rank) => Math.ceil(rank / CHUNK)))
    : sum(ranks.map((rank) => Math.ceil(rank / CHUNK))) / ofLayers(call.params, "columns").length;
  const rounds = 1 + Math.ceil((call.params.count - 1) / 8);
  return [
    {
      times: chunks * Math.ceil(rows * CHUNK / lanes),
      instructions: call.params.count * 4 + 20,
      wavefronts: call.params.count * spread(lanes, 4),
      cache: rounds,
    },
    { times: chunks, instructions: 4 * LOAD + 20, wavefronts: 4 * lanes / 8, cache: 1, barriers: 2 },
    {
      times: chunks * quads * CHUNK,
      instructions: 4 + 2 * SHARED_ACCESS,
      wavefronts: 1.5 * lanes / 32,
      shared: 1,
    },
    finish,
  ];
}

const fewMatrix: WorkOf = (called) => {
  const { call, workgroups } = called;
  const { RUN, ROW_PARTS, COLUMN_PARTS, SUBGROUP, FORMAT } = call.constants;
  const unit = call.conditions.UNIT8 ? 8 : 16;
  const slab = call.conditions.UNIT8 ? 64 : 128;
  const tile = {
    rows: RUN * ROW_PARTS * unit,
    columns: COLUMN_PARTS * unit,
    lanes: ROW_PARTS * COLUMN_PARTS * SUBGROUP,
  };
  const { rows, width, pitch } = call.params;
  const slabs = Math.ceil(pitch / slab);
  const [aLoads, bLoads] = [tile.rows, tile.columns].map((lines) => lines * slab / 8 / tile.lanes);
  const groups = gridOf(workgroups);
  const columns = sum(ofLayers(call.params, "columns"));
  const weights = valueBytes(FORMAT);
  const staged = (tile.rows + tile.columns) * slab * 2 / 128;
  const subgroups = ROW_PARTS * COLUMN_PARTS;
  const made = 4 * rows * (call.conditions.GATED ? columns / 2 : columns);
  return {
    workgroups: groups,
    lanes: tile.lanes,
    registers: 48 + 4 * aLoads + 8 * bLoads + 8 * RUN,
    workgroupBytes: (tile.rows + tile.columns) * (slab / 8 + 1) * 16 +
      (call.conditions.ADAPTER ? 4 * (tile.rows * (CHUNK + 1) + tile.columns * CHUNK) : 0),
    chain: [
      { times: 1, instructions: 100, memory: 1 },
      {
        // The next slab is loaded while this one is multiplied.
        times: slabs,
        instructions: aLoads * (LOAD + SHARED_ACCESS) + bLoads * (LOAD + SHARED_ACCESS + 20),
        wavefronts: aLoads * spread(tile.lanes, 16) + bLoads * spread(tile.lanes, 2 * 8 * weights / 2) / 2 +
          staged,
        barriers: 2,
        shared: 1,
      },
      {
        times: slabs * slab / unit,
        instructions: (1 + RUN) * 8 + RUN * 2 + 4,
        matrixFlops: 2 * tile.rows * tile.columns * unit,
        wavefronts: subgroups * (1 + RUN) * unit * unit * 2 / 128,
        shared: 1,
      },
      ...epilogue(called, tile),
    ],
    memoryBytes: boundBytes(call),
    cacheBytes: groups * pitch * (tile.rows * 2 + tile.columns * weights) +
      made * (call.conditions.RESIDUAL ? 2 : 1),
    products: 2 * rows * columns * width,
  };
};

/** A tile of 16 RUN rows and 16 ranks, by 256 lanes, of one part. */
function shrinkTile({ call }: Called, groups: number): Work {
  const { RUN, DEPTH, FORMAT } = call.constants;
  const { rows, width, ranks } = call.params;
  const slabs = PART / 4 / DEPTH;
  const [rowLoads, rankLoads] = [16 * RUN * DEPTH / 256, 16 * DEPTH / 256];
  // TRANSPOSED: four values of a rank lie apart, each rank beside the next.
  const apart = call.conditions.TRANSPOSED ? 4 : 1;
  const loads = rowLoads + rankLoads;
  return {
    workgroups: groups,
    lanes: 256,
    registers: 48,
    workgroupBytes: 16 * 16 * (RUN + 1) * (DEPTH + 1),
    chain: [
      {
        times: slabs,
        instructions: loads * (SHARED_ACCESS + 8) + (rowLoads + rankLoads * apart) * LOAD,
        wavefronts: (2 * loads) * spread(256, 16) + (apart - 1) * rankLoads * spread(256, 4),
        memory: 1,
        barriers: 2,
      },
      // Ranks lie side by side in a warp, and two rows are shared by 16 lanes each.
      { times: PART / 4, instructions: 4 * RUN + (1 + RUN) * 2, wavefronts: 8 * (2 + RUN), shared: 1 },
      { times: 1, instructions: 8 * RUN, wavefronts: RUN * 16 },
    ],
    memoryBytes: boundBytes(call),
    cacheBytes: groups * PART * 16 * (RUN * 4 + valueBytes(FORMAT)),
    products: 2 * rows * width * ranks,
  };
}

/** Rows of halves and tiles of the parts are workgroups of one dispatch: the chain is that of the mean one. */
const halvesShrink: WorkOf = (called) => {
  const { call, workgroups } = called;
  const { rows, width } = call.params;
  const groups = gridOf(workgroups);
  const tiles = shrinkTile(called, groups - rows);
  const turns = Math.ceil(width / 4 / 256);
  const share = rows / groups;
  const ofRow = [
    { times: turns, instructions: 12, wavefronts: spread(256, 16), memory: 0.25 },
    { times: 8, instructions: 8, shared: 1, barriers: 1 },
    { times: turns, instructions: 24, wavefronts: spread(256, 24), cache: 0.25 },
  ];
  const weighed = (chain: Work["chain"], part: number) =>
    chain.map((step) => ({ ...step, times: step.times * part }));
  return {
    ...tiles,
    workgroups: groups,
    chain: [...weighed(tiles.chain, 1 - share), ...weighed(ofRow, share)],
    cacheBytes: tiles.cacheBytes + rows * (8 * width + 2 * halvesPitch(width)),
  };
};

/** A thread makes 4 rows x 4 ranks of a part. */
const shrink: WorkOf = ({ call, workgroups }) => {
  const { rows, width, ranks } = call.params;
  const { WG, FORMAT } = call.constants;
  const each = call.conditions.VEC4 ? 4 : 1;
  const groups = gridOf(workgroups);
  return {
    workgroups: groups,
    lanes: WG,
    registers: 80,
    chain: [{ times: PART / each, instructions: 16 * each + 8 * LOAD, wavefronts: 8 * WG / 2, memory: 1 }],
    memoryBytes: boundBytes(call),
    cacheBytes: groups * WG * 4 * Math.min(PART, width) * (4 + valueBytes(FORMAT)),
    products: 2 * rows * width * ranks,
  };
};

const low: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{ times: call.params.count, instructions: 8, wavefronts: spread(WG, 4), cache: 1 }],
    memoryBytes: boundBytes(call),
    cacheBytes: boundBytes(call),
  };
};

export const FEW_WORKS: Readonly<Record<string, WorkOf>> = {
  linear_few_matrix: fewMatrix,
  halves_shrink: halvesShrink,
  lora_shrink: shrink,
  lora_shrink_tile: (called) => shrinkTile(called, gridOf(called.workgroups)),
  lora_low: low,
};
