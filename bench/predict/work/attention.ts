/** Works of attention, of what turns and keeps its inputs, and of their gradients. */
import {
  boundBytes,
  type Called,
  gridOf,
  type Seen,
  spread,
  type Step,
  valueBytes,
  type Work,
  type WorkOf,
} from "../work.ts";

/** Pairs of a query head's row and a key that a call goes over; keys of a row, or queries of a key: most and mean. */
interface Pairs {
  pairs: number;
  most: number;
  mean: number;
}

/** @param rows of queries; of keys, where a key's queries are gone through */
function pairsOf({ params }: Called["call"], { sequence, prefix, readers }: Seen, byKeys: boolean): Pairs {
  const { rows, heads } = params;
  if (params.prefix === 1) {
    const each = byKeys ? sequence * readers : prefix;
    return { pairs: rows * heads * each, most: each, mean: each };
  }
  const mean = (Math.min(sequence, rows) + 1) / 2;
  return { pairs: rows * heads * mean, most: Math.min(sequence, rows), mean };
}

/** What a kernel of attention does for four queries against four keys, a vector of four columns of each at a time. */
interface TileCost {
  /** Products of a query and a key that are summed over the columns: their dots, and in gradients the pulls. */
  dots: number;
  /** Sums over keys or queries: o; dq; dk and dv. */
  sums: number;
  /** Vec4s of a tile's four rows and four keys that are loaded or stored for a vector of columns. */
  accesses: number;
}

const FORWARD: TileCost = { dots: 1, sums: 1, accesses: 8 + 12 };
const GRAD_Q: TileCost = { dots: 2, sums: 1, accesses: 16 + 12 };
const GRAD_KV: TileCost = { dots: 2, sums: 2, accesses: 16 + 24 };

/** Operations of a pair of a query and a key, all columns: two for each product and sum. */
const pairFlops = ({ dots, sums }: TileCost, headDim: number) => 2 * (dots + sums) * headDim;

/**
 * The plain kernels: a lane has four rows of a head and goes through keys (or queries) by fours; sums lie in memory. A
 * lane's vectors lie a head apart from its neighbour's, so that each lane's load is a wavefront of its own, and of a
 * sector of two vectors the second is in the core's own cache.
 */
function byLanes(called: Called, seen: Seen, cost: TileCost, byKeys: boolean): Work {
  const { call, workgroups } = called;
  const { params, constants: { WG } } = call;
  const { pairs, most, mean } = pairsOf(call, seen, byKeys);
  const { vectors } = params;
  const sharing = byKeys ? params.heads / params.kv_heads : 1;
  const turns = 1 + 1; // a loop over columns for the dots, another for the sums
  const arithmetic = 64 * cost.dots + 64 * cost.sums + (cost.sums === 1 && cost.dots === 1 ? 64 : 0);
  const tile: Step = {
    times: mean * sharing / 4,
    instructions: vectors * (arithmetic + 4 * cost.accesses) + 16 * 20,
    wavefronts: vectors * cost.accesses * WG,
    cache: vectors * turns / 2,
    shared: vectors * turns / 2,
  };
  const bytes = boundBytes(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    registers: 128,
    chain: [tile],
    longest: most / mean,
    memoryBytes: bytes,
    cacheBytes: gridOf(workgroups) * tile.times * vectors * cost.accesses * WG * 16,
    products: pairs * pairFlops(cost, 4 * vectors),
  };
}

/** Kernels for 8-wide subgroups: a row of the workgroup's eight a lane, values broadcast. */
function bySubgroups(called: Called, seen: Seen, cost: TileCost, byKeys: boolean): Work {
  const { call, workgroups } = called;
  const { pairs, most, mean } = pairsOf(call, seen, byKeys);
  const vectors = call.params.vectors;
  const groups = gridOf(workgroups);
  const bytes = boundBytes(call);
  return {
    workgroups: groups,
    lanes: 8,
    registers: 128,
    chain: [{
      times: pairs / groups / 8,
      instructions: vectors * (4 * (cost.dots + cost.sums) + 8) + 24,
      wavefronts: vectors * cost.accesses / 4,
      cache: 1,
    }],
    longest: most / mean,
    memoryBytes: bytes,
    cacheBytes: pairs * vectors * 16 / 4,
    products: pairs * pairFlops(cost, 4 * vectors),
  };
}

