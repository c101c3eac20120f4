/** Models of a thousand parameters, in files: a run of them takes a fraction of a second. A token is a character. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomFloats } from "../cases/case.ts";
import { type LlamaShape, llamaShapes } from "../../bench/random_llama.ts";
import { f32ToBytes } from "../../src/io/tensors/dtype.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { writeTokenizer } from "../unit/tiny_tokenizer.ts";

/** Begin, end, the printable characters, and one piece of two: "R:", which completes "USER:". */
export const VOCABULARY: readonly string[] = [
  "<s>",
  "</s>",
  ...Array.from({ length: 95 }, (_, i) => i === 0 ? "\u0120" : String.fromCharCode(32 + i)),
  "R:",
];

/** Id of a character or of "R:". */
export const idOf = (piece: string) => VOCABULARY.indexOf(piece === " " ? "\u0120" : piece);

const BOS = 0;
const EOS = 1;

export const TINY: LlamaShape = {
  hidden: 16,
  intermediate: 16,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  vocab: VOCABULARY.length,
};

export type Values = Map<string, Float32Array>;

const special = (id: number) => ({
  id,
  content: VOCABULARY[id],
  special: true,
  normalized: false,
  lstrip: false,
  rstrip: false,
  single_word: false,
});

const TOKENIZER = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [special(BOS), special(EOS)],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [BOS], tokens: ["<s>"] } },
  },
  decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries(VOCABULARY.map((token, id) => [token, id])),
    merges: [["R", ":"]],
  },
};

/**
 * Random values of a Llama. Every embedding has a 1 in its first dimension, through which the head favours the end
 * token: about every eighth token ends a completion.
 */
export function randomValues(seed: number): Values {
  const values: Values = new Map();
  llamaShapes(TINY).forEach(([name, shape], i) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const isNorm = name.includes("norm");
    const drawn = Float32Array.from(randomFloats(seed * 100 + i, count, isNorm ? 0.1 : 0.6));
    values.set(name, isNorm ? drawn.map((value) => 1 + value) : drawn);
  });
  const embedding = values.get("model.embed_tokens.weight")!;
  for (let id = 0; id < TINY.vocab; id++) embedding[id * TINY.hidden] = 1;
  values.get("lm_head.weight")![EOS * TINY.hidden] = 4;
  return values;
}

/** States of a chain of tokens: each has a dimension of the embedding of its own, all other tokens share the last. */
export type Chain = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The dimension that says which token was last. */
export const dimensionOf = (chain: Chain, piece: string) => Object.keys(chain).indexOf(piece);

/**
 * A Llama that looks at the last token alone: attention and MLP add nothing. After each piece of the chain the pieces
 * named beside it come, with these numbers as the head's weights; of any number above 2 one can be sure.
 */
export function chainValues(chain: Chain): Values {
  const values = randomValues(1);
  for (const [name, list] of values) {
    if (name.includes("norm")) list.fill(1);
    else if (/embed_tokens|lm_head|o_proj|down_proj/.test(name)) list.fill(0);
  }
  const embedding = values.get("model.embed_tokens.weight")!, head = values.get("lm_head.weight")!;
  VOCABULARY.forEach((_, id) => embedding[id * TINY.hidden + TINY.hidden - 1] = 1);
  for (const [piece, next] of Object.entries(chain)) {
    const dimension = dimensionOf(chain, piece), row = idOf(piece) * TINY.hidden;
    embedding.fill(0, row, row + TINY.hidden)[row + dimension] = 1;
    for (const [name, weight] of Object.entries(next)) head[idOf(name) * TINY.hidden + dimension] = weight;
  }
  return values;
}

/** Writes a policy's folder. */
export async function writePolicy(dir: string, values: Values): Promise<void> {
  await writeModel(dir, values, { architectures: ["LlamaForCausalLM"] });
}

/** Writes the folder of a score model: its scores are `bias`, and with `spread` differ from text to text. */
export async function writeScoreModel(
  dir: string,
  type: "reward" | "cost",
  bias: number,
  spread = 0,
): Promise<void> {
  const values = randomValues(type === "reward" ? 11 : 12);
  values.delete("lm_head.weight");
  values.set("score_head.weight", Float32Array.from(randomFloats(13, TINY.hidden, spread)));
  values.set("score_head.bias", Float32Array.of(bias));
  await writeModel(dir, values, {
    architectures: ["LlamaForScore"],
    score_dim: 1,
    score_type: type,
    bias: true,
    do_normalize: false,
  });
}

/** Writes the folder of a classifier with two labels, the score of one the other's with its sign changed. */
export async function writeClassifier(dir: string, labels: readonly [string, string]): Promise<void> {
  const values = randomValues(14);
  values.delete("lm_head.weight");
  const row = randomFloats(15, TINY.hidden, 1);
  values.set("score.weight", Float32Array.from([...row, ...row.map((value) => -value)]));
  await writeModel(dir, values, {
    architectures: ["LlamaForSequenceClassification"],
    id2label: { 0: labels[0], 1: labels[1] },
  });
}

async function writeModel(dir: string, values: Values, config: Record<string, unknown>): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const shapes = new Map([
    ...llamaShapes(TINY),
    ["score_head.weight", [1, TINY.hidden]] as [string, number[]],
    ["score_head.bias", [1]] as [string, number[]],
    ["score.weight", [2, TINY.hidden]] as [string, number[]],
  ]);
  await writeSafetensors(
    join(dir, "model.safetensors"),
    [...values].map(([name, list]) => ({
      name,
      dtype: "F32" as const,
      shape: shapes.get(name)!,
      bytes: f32ToBytes(list, "F32"),
    })),
  );
  writeFileSync(
    join(dir, "config.json"),
    JSON.stringify({
      model_type: "llama",
      hidden_size: TINY.hidden,
      intermediate_size: TINY.intermediate,
      num_hidden_layers: TINY.layers,
      num_attention_heads: TINY.heads,
      num_key_value_heads: TINY.kvHeads,
      vocab_size: TINY.vocab,
      max_position_embeddings: 160,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: "silu",
      tie_word_embeddings: false,
      bos_token_id: BOS,
      eos_token_id: EOS,
      torch_dtype: "float32",
      ...config,
    }),
  );
  await writeTokenizer(dir, TOKENIZER, {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: "</s>",
    clean_up_tokenization_spaces: false,
  });
}
