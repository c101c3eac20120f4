/** Tiny random models of the families that hold or compute what plain Llama does not. */
import { randomFloats } from "../cases/case.ts";
import { makeTrunk } from "../../src/policy/transformer.ts";
import type { ModelConfig } from "../../src/policy/families/family.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { type Holding, loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";
import { type Family, TINY_CONFIG } from "./tiny_policy.ts";

/** Families with weights or arithmetic that plain Llama lacks. */
export const FAMILIES: Record<string, Family> = {
  "Llama with biases": { attention_bias: true, mlp_bias: true },
  "Qwen2": { model_type: "qwen2" },
  "Qwen3 with biases": { model_type: "qwen3", head_dim: 8, attention_bias: true },
  "OLMo 2": { model_type: "olmo2" },
  "Granite with biases": {
    model_type: "granite",
    embedding_multiplier: 3,
    residual_multiplier: 0.5,
    attention_multiplier: 0.3,
    logits_scaling: 2,
    attention_bias: true,
    mlp_bias: true,
  },
  "SmolLM3": { model_type: "smollm3", no_rope_layers: [0, 1] },
  "Phi-3": { model_type: "phi3", sliding_window: 5, partial_rotary_factor: 0.5 },
  "Gemma 2": { model_type: "gemma2", head_dim: 12, sliding_window: 4, query_pre_attn_scalar: 9 },
  "Gemma 3": { model_type: "gemma3_text", head_dim: 8, sliding_window: 6, sliding_window_pattern: 2 },
};

/** The tiny config with keys of a family. */
export const tinyConfigOf = (family: Family) =>
  parseModelConfig(JSON.stringify({ ...TINY_CONFIG, ...family }), "family");

/** Random weights of the shapes that a config implies. */
export function familySource(config: ModelConfig): WeightSource {
  const { layout, hiddenSize, vocabSize, unitOffsetNorms } = config;
  const shapes = new Map<string, number[]>([
    [layout.embedding, [vocabSize, hiddenSize]],
    [layout.head, [vocabSize, hiddenSize]],
    [layout.norm, [hiddenSize]],
  ]);
  for (let l = 0; l < config.layers; l++) {
    layout.layerParameters(config).forEach(([, name, shape]) =>
      shapes.set(layout.layerPrefix(l) + name, shape)
    );
  }
  return hostSource({
    path: "family",
    shapeOf: (name) => shapes.get(name),
    read(name) {
      const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
      const values = randomFloats(seed, shapes.get(name)!.reduce((a, b) => a * b, 1), 0.35);
      const centre = name.includes("norm") && !unitOffsetNorms ? 1 : 0;
      return Promise.resolve(Float32Array.from(values, (value) => centre + value));
    },
  });
}

export async function familyPolicy(family: Family, holding: Holding = "frozen"): Promise<Policy> {
  const config = tinyConfigOf(family);
  return makeTrunk(config, await loadPolicyWeights(familySource(config), config, holding));
}