/** All variants of a kernel: by lanes, for 8-wide subgroups, and those of narrow heads. */
function variants(name: string, cost: TileCost, byKeys = false): Record<string, WorkOf> {
  return {
    [name]: (called, seen) => byLanes(called, seen, cost, byKeys),
    [`${name}_simd8`]: (called, seen) => bySubgroups(called, seen, cost, byKeys),
    [`${name}_narrow_simd8`]: (called, seen) => bySubgroups(called, seen, cost, byKeys),
  };
}

/** A tile of lib/attention_slabs.wgsl: lanes, rows and others together, vectors of a slab. */
const TILE_LANES = 256;
const ROWS_AND_OTHERS = 96;
const SLAB = 8;
/** Subgroups of 32, as NVIDIA's are: their lanes read few different vectors of workgroup memory, a wavefront each. */
const SUBGROUPS = TILE_LANES / 32;
/** A load of memory with its index, and a place in workgroup memory written with its own. */
const LOAD = 5;
const STORE = 6;

/** Vectors of sums of a lane in each of its four rows: rows that are half as many have lanes for twice the columns. */
const ownOf = ({ VECTORS, ROWS }: Readonly<Record<string, number>>) => Math.ceil(VECTORS * ROWS / 1024);

/** What a tile does with its others, `times` over. @param weights instructions for a score to become its weight */
function tileSteps(
  constants: Readonly<Record<string, number>>,
  { dots, sums }: TileCost,
  weights: number,
  times: number,
): Step[] {
  const { VECTORS, PART, ROWS } = constants;
  const own = ownOf(constants);
  const parts = (ROWS_AND_OTHERS - ROWS) / PART;
  const staged = PART * VECTORS / TILE_LANES;
  return [
    {
      // The next slab is on its way while this one is multiplied: 32 products of six loads, at fixed places of a line.
      times: times * dots * Math.ceil(VECTORS / SLAB),
      instructions: 3 * (LOAD + STORE) + SLAB * (32 + 6) + 12,
      wavefronts: SUBGROUPS * SLAB * 6 + 2 * ROWS_AND_OTHERS * SLAB * 16 / 128,
      barriers: 2,
      shared: 1,
    },
    {
      // 8 scores of a lane. What is staged whole is on its way meanwhile; the first slab of these others is waited for.
      times,
      instructions: 8 * weights + 40,
      wavefronts: SUBGROUPS * 12,
      cache: 1,
      barriers: sums,
    },
    {
      // By fours of others: their weights, then 16 products of each vector's value.
      times: times * sums * parts,
      instructions: staged * (LOAD + STORE) + PART / 4 * (4 + own * (4 + 64) + 8 + 4 * own),
      wavefronts: SUBGROUPS * PART * (1 + own) + 2 * PART * VECTORS * 16 / 128,
      barriers: parts > 1 ? 2 : 1,
      shared: 2,
    },
  ];
}

/**
 * @param weights instructions of a weight
 * @param registers of a lane beside its sums: 32 partial sums, what is loaded of a slab and staged of the next, whom
 *   the rows see, and places
 */
