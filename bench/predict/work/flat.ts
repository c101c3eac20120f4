/** Works of kernels that go through flat tensors: element by element, packing, and the optimizer. */
import { boundBytes, type Called, gridOf, spread, vectorOf, type Work, type WorkOf } from "../work.ts";

/** What a kernel does with one element (VEC4: of the vec4's four). */
interface Element {
  /** Instructions of its arithmetic. */
  arithmetic: number;
  loads: number;
  stores: number;
}

/** A span of SPAN values or vec4s a workgroup, WG at a time (kernels/lib/span.wgsl). */
function spans({ call, workgroups }: Called, { arithmetic, loads, stores }: Element): Work {
  const { WG, SPAN } = call.constants;
  const width = vectorOf(call);
  const touched = loads + stores;
  const bytes = boundBytes(call);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [{
      times: Math.ceil(SPAN / WG),
      instructions: width * arithmetic + 3 * touched + 4,
      wavefronts: touched * spread(WG, 4 * width),
      memory: 1,
    }],
    memoryBytes: bytes,
    freshBytes: bytes,
    cacheBytes: bytes,
    flops: call.params.count * width * arithmetic,
  };
}

const elementwise = (element: Element): WorkOf => (called) => spans(called, element);

/** Of weights, which nothing has just touched. */
const stored = (element: Element): WorkOf => (called) => ({ ...spans(called, element), freshBytes: 0 });

/**
 * A workgroup goes through a span and reduces it to one number.
 * @param operand what is read @param of instructions of a turn, and bytes that a lane reads in it
 */
const overSpans = (operand: string, of: { instructions: number; bytes: number }): WorkOf => (called) => {
  const { WG, SPAN } = called.call.constants;
  const read = boundBytes(called.call, [operand]);
  const turn = { instructions: of.instructions, wavefronts: spread(WG, of.bytes), memory: 1 };
  return {
    workgroups: gridOf(called.workgroups),
    lanes: WG,
    chain: [
      { times: Math.ceil(SPAN / WG), ...turn },
      { times: Math.log2(WG), instructions: 8, shared: 1, barriers: 1 },
    ],
    memoryBytes: read,
    cacheBytes: read,
  };
};

/** A value of each row, kept in its place (LOGPROBS), and one for all. */
const advance: WorkOf = ({ call, workgroups }) => {
  const rows = call.params.rows ?? 0;
  return {
    workgroups: gridOf(workgroups),
    lanes: call.constants.WG,
    chain: [
      { times: 1, instructions: 10, cache: 2, barriers: 1 },
      {
        times: Math.ceil(rows / call.constants.WG),
        instructions: 12,
        wavefronts: call.constants.WG,
        cache: 1,
      },
    ],
    memoryBytes: 8 * rows,
    cacheBytes: 64 * rows + 64,
  };
};

export const FLAT_WORKS: Readonly<Record<string, WorkOf>> = {
  add: (called) => spans(called, { arithmetic: 1, loads: called.call.conditions.ONLY_B ? 1 : 2, stores: 1 }),
  geglu: elementwise({ arithmetic: 20, loads: 2, stores: 1 }),
  geglu_grad: elementwise({ arithmetic: 32, loads: 3, stores: 2 }),
  swiglu: elementwise({ arithmetic: 20, loads: 2, stores: 1 }),
  swiglu_grad: elementwise({ arithmetic: 26, loads: 3, stores: 2 }),
  pack: stored({ arithmetic: 6, loads: 1, stores: 1 }),
  unpack: stored({ arithmetic: 2, loads: 1, stores: 1 }),
  mix: stored({ arithmetic: 4, loads: 2, stores: 1 }),
  // Of each value weight, both moments and the gradient are read and written.
  adamw: (called) => {
    const work = spans(called, { arithmetic: 30, loads: 4, stores: 4 });
    return { ...work, memoryBytes: 2 * work.memoryBytes, freshBytes: 0, cacheBytes: 2 * work.cacheBytes };
  },
  square_sums: (called) => {
    const work = spans(called, { arithmetic: 1, loads: 1, stores: 0 });
    const read = boundBytes(called.call, ["x"]);
    const tree = { times: Math.log2(called.call.constants.WG), instructions: 8, shared: 1, barriers: 1 };
    return { ...work, chain: [...work.chain, tree], memoryBytes: read, freshBytes: 0, cacheBytes: read };
  },
  clip_scale: ({ call, workgroups }) => ({
    workgroups: gridOf(workgroups),
    lanes: call.constants.WG,
    chain: [
      { times: Math.ceil(call.params.count / call.constants.WG), instructions: 8, wavefronts: 2, cache: 1 },
      { times: Math.log2(call.constants.WG), instructions: 8, shared: 1, barriers: 1 },
    ],
    memoryBytes: 4 * call.params.count,
    cacheBytes: 4 * call.params.count,
  }),
  decode_advance: advance,
  // Of a term: ten rounds of Philox for four values, and for each a logarithm, a root, a sine or cosine.
  add_noise: (called) =>
    spans(called, {
      arithmetic: called.call.params.terms * 90 + 6,
      loads: 1 + called.call.params.terms,
      stores: 1,
    }),
  weight_largest: overSpans("w", { instructions: 24, bytes: 16 }),
  word_sums: overSpans("words", { instructions: 14, bytes: 4 }),
  nonfinite: overSpans("words", { instructions: 14, bytes: 4 }),
  weight_shift: ({ call, workgroups }) => ({
    workgroups: gridOf(workgroups),
    lanes: call.constants.WG,
    chain: [
      { times: Math.ceil(call.params.count / call.constants.WG), instructions: 8, wavefronts: 2, cache: 1 },
      { times: Math.log2(call.constants.WG), instructions: 8, shared: 1, barriers: 1 },
    ],
    memoryBytes: 4 * call.params.count,
    cacheBytes: 4 * call.params.count,
  }),
};
