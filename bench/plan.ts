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
import { parseModelConfig } from "../src/policy/model_config.ts";
import { emptySource } from "../src/policy/weights.ts";
import { makeLearner } from "../src/train/learner.ts";
import { planMemory, type RunModels } from "../src/train/memory_plan.ts";
import { emptyPolicy } from "../src/assembly/memory.ts";
import { llamaConfig, llamaShapes } from "./random_llama.ts";

/** Llama 7B and Alpaca-7B, stored in bf16. */
const SHAPE = { hidden: 4096, intermediate: 11008, layers: 32, heads: 32, kvHeads: 32, vocab: 32000 };
/** The alignment run: 2 prompts x 30 completions of 512 tokens, trained on one at a time. Prompts are short there. */
const LONGEST_PROMPT = 128;

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

function modelsOf(config: RunConfig): RunModels {
  const shapes = new Map(llamaShapes(SHAPE));
  const source = emptySource(
    (name) => shapes.get(name),
    (name) => shapes.get(name)!.length === 2 ? "bf16" : "f32",
  );
  const model = parseModelConfig(llamaConfig(SHAPE), "7B");
  return {
    makePolicy: () => emptyPolicy(source, model, config),
    makeLearner,
    makeScorer: null,
    longestPrompt: LONGEST_PROMPT,
    longestEvalPrompt: LONGEST_PROMPT,
    evalPrompts: 64,
  };
}

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
await openGpu();
// NVIDIA's, through Vulkan.
const LIMITS = { maxStorageBufferBindingSize: 2 ** 32 - 4, maxBufferSize: 2 ** 40 };
for (const [name, settings] of VARIANTS) {
  const config: RunConfig = {
    ...defaultConfig(),
    beta: 0.01,
    lora_target_modules: "all-linear",
    ...settings,
  };
  const began = performance.now();
  const { peakBytes, parts } = await planMemory(modelsOf(config), config, batchShape(config), 1, LIMITS);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const list = parts.filter(({ bytes }) => bytes > 5e7).map(({ name, bytes }) =>
    `${name} ${gigabytes(bytes)}`
  );
  console.log(`${name}: ${gigabytes(peakBytes)} GB (${list.join(", ")}); planned in ${seconds} s`);
}
await closeGpu();
process.exit(0);
