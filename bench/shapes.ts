/** Model shapes that benchmarks go by, with the settings under which a training step of each is of a bearable size. */
import type { RunConfig } from "../src/config/sweep.ts";
import type { LlamaShape } from "./random_llama.ts";

export interface NamedShape {
  shape: LlamaShape;
  /** Tokens of each prompt. */
  promptTokens: number;
  settings: Partial<RunConfig>;
}

/** The alignment run: 2 prompts x 30 completions of 512 tokens. Prompts are short there. */
const ALIGNMENT = { num_generations: 30, max_completion_length: 512, use_peft: true };

export const SHAPES: Readonly<Record<string, NamedShape>> = {
  // models/quickstart and configs/quickstart.yaml.
  quickstart: {
    shape: { hidden: 64, intermediate: 128, layers: 2, heads: 4, kvHeads: 2, vocab: 1024 },
    promptTokens: 24,
    settings: {
      num_generations: 8,
      per_device_train_batch_size: 64,
      gradient_accumulation_steps: 1,
      max_completion_length: 32,
      readback_every: 8,
      scorer_batch_size: 64,
    },
  },
  "15m": {
    shape: { hidden: 384, intermediate: 1024, layers: 5, heads: 6, kvHeads: 6, vocab: 8192 },
    promptTokens: 192,
    settings: {
      num_generations: 4,
      per_device_train_batch_size: 8,
      gradient_accumulation_steps: 1,
      max_completion_length: 64,
    },
  },
  // The shape of JackFram/llama-160m.
  "160m": {
    shape: { hidden: 768, intermediate: 3072, layers: 12, heads: 12, kvHeads: 12, vocab: 32000 },
    promptTokens: 32,
    settings: {
      num_generations: 4,
      per_device_train_batch_size: 2,
      gradient_accumulation_steps: 4,
      max_completion_length: 24,
    },
  },
  // TinyLlama.
  "1b": {
    shape: { hidden: 2048, intermediate: 5632, layers: 22, heads: 32, kvHeads: 4, vocab: 32000 },
    promptTokens: 128,
    settings: { ...ALIGNMENT, per_device_train_batch_size: 4, gradient_accumulation_steps: 15 },
  },
  // Llama 7B and Alpaca-7B.
  "7b": {
    shape: { hidden: 4096, intermediate: 11008, layers: 32, heads: 32, kvHeads: 32, vocab: 32000 },
    promptTokens: 128,
    settings: { ...ALIGNMENT, per_device_train_batch_size: 1, gradient_accumulation_steps: 60 },
  },
};

/** @throws RangeError when there is no such shape */
export function namedShape(name: string): NamedShape {
  const found = SHAPES[name];
  if (found) return found;
  throw new RangeError(`Unknown shape "${name}"; shapes: ${Object.keys(SHAPES).join(", ")}`);
}
