/** Works of kernels over logits, of the loss, and of sampling. */
import {
  boundBytes,
  type Called,
  gridOf,
  spread,
  type Step,
  vectorOf,
  type Work,
  type WorkOf,
} from "../work.ts";

/** A tree over the lanes of a workgroup. */
const tree = (lanes: number, instructions: number): Step => ({
  times: Math.log2(lanes),
  instructions,
  shared: 1,
  barriers: 1,
});

/** A workgroup for each row of logits, which goes through it once. @param each instructions of a value */
function rowOfLogits(
  { call }: Called,
  { rows, each, writes, together }: { rows: number; each: number; writes: boolean; together: number },
): Work {
  const { WG } = call.constants;
  const values = vectorOf(call);
  const loads = Math.ceil(call.params.columns / values / WG);
  const bytes = rows * call.params.columns * 4 * (writes ? 2 : 1);
  return {
    workgroups: rows,
    lanes: WG,
    chain: [
      { times: 1, instructions: 20, cache: 1 },
      {
        times: Math.ceil(loads / together),
        instructions: together * (values * each + 4),
        wavefronts: together * (writes ? 2 : 1) * spread(WG, 4 * values),
        memory: 1,
      },
      tree(WG, 40),
    ],
    memoryBytes: bytes,
    cacheBytes: bytes,
    flops: rows * call.params.columns * each,
  };
}

/** A workgroup for each completion, over its tokens. @param tokens binding that has a value for each */
function completions(called: Called, loads: number, tokens: string): Work {
  const { call, workgroups } = called;
  const { WG } = call.constants;
  const bytes = boundBytes(call);
  const times = Math.ceil(call.bytes[tokens] / 4 / gridOf(workgroups) / WG);
  return {
    workgroups: gridOf(workgroups),
    lanes: WG,
    chain: [
      { times, instructions: 60 + 3 * loads, wavefronts: loads * spread(WG, 4), cache: 1 },
      { ...tree(WG, 12), times: 2 * Math.log2(WG) },
    ],
    memoryBytes: bytes,
    cacheBytes: bytes,
  };
}

/** As `sample`, by quads: four of a lane under way together, and blocks of neighbouring ones. */
function sampleQuads({ call }: Called): Work {
  const { rows, vocab, temperature } = call.params;
  const { WG, SCRATCH, BLOCKS } = call.constants;
  const isFiltered = call.conditions.FILTER;
  const pass = (ofQuad: number): Step => ({
    times: Math.ceil(vocab / 16 / WG),
    instructions: 4 * (5 + ofQuad),
    wavefronts: 4 * spread(WG, 16),
    cache: 1,
  });
  const ofBlock = Math.ceil(vocab / 4 / WG / BLOCKS);
  // Quads of a block share lines, of which the core's own cache holds all but the first.
  const blocks: Step = {
    times: BLOCKS,
    instructions: 8 + ofBlock * (5 + 4 * (isFiltered ? 22 : 16)),
    wavefronts: ofBlock * spread(WG, Math.min(128, 16 * ofBlock)),
    cache: 1,
    shared: ofBlock - 1,
  };
  const draw = temperature > 0
    ? [blocks, { times: 1, instructions: 8 * BLOCKS + 6 * WG, shared: WG, barriers: 4 }]
    : [];
  // Each lane counts in a histogram of its own, and the lanes' are added up; a bin's tokens are listed and searched.
  const filter = isFiltered
    ? [
      { ...pass(4 * 36), shared: 4 },
      pass(4 * 16),
      { times: 1, instructions: 32 * WG, shared: 5 * WG, barriers: 20 },
    ]
    : [];
  const bytes = 4 * rows * vocab;
  return {
    workgroups: rows,
    lanes: WG,
    workgroupBytes: 4 * (SCRATCH + 2 * WG + (isFiltered ? call.constants.LISTED : 0)),
    chain: [pass(14), tree(WG, 20), ...filter, ...draw],
    memoryBytes: bytes,
    cacheBytes: bytes * (isFiltered ? 4 : 2),
    flops: rows * vocab * 8,
  };
}

/** Passes of a sampling workgroup over its row: every lane its own run of it, or every WG-th value. */
function sample(called: Called): Work {
  const { call } = called;
  if (call.conditions.VEC4) return sampleQuads(called);
  const { rows, vocab } = call.params;
  const { WG } = call.constants;
  const times = Math.ceil(vocab / WG);
  const strided = (instructions: number): Step => ({
    times,
    instructions,
    wavefronts: spread(WG, 4),
    cache: 1,
  });
  // Lanes far apart: a wavefront for each; of a line, the values that follow are in the core's own cache.
  const run: Step = { times, instructions: 20, wavefronts: WG, shared: 1, cache: 1 / 8 };
  const isFiltered = call.conditions.FILTER;
  const bytes = 4 * rows * vocab;
  // The histogram of a threshold goes over the row, and what its bin holds is listed in another go.
  const filter = isFiltered
    ? [strided(40), strided(20), { times: 1, instructions: 2000, shared: 300, barriers: 20 }]
    : [];
  const draw = call.params.temperature > 0
    ? [run, { times: 1, instructions: 600, shared: WG, barriers: 4 }]
    : [];
  return {
    workgroups: rows,
    lanes: WG,
    workgroupBytes: isFiltered ? 12_600 : 8_800,
    chain: [strided(8), tree(WG, 20), ...filter, ...draw],
    memoryBytes: bytes,
    cacheBytes: bytes * (isFiltered ? 4 : 2),
    flops: rows * vocab * 8,
  };
}

export const HEAD_WORKS: Readonly<Record<string, WorkOf>> = {
  final_logits: ({ call, workgroups }) => {
    const { WG, SPAN } = call.constants;
    const values = vectorOf(call);
    const bytes = boundBytes(call);
    const arithmetic = call.conditions.SOFTCAP ? 20 : 1;
    return {
      workgroups: gridOf(workgroups),
      lanes: WG,
      chain: [{
        times: Math.ceil(SPAN / WG),
        instructions: values * arithmetic + 10,
        wavefronts: 2 * spread(WG, 4 * values),
        memory: 1,
      }],
      memoryBytes: bytes,
      cacheBytes: bytes,
      flops: call.params.count * values * arithmetic,
    };
  },
  token_logprobs: (called) =>
    rowOfLogits(called, { rows: called.call.params.rows, each: 14, writes: false, together: 4 }),
  token_logprobs_grad: (called) =>
    rowOfLogits(called, { rows: called.call.params.rows, each: 12, writes: true, together: 1 }),
  group_advantages: ({ call, workgroups }) => ({
    workgroups: gridOf(workgroups),
    lanes: call.constants.WG,
    chain: [{ times: 3 * call.params.group_size, instructions: 12, cache: 1 }],
    memoryBytes: 8 * call.params.count,
    cacheBytes: 8 * call.params.count,
  }),
  grpo_loss: (called) => completions(called, 4, "logp"),
  grpo_loss_grad: (called) => completions(called, 4, "logp"),
  sampler_weights: (called) => completions(called, 3, "trainer"),
  policy_weights: (called) => completions(called, 4, "weights"),
  entropy_bonus: (called) => completions(called, 2, "entropy"),
  entropy_bonus_grad: (called) => completions(called, 2, "dentropy"),
  sample,
};
