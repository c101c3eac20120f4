/**
 * What a 7B policy takes of a GPU's memory: the plan that a run would print there, made on this machine, with the
 * binding limit of a GPU (4 GiB) in place of its own.
 *
 *   node --import tsx bench/plan.ts          (a minute on two cores)
 */
import { batchShape } from "../src/config/batch.ts";
import { defaultConfig } from "../src/config/schema.ts";
import type { RunConfig } from "../src/config/sweep.ts";
import { closeGpu, openGpu } from "../src/gpu/device.ts";
import { planMemory } from "../src/train/memory_plan.ts";
import { plannedModels } from "./job_model.ts";
import { SHAPES } from "./shapes.ts";

/** The alignment run, trained on one completion at a time, and 64 prompts to evaluate. */
const { shape, promptTokens } = SHAPES["7b"];
const MODEL = { shape, format: "bf16", promptTokens, evalPrompts: 64 } as const;
/** NVIDIA's, through Vulkan. */
const LIMITS = { maxStorageBufferBindingSize: 2 ** 32 - 4, maxBufferSize: 2 ** 40 };
/** Parts that are smaller are not listed. */
const LISTED_BYTES = 5e7;

const VARIANTS: [string, Partial<RunConfig>][] = [
  ["LoRA r 16, all linear layers", { use_peft: true }],
  ["the same, 16-bit KV cache", { use_peft: true, kv_cache_dtype: "float16" }],
  ["the same, every layer's activations kept", {
    use_peft: true,
    kv_cache_dtype: "float16",
    gradient_checkpointing: false,
  }],
  ["all weights, f32", { kv_cache_dtype: "float16" }],
];

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
await openGpu();
for (const [name, settings] of VARIANTS) {
  const config: RunConfig = {
    ...defaultConfig(),
    beta: 0.01,
    lora_target_modules: "all-linear",
    ...settings,
  };
  const began = performance.now();
  const models = plannedModels(MODEL, config);
  const { peakBytes, parts } = await planMemory(
    models,
    config,
    batchShape(config),
    { rowsPerPass: 1 },
    LIMITS,
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const listed = parts.filter(({ bytes }) => bytes > LISTED_BYTES)
    .map(({ name, bytes }) => `${name} ${gigabytes(bytes)}`);
  console.log(`${name}: ${gigabytes(peakBytes)} GB (${listed.join(", ")}); planned in ${seconds} s`);
}
await closeGpu();
process.exit(0);
