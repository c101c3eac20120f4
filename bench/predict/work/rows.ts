/** Works of kernels that copy or norm rows. */
import {
  boundBytes,
  type Called,
  gridOf,
  spread,
  type Step,
  valueBytes,
  vectorOf,
  type Work,
  type WorkOf,
} from "../work.ts";

/** Rows of a table that are picked, a workgroup for each `share` of them. @param read bytes of a value of the source */
function picked({ call, workgroups }: Called, rows: number, read: number): Work {
  const { width, share } = call.params;
  const { WG } = call.constants;
  const values = vectorOf(call);
  const bytes = rows * width * values * (read + 4);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: share, instructions: 12, cache: 1 },
      {
        times: share * Math.ceil(width / WG),
        instructions: 10 + values,
        wavefronts: spread(WG, read * values) + spread(WG, 4 * values),
        memory: 1,
      },
    ],
    memoryBytes: bytes,
    cacheBytes: bytes,
  };
}

/** A lane for each value of a row, which goes through all rows. @param loads of a row, @param bytes of all operands */
function byColumns({ call, workgroups }: Called, rows: number, loads: number, bytes: number): Work {
  const { WG } = call.constants;
  const values = vectorOf(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{
      times: rows,
      instructions: 6 + loads * 3 + 2 * values,
      wavefronts: loads * spread(WG, 4 * values),
      memory: 1,
    }],
    memoryBytes: bytes,
    cacheBytes: bytes,
  };
}

/** Columns of all rows: slabs of them come to workgroup memory, the next while a lane of each column adds this one. */
function bySlabs({ call, workgroups }: Called): Work {
  const { WG, COLUMNS } = call.constants;
  const slabRows = 8 * WG / COLUMNS;
  const slabs = Math.ceil(call.params.rows / slabRows);
  const bytes = boundBytes(call, ["x", "dy"]);
  const subgroups = WG / 32;
  const wavefronts = 16 * spread(WG, 4);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    registers: 64,
    workgroupBytes: 64 * WG,
    chain: [
      { times: 1, instructions: 100, memory: 2 },
      {
        times: slabs,
        // Each lane's loads and stores; the chain is one subgroup's of the workgroup, four rows at a time.
        instructions: 24 * 5 + 16 * 4 + slabRows * 10 / subgroups,
        wavefronts: 2 * wavefronts + slabRows * 2,
        ahead: 1,
        shared: slabRows / 4,
        barriers: 2,
      },
    ],
    memoryBytes: bytes,
    freshBytes: bytes,
    cacheBytes: bytes,
  };
}

/** A token's slice of the table a workgroup: who else is of its kind, and what these pull, one after the other. */
function byTableRows({ call, workgroups }: Called): Work {
  const { tokens, slices } = call.params;
  const { WG } = call.constants;
  const bytes = 3 * call.bytes.dy;
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    workgroupBytes: 1056,
    chain: [
      { times: 1, instructions: 60, cache: 1, barriers: 3 },
      {
        times: Math.ceil(tokens / 4 / WG),
        instructions: 4 * 10,
        wavefronts: 4 * spread(WG, 4),
        cache: 1,
      },
      // Eight words that are mostly empty, and a token of its own kind.
      {
        times: 1,
        instructions: 8 * 6 + 50,
        wavefronts: 3 * spread(WG, 4 * vectorOf(call)),
        memory: 2,
        shared: 8,
      },
    ],
    memoryBytes: bytes,
    cacheBytes: bytes + 4 * tokens * tokens * slices,
  };
}

/** LANES lanes a row: a pass that sums and a pass that writes. @param loads of a value in the first and the second */
function normed({ call, workgroups }: Called, loads: [number, number]): Work {
  const { WG, LANES } = call.constants;
  const values = vectorOf(call);
  const times = Math.ceil(call.params.width / values / LANES);
  const pass = (count: number, stores: number): Step => ({
    times,
    instructions: 3 * (count + stores) + 3 * values,
    wavefronts: (count + stores) * spread(WG, 4 * values),
    cache: 1,
  });
  const bytes = boundBytes(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times: 1, instructions: 20, memory: 1 },
      pass(loads[0], 0),
      { times: 1, instructions: 40, shared: 10, barriers: 2 },
      pass(loads[1], 1),
    ],
    memoryBytes: bytes,
    freshBytes: bytes,
    cacheBytes: bytes + boundBytes(call, ["x", "dy"]),
    flops: call.params.rows * call.params.width * 6,
  };
}

/** A row a workgroup: staged by all lanes, summed by 32 of them, written by all. */
function normedStaged({ call, workgroups }: Called): Work {
  const { WG } = call.constants;
  const bytes = boundBytes(call);
  const quads = call.params.width / 4;
  const turns = Math.ceil(quads / WG);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    workgroupBytes: 4 * call.params.width + 160,
    chain: [
      { times: 1, instructions: 20, memory: 1, barriers: 1 },
      { times: turns, instructions: 9, wavefronts: 2 * spread(WG, 16) },
      { times: Math.ceil(quads / 32), instructions: 8, wavefronts: 4, shared: 1 },
      { times: 1, instructions: 40, shared: 10, barriers: 2 },
      { times: turns, instructions: 24, wavefronts: 3 * spread(WG, 16), shared: 1 },
      { times: 1, instructions: 4, cache: 1 },
    ],
    memoryBytes: bytes,
    cacheBytes: bytes,
    flops: call.params.rows * call.params.width * 6,
  };
}

export const ROW_WORKS: Readonly<Record<string, WorkOf>> = {
  columns: ({ call, workgroups }) => {
    const values = vectorOf(call);
    const { WG } = call.constants;
    const bytes = 8 * call.params.count * values;
    return {
      workgroups: gridOf(workgroups),
      lanes: WG,
      chain: [{ times: 1, instructions: 60, wavefronts: 2 * spread(WG, 4 * values), memory: 1 }],
      memoryBytes: bytes,
      freshBytes: bytes,
      cacheBytes: bytes,
    };
  },
  embedding: (called) => {
    const { params, constants } = called.call;
    return picked(called, params.tokens, valueBytes(constants.FORMAT));
  },
  gather_rows: (called) => picked(called, called.call.params.picked, 4),
  embedding_grad: (called) => {
    const { params: { tokens }, bytes } = called.call;
    // Rows of the table that tokens have are read and written.
    return byColumns(called, tokens, 4, 3 * bytes.dy);
  },
  embedding_grad_rows: byTableRows,
  rms_norm: (called) => called.call.conditions.STAGED ? normedStaged(called) : normed(called, [1, 2]),
  rms_norm_grad: (called) => normed(called, [3, called.call.conditions.RESIDUAL ? 4 : 3]),
  rms_norm_weight_grad_slabs: bySlabs,
  rms_norm_weight_grad: (called) => {
    return byColumns(called, called.call.params.rows, 3, boundBytes(called.call, ["x", "dy"]));
  },
};