function inTiles(cost: TileCost, byKeys: boolean, weights: number, registers: number): WorkOf {
  return ({ call, workgroups }, { sequence, prefix, readers }) => {
    const { params, constants, conditions } = call;
    const { rows, heads, kv_heads } = params;
    const { VECTORS, ROWS } = constants;
    const others = ROWS_AND_OTHERS - ROWS;
    const groups = gridOf(workgroups);
    const own = Math.min(sequence, rows);
    const shared = conditions.PREFIX ? prefix : 0;
    const sharing = byKeys ? heads / kv_heads : 1;
    const turnsOf = (...runs: number[]) => runs.reduce((sum, run) => sum + Math.ceil(run / others), 0);
    // A tile goes as far as its last row sees; by keys, as its first row is seen.
    const ownTurns = Array.from(
      { length: Math.ceil(own / ROWS) },
      (_, n) => turnsOf(Math.min(own, (n + 1) * ROWS) * sharing, byKeys ? 0 : shared),
    );
    const ownMean = ownTurns.reduce((sum, turns) => sum + turns, 0) / ownTurns.length;
    const prefixTiles = byKeys && shared > 0 ? Math.ceil(params.prefix_rows / ROWS) * kv_heads : 0;
    const prefixTurns = prefixTiles > 0 ? turnsOf(own * readers * sharing) : 0;
    const mean = (ownMean * (groups - prefixTiles) + prefixTurns * prefixTiles) / groups;
    const pairs = rows * heads * ((own + 1) / 2 + shared);
    const turnBytes = 16 * VECTORS * (cost.dots * ROWS_AND_OTHERS + cost.sums * others);
    return {
      workgroups: groups,
      lanes: TILE_LANES,
      registers: registers + 16 * cost.sums * ownOf(constants),
      workgroupBytes: 16 * (ROWS_AND_OTHERS * (SLAB + 1) + 512 + 64 * constants.BLOCKS),
      chain: [
        { times: 1, instructions: 100, memory: 2 },
        ...tileSteps(constants, cost, weights, mean),
        { times: 4 * ownOf(constants) * cost.sums, instructions: 30, wavefronts: TILE_LANES * 16 / 128 },
      ],
      longest: Math.max(...ownTurns, prefixTurns) / mean,
      memoryBytes: boundBytes(call),
      cacheBytes: groups * mean * turnBytes,
      products: pairs * pairFlops(cost, 4 * VECTORS),
    };
  };
}

/** Keys of a split: kernels/lib/softmax_powers.wgsl. */
const SPLIT = 256;
/** Query heads that a workgroup takes together where several share a key head (GROUPED). */
const GROUPED_HEADS = 4;

/** Bytes of keys and values that a decoding call reads: of memory, each once, and all that `repeats` readers read. */
function cacheReads(
  { call: { params: { rows, kv_heads }, constants: { VECTORS, FORMAT } } }: Called,
  { held, prompt, group }: Seen,
  repeats: number,
): { own: number; all: number } {
  const token = 2 * 4 * VECTORS * kv_heads * valueBytes(FORMAT);
  return {
    own: token * (rows * (held - prompt) + Math.ceil(rows / group) * prompt),
    all: token * rows * held * repeats,
  };
}

const decodeProducts = ({ call: { params, constants } }: Called, { held }: Seen) =>
  4 * params.rows * params.heads * held * 4 * constants.VECTORS;

/** Query heads of a workgroup, and workgroups of all rows for a split. */
function decodeShare({ call: { params: { rows, heads, kv_heads }, conditions } }: Called) {
  const together = conditions.GROUPED ? GROUPED_HEADS : 1;
  const groups = Math.ceil(heads / kv_heads / together);
  return { together, groups, perSplit: rows * kv_heads * groups };
}

/** Scores of a split become weights: the largest is sought by every lane. */
const decodeWeights = (keys: number, lanes: number, together: number): Step => ({
  times: 1,
  instructions: (lanes + Math.ceil(keys / lanes) * 24) * together * 3,
  shared: 4,
  barriers: 2,
});

/** CPUs: a workgroup takes all keys of a row, a lane for each key, then for each column. */
const decode: WorkOf = (called, seen) => {
  const { call } = called;
  const { VECTORS, FORMAT, LANES } = call.constants;
  const { together, groups, perSplit } = decodeShare(called);
  const { own, all } = cacheReads(called, seen, groups);
  const io = boundBytes(call, ["q", "o"]);
  const columns = Math.ceil(4 * VECTORS / LANES);
  return {
    workgroups: perSplit,
    lanes: LANES,
    registers: 96,
    workgroupBytes: 12_000,
    chain: [
      {
        times: seen.held / LANES,
        instructions: VECTORS * (8 + 4 * together),
        wavefronts: VECTORS * LANES,
        cache: VECTORS / 4,
      },
      {
        times: columns * seen.held,
        instructions: 10 + 3 * together,
        wavefronts: spread(LANES, valueBytes(FORMAT)) + 2,
        memory: 1 / 8,
      },
      decodeWeights(Math.min(SPLIT, seen.held), LANES, together),
    ],
    memoryBytes: own + io,
    cacheBytes: all + io,
    products: decodeProducts(called, seen),
  };
};

