/** The ways in which the tests of kernels are run again: what differs between GPUs, as software Vulkan can show it. */
import { filesUnder, textOf } from "../unit/source_files.ts";

export interface Pass {
  title: string;
  files: readonly string[];
  /** Modules that are loaded before a test file. */
  preloads?: readonly string[];
  environment?: Readonly<Record<string, string>>;
  /** Whether it needs the newer Vulkan of scripts/newer_vulkan.mjs. */
  needsNewerVulkan?: boolean;
}

const GPU_LANES = "test/gpu_variants/gpu_lanes.ts";
const POISON = "test/gpu_variants/poisoned_memory.ts";
/** Toggles of Dawn: it clears no memory, and does not keep a kernel from going beyond its bindings and arrays. */
const UNCHECKED = {
  GRPO_WEBGPU_DAWN_TOGGLES: [
    "disable_workgroup_init",
    "-lazy_clear_resource_on_first_use",
    "nonzero_clear_resources_on_creation_for_testing",
    "disable_robustness",
  ].join(","),
  // Each thread has its own memory for workgroups: the one that is poisoned is to be the one that runs the kernel.
  LP_NUM_THREADS: "1",
};
/** Those that show that a pass is what it says. */
const holds = (name: string) => `test/gpu_variants/${name}.test.ts`;
const named = (...names: string[]) => names.map((name) => `test/gpu/${name}.test.ts`);
/** Lanes in a subgroup of software Vulkan: its vector register in bits, 32 of them a lane. */
const lanes = (count: number) => ({ LP_NATIVE_VECTOR_WIDTH: String(32 * count) });

/** Tests that a stated adapter has nothing to do with, or that state one themselves. */
const OWN_DEVICE = /bench|gpu_report|kernel_measuring|lost_device|planned_gpu|profile|folded_grids/;
const all = filesUnder("test/gpu", ".test.ts").filter((file) => !OWN_DEVICE.test(file));
const MATRICES = /MatmulPrecision|Float16|matrixUnits/;

/** Compiling a GPU's kernels takes a CPU minutes, so the passes share out what is run: each kernel is in one at least. */
const KERNELS = named("ops", "attention_decode", "fused_bits", "linear_bits", "packed_nans", "final_logits");
const MODELS = named("policy", "generation");
const TRAINING = named(
  "accumulation",
  "adapters",
  "attention_prefix",
  "optimizer",
  "policy_edges",
  "sampler_logprobs",
  "sampling_options",
  "score_model",
  "shared_prefix",
);

export const PASSES: readonly Pass[] = [
  {
    title: "a GPU's kernels, all memory poisoned, no access checked",
    files: [holds("gpu_lanes"), holds("poisoned_memory"), ...KERNELS, ...MODELS],
    preloads: [GPU_LANES, POISON],
    // Other tests have the rest of the formats and widths, which a new machine compiles for ten minutes.
    environment: { ...UNCHECKED, GRPO_TEST_FEWER_CASES: "1" },
  },
  {
    title: "this device's kernels, all memory poisoned, no access checked",
    files: [holds("poisoned_memory"), ...named("attention_decode", "policy")],
    preloads: [POISON],
    environment: UNCHECKED,
  },
  { title: "a GPU's kernels, in training", files: [holds("gpu_lanes"), ...TRAINING], preloads: [GPU_LANES] },
  {
    title: "a GPU's attention in tiles, its decoding, and its folded grids",
    files: [holds("attention_tiles"), holds("folded_grids"), holds("sampler_equals_trainer")],
  },
  {
    title: "decoding in a GPU's lanes beside this device's",
    files: named("ops", "folded_grids", "plain_kernels"),
    environment: { GRPO_TEST_GPU_LANES: "1" },
  },
  {
    title: "matrix units",
    files: [holds("matrix_device"), ...all.filter((file) => MATRICES.test(textOf(file)))],
    needsNewerVulkan: true,
  },
  {
    title: "subgroups of 4 lanes",
    files: [holds("subgroup_lanes"), ...named("ops", "attention_decode")],
    environment: lanes(4),
  },
  {
    title: "subgroups of 16 lanes",
    files: [holds("subgroup_lanes"), ...named("attention_decode", "linear_bits", "policy")],
    environment: lanes(16),
  },
  { title: "SPIR-V", files: [holds("spirv")] },
];
