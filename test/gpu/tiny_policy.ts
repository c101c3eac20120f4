/** A random two-layer Llama with grouped key heads, small enough for a test; or another model of these sizes. */
import { randomFloats } from "../cases/case.ts";
import { makeTrunk } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { type Holding, loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";

export const TINY_CONFIG = {
  model_type: "llama",
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 61,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  eos_token_id: 2,
};

/** Keys of config.json that make another model of the tiny one. */
export type Family = Record<string, string | number | boolean | readonly number[]>;

/** Deterministic values for every tensor of TINY_CONFIG, and for the biases and head norms that a family adds. */
export function tinySource(): WeightSource {
  const { hidden_size: D, intermediate_size: F, vocab_size: V, num_attention_heads: H } = TINY_CONFIG;
  const outputsOf = (name: string): number => {
    if (/k_proj|v_proj/.test(name)) return D / 2;
    return /gate_proj|up_proj/.test(name) ? F : D;
  };
  const shapeOf = (name: string): number[] => {
    if (/embed_tokens|lm_head/.test(name)) return [V, D];
    if (/[qk]_norm/.test(name)) return [D / H];
    if (name.includes("norm")) return [D];
    if (name.endsWith("bias")) return [outputsOf(name)];
    return [outputsOf(name), name.includes("down_proj") ? F : D];
  };
  return hostSource({
    path: "tiny",
    shapeOf,
    read(name) {
      const shape = shapeOf(name);
      const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
      const values = randomFloats(seed, shape.reduce((a, b) => a * b, 1), name.includes("norm") ? 0.2 : 0.35);
      return Promise.resolve(Float32Array.from(values, (value) => name.includes("norm") ? 1 + value : value));
    },
  });
}

export async function tinyPolicy(
  holding: Holding = "frozen",
  source = tinySource(),
  family: Family = {},
): Promise<Policy> {
  const config = parseModelConfig(JSON.stringify({ ...TINY_CONFIG, ...family }), "tiny");
  return makeTrunk(config, await loadPolicyWeights(source, config, holding));
}