/** Loads of a lane that attention_decode_split.wgsl has under way together: of keys, and of values. */
const STAGED_AT_ONCE = 8;
const VALUES_AT_ONCE = { alone: 16, grouped: 8 };
/** A read of workgroup memory with its index, held within the array. */
const SHARED_READ = 4;

/**
 * A workgroup for each split of a row's keys: keys staged KEYS at a time and a lane for each, then a vector of columns
 * of the sum for each lane, some values of it under way and those beyond whole such turns one by one.
 */
const decodeSplit: WorkOf = (called, seen) => {
  const { call } = called;
  const { params: { rows, heads, splits }, constants: { VECTORS, FORMAT, LANES, KEYS } } = call;
  const { together, groups, perSplit } = decodeShare(called);
  const { own, all } = cacheReads(called, seen, groups);
  const io = boundBytes(call, ["q", "k", "v"]);
  const reached = Math.min(splits, Math.ceil(seen.held / SPLIT));
  const keys = seen.held / reached; // of a mean split
  const made = 4 * rows * heads * reached * (4 * VECTORS + 4);
  const words = valueBytes(FORMAT) === 4 ? 2 : 1; // of 8 bytes, of a vector
  const width = VECTORS * words;
  const turns = Math.ceil(VECTORS / LANES);
  const staged = KEYS * width / LANES; // of a lane
  const unpack = words === 1 ? 4 : 0;
  const newest = call.conditions.NEWEST ? 1 : 0;
  const inFlight = call.conditions.GROUPED ? VALUES_AT_ONCE.grouped : VALUES_AT_ONCE.alone;
  // Of a value: where it lies, itself, its weight, and the sums.
  const value = SHARED_READ + 5 * words + unpack + SHARED_READ + 5 * together;
  const valueWavefronts = spread(LANES, 8 * words) + 2;
  // The last split of a row is not whole turns; of others the first may be.
  const tail = (inFlight - 1) / 2 / reached;
  return {
    workgroups: perSplit * reached,
    lanes: LANES,
    registers: 40 + 2 * words * inFlight + 4 * together + together,
    workgroupBytes: 4 * SPLIT + 4 * together * (4 * VECTORS * (1 + newest) + SPLIT + LANES) +
      KEYS * 8 * (width | 1),
    chain: [
      // The table names a key's block. Queries come meanwhile, and are turned by their angles.
      {
        times: 1,
        instructions: 80 + keys / LANES * 20 + turns * together * (20 + newest * 50),
        memory: 2,
        cache: 1 + newest,
        barriers: 1 + 2 * newest,
      },
      // A row's last split keeps its newest token.
      { times: newest / reached, instructions: turns * 90, wavefronts: 40, cache: 2, barriers: 2 },
      {
        times: keys / KEYS,
        instructions: staged * (SHARED_READ + 5 + 6 + 4) +
          VECTORS * (SHARED_READ * words + unpack + together * (SHARED_READ + 4)) + 20 * together,
        wavefronts: KEYS * width * 8 / 128 * 2 + KEYS * width * 8 / 128 + VECTORS * together,
        memory: Math.ceil(staged / STAGED_AT_ONCE),
        shared: 2,
        barriers: 2,
      },
      decodeWeights(keys, LANES, together),
      {
        times: turns * Math.max(0, keys - tail) / inFlight,
        instructions: inFlight * value,
        wavefronts: inFlight * valueWavefronts,
        memory: 1,
        shared: 2,
      },
      { times: turns * tail, instructions: value + 4, wavefronts: valueWavefronts, memory: 1, shared: 2 },
      { times: turns * together, instructions: 20, wavefronts: spread(LANES, 16) },
    ],
    longest: Math.min(SPLIT, seen.held) / keys,
    memoryBytes: own + io + made,
    freshBytes: io + made,
    cacheBytes: all + io + made,
    products: decodeProducts(called, seen),
  };
};

