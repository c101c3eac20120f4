/** A Llama of any shape with random weights, as a sharded bf16 checkpoint. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TensorSource, writeSafetensors } from "../src/io/tensors/safetensors.ts";

export interface LlamaShape {
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocab: number;
}

/** Text of config.json. */
export function llamaConfig(shape: LlamaShape): string {
  const config = {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    vocab_size: shape.vocab,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    eos_token_id: 2,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** Names and shapes of all tensors, in file order. */
export function llamaShapes(shape: LlamaShape): [name: string, shape: number[]][] {
  const { hidden: D, intermediate: F, layers, heads, kvHeads, vocab } = shape;
  const K = D * kvHeads / heads;
  const layer: [string, number[]][] = [
    ["input_layernorm", [D]],
    ["self_attn.q_proj", [D, D]],
    ["self_attn.k_proj", [K, D]],
    ["self_attn.v_proj", [K, D]],
    ["self_attn.o_proj", [D, D]],
    ["post_attention_layernorm", [D]],
    ["mlp.gate_proj", [F, D]],
    ["mlp.up_proj", [F, D]],
    ["mlp.down_proj", [D, F]],
  ];
  const shapes: [string, number[]][] = [["model.embed_tokens.weight", [vocab, D]]];
  for (let l = 0; l < layers; l++) {
    for (const [name, own] of layer) shapes.push([`model.layers.${l}.${name}.weight`, own]);
  }
  return [...shapes, ["model.norm.weight", [D]], ["lm_head.weight", [vocab, D]]];
}

/** Small numbers of both signs, as bf16 bits: hashes of the index, about 1/64; norms are 1. */
function randomBf16(count: number, isNorm: boolean): Uint8Array {
  const words = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const hash = Math.imul(i + 1, 0x9e3779b1) >>> 16;
    words[i] = isNorm ? 0x3f80 : 0x3c00 | (hash & 0x807f);
  }
  return new Uint8Array(words.buffer);
}

/** Writes config.json and the shards, one tensor at a time. */
export async function writeRandomLlama(dir: string, shape: LlamaShape, shards: number): Promise<void> {
  const all = llamaShapes(shape).map(([name, own]): TensorSource => ({
    name,
    dtype: "BF16",
    shape: own,
    bytes: () => Promise.resolve(randomBf16(own.reduce((a, b) => a * b, 1), name.includes("norm"))),
  }));
  const share = Math.ceil(all.length / shards);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const file = `model-${String(shard + 1).padStart(5, "0")}-of-${
      String(shards).padStart(5, "0")
    }.safetensors`;
    const own = all.slice(shard * share, (shard + 1) * share);
    for (const { name } of own) weightMap[name] = file;
    await writeSafetensors(join(dir, file), own);
  }
  writeFileSync(join(dir, "config.json"), llamaConfig(shape));
  const index = { metadata: {}, weight_map: weightMap };
  writeFileSync(join(dir, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`);
}
