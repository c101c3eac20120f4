/** Faults of attention in tiles, as GPUs run it. */
import type { Fault } from "../fault.ts";

const TILES = "gpu_variants/attention_tiles.test.ts";

export const faults: readonly Fault[] = [
  {
    file: "kernels/attention/attention_tile.wgsl",
    find: "if (place % SPLIT == 0u && place > 0u) {",
    replace: "if (place % SPLIT == 0u && place > SPLIT) {",
    harm: "on a GPU, the first 512 keys are summed in one split in training and in two in decoding",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_tile.wgsl",
    find: "i32(bound.x) - before",
    replace: "i32(bound.x)",
    harm: "on a GPU, splits begin at other keys after a shared prompt than in decoding",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_tile.wgsl",
    find: "(rows >= vec4u(run.rows.x)) & (rows < vec4u(run.rows.y))",
    replace: "rows >= vec4u(run.rows.x)",
    harm: "on a GPU, the split that a completion has open after its prompt ends where its neighbour's does",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_tile.wgsl",
    find: "if (any(risen > most)) {",
    replace: "if (any(risen > most + 1000.0)) {",
    harm: "on a GPU, weights of scores that rise late are infinite",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_tile.wgsl",
    find: "min(OTHERS, SPLIT - place % SPLIT)",
    replace: "OTHERS",
    harm: "on a GPU, keys of the next split are added to the one before",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_grad_q_tile.wgsl",
    find: "run.end = last + 1u;",
    replace: "run.end = last;",
    harm: "on a GPU, the last query of a tile learns nothing of its own key",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_grad_kv_tile.wgsl",
    find: "pair = bounds_of(pair / sharing()).y * sharing();",
    replace: "pair = bounds_of(pair / sharing()).y * sharing() + 1u;",
    harm: "on a GPU, prompts learn nothing from the first query after a sequence that slid past them",
    tests: [TILES],
  },
  {
    file: "kernels/attention/attention_grad_kv_tile.wgsl",
    find: "(rows >= vec4u(first_key(tile, min(one_query, last_query))));",
    replace: "(rows >= vec4u(0u));",
    harm: "on a GPU, keys learn from queries that slid past them",
    tests: [TILES],
  },
  {
    file: "kernels/lib/attention_packed.wgsl",
    find: "max(params.window, place + 1u) - (place + 1u)",
    replace: "max(params.window, place) - place",
    harm: "on a GPU, a completion sees one token more of its prompt than its window holds",
    tests: [TILES],
  },
  {
    file: "kernels/lib/attention_slabs.wgsl",
    find: "select(vec4f(), value, c < VECTORS)",
    replace: "value",
    harm: "on a GPU, heads whose width is no multiple of 32 count their last columns twice",
    tests: [TILES],
  },
  {
    file: "kernels/lib/attention_slabs.wgsl",
    find: "(OWN == 2u && last)",
    replace: "OWN == 2u",
    harm:
      "on a GPU, lanes beyond an odd width add what lies behind the values: time alone, for nobody stores it",
    tests: [TILES],
    equivalent: "what a lane without such a vector sums is never stored",
  },
  {
    file: "src/ops/attention/attention_tiles.ts",
    find: "tilesOf(kernel, pass.prefixRows ?? 0) + tilesOf(kernel, pass.rows)",
    replace: "tilesOf(kernel, (pass.prefixRows ?? 0) + pass.rows)",
    harm: "on a GPU, the last keys of a batch have no gradient behind some prompts",
    tests: [TILES],
  },
  {
    file: "src/ops/attention/attention_tiles.ts",
    find: 'kernel === "attention_tile" ? powerScale(shape) : scale',
    replace: "scale",
    harm: "on a GPU, attention weighs by powers of two what is to be weighed by powers of e",
    tests: [TILES],
  },
];