/** A subgroup of 8 lanes for a row and HEADS heads, over all splits. */
const decodeSimd8: WorkOf = (called, seen) => {
  const { call, workgroups } = called;
  const { params: { heads, kv_heads }, constants: { VECTORS, HEADS, COLUMNS } } = call;
  const { own, all } = cacheReads(called, seen, heads / kv_heads / HEADS);
  const io = boundBytes(call, ["q", "o"]);
  return {
    workgroups: gridOf(workgroups),
    lanes: 8,
    registers: 128,
    chain: [
      { times: 1, instructions: 40 + 8 * HEADS * VECTORS, memory: 2 },
      {
        times: seen.held / 8,
        instructions: VECTORS * (5 + 4 * HEADS) + 40 * HEADS,
        wavefronts: VECTORS * 8,
        cache: 2,
      },
      { times: seen.held, instructions: COLUMNS / 4 * (8 + 4 * HEADS), wavefronts: COLUMNS / 4, shared: 1 },
    ],
    memoryBytes: own + io,
    cacheBytes: all + io,
    products: decodeProducts(called, seen),
  };
};

/** A workgroup for each row, which adds what was made of its splits. */
const decodeMerge: WorkOf = ({ call, workgroups }, { held }) => {
  const { WG, VECTORS } = call.constants;
  const { rows, heads, splits } = call.params;
  const reached = Math.min(splits, Math.ceil(held / SPLIT));
  const bytes = 4 * rows * heads * (reached * (4 * VECTORS + 4) + 4 * VECTORS);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: 1, instructions: 20, cache: 2 },
      {
        times: Math.ceil(heads * VECTORS / WG) * reached,
        instructions: 44,
        wavefronts: 3 * spread(WG, 16),
        cache: 2,
      },
    ],
    memoryBytes: bytes,
    freshBytes: bytes,
    cacheBytes: bytes,
  };
};

/** A lane for each of `count` shares of what is turned or kept. */
function byShares({ call, workgroups }: Called, heads: number, accesses: number): Work {
  const { WG } = call.constants;
  const bytes = boundBytes(call, ["x", "y", "q", "k", "v", "rotated"]);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: 1, instructions: 60, cache: 2, memory: 0 },
      { times: heads, instructions: 24, wavefronts: accesses * spread(WG, 8), cache: 1 },
    ],
    memoryBytes: bytes,
    freshBytes: bytes,
    cacheBytes: bytes,
    flops: bytes,
  };
}

const stats: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const bytes = boundBytes(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{ times: call.params.vectors, instructions: 14, wavefronts: 2 * WG, cache: 0.5, shared: 0.5 }],
    memoryBytes: bytes,
    cacheBytes: bytes,
    flops: call.params.count * call.params.vectors * 8,
  };
};

const windowed: WorkOf = ({ call, workgroups }) => {
  const { WG } = call.constants;
  const bytes = boundBytes(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{ times: 1, instructions: 30, wavefronts: 5 * spread(WG, 8), cache: 1 }],
    memoryBytes: bytes,
    cacheBytes: bytes,
  };
};

export const ATTENTION_WORKS: Readonly<Record<string, WorkOf>> = {
  ...variants("attention", FORWARD),
  ...variants("attention_grad_q", GRAD_Q),
  ...variants("attention_grad_kv", GRAD_KV, true),
  attention_tile: inTiles(FORWARD, false, 26, 96),
  attention_grad_q_tile: inTiles(GRAD_Q, false, 24, 96),
  attention_grad_kv_tile: inTiles(GRAD_KV, true, 30, 96),
  attention_decode: decode,
  attention_decode_split: decodeSplit,
  attention_decode_merge: decodeMerge,
  attention_decode_simd8: decodeSimd8,
  attention_grad_stats: stats,
  attention_window: windowed,
  rope: (called) => byShares(called, Math.min(4, called.call.params.heads), 4),
  rope_kv: (called) => byShares(called, Math.min(4, called.call.params.heads), 6),
  kv_append: (called) => byShares(called, 1, 8),
};
