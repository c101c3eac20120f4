/** The parameters of a Llama model on the GPU, by their Hugging Face names. */
import { copyTensor, emptyTensor, uploadTensor, zeroTensor } from "../gpu/bridge.ts";
import type { Weight } from "../ops/weight.ts";
import type { ModelConfig } from "./model_config.ts";

export interface LayerWeights {
  inputNorm: Weight;
  query: Weight;
  key: Weight;
  value: Weight;
  output: Weight;
  postNorm: Weight;
  gate: Weight;
  up: Weight;
  down: Weight;
}

/** The transformer without a head: what a policy and a score model share. */
export interface TrunkWeights {
  embedding: Weight;
  layers: LayerWeights[];
  norm: Weight;
}

export interface PolicyWeights extends TrunkWeights {
  /** The same object as `embedding` when they are tied. */
  head: Weight;
}

/** Where values come from: f32 values of a named tensor, shape checked by the caller's file layer. */
export interface WeightSource {
  /** What the weights came from, for errors. */
  path: string;
  shapeOf(name: string): readonly number[] | undefined;
  read(name: string): Promise<Float32Array>;
}

async function loadWeight(
  source: WeightSource,
  name: string,
  shape: number[],
  trainable: boolean,
): Promise<Weight> {
  const actual = source.shapeOf(name);
  if (!actual) {
    throw new Error(`${source.path}: tensor "${name}" is missing; config.json says the model has it`);
  }
  if (actual.length !== shape.length || actual.some((n, i) => n !== shape[i])) {
    throw new Error(
      `${source.path}: tensor "${name}" must have shape [${shape}] by config.json, has [${actual}]`,
    );
  }
  const tensor = uploadTensor(await source.read(name), shape);
  return { name, shape, format: "f32", tensor, grad: trainable ? zeroTensor(shape) : null };
}

/** Loads embedding, layers and final norm. `trainable` gives each weight a gradient. */
export async function loadTrunk(
  source: WeightSource,
  config: ModelConfig,
  trainable: boolean,
): Promise<TrunkWeights> {
  const { hiddenSize: D, intermediateSize: F, heads, kvHeads, headDim } = config;
  const load = (name: string, shape: number[]) => loadWeight(source, `model.${name}`, shape, trainable);
  const layers: LayerWeights[] = [];
  const embedding = await load("embed_tokens.weight", [config.vocabSize, D]);
  for (let l = 0; l < config.layers; l++) {
    const layer = (name: string, shape: number[]) => load(`layers.${l}.${name}.weight`, shape);
    layers.push({
      inputNorm: await layer("input_layernorm", [D]),
      query: await layer("self_attn.q_proj", [heads * headDim, D]),
      key: await layer("self_attn.k_proj", [kvHeads * headDim, D]),
      value: await layer("self_attn.v_proj", [kvHeads * headDim, D]),
      output: await layer("self_attn.o_proj", [D, heads * headDim]),
      postNorm: await layer("post_attention_layernorm", [D]),
      gate: await layer("mlp.gate_proj", [F, D]),
      up: await layer("mlp.up_proj", [F, D]),
      down: await layer("mlp.down_proj", [D, F]),
    });
  }
  return { embedding, layers, norm: await load("norm.weight", [D]) };
}

/** Loads a causal language model. A missing lm_head with tied embeddings is the embedding itself. */
export async function loadPolicyWeights(
  source: WeightSource,
  config: ModelConfig,
  trainable: boolean,
): Promise<PolicyWeights> {
  const trunk = await loadTrunk(source, config, trainable);
  if (config.tiedEmbeddings) return { ...trunk, head: trunk.embedding };
  return {
    ...trunk,
    head: await loadWeight(source, "lm_head.weight", [config.vocabSize, config.hiddenSize], trainable),
  };
}

/** Loads one more tensor beside a trunk (a score head). */
export function loadExtraWeight(
  source: WeightSource,
  name: string,
  shape: number[],
  trainable: boolean,
): Promise<Weight> {
  return loadWeight(source, name, shape, trainable);
}

/** Every parameter once, in file order. */
export function listWeights(weights: TrunkWeights & { head?: Weight }): Weight[] {
  const layers = weights.layers.flatMap((layer) => Object.values(layer) as Weight[]);
  const head = weights.head && weights.head !== weights.embedding ? [weights.head] : [];
  return [weights.embedding, ...layers, weights.norm, ...head];
}

/** A frozen copy on the GPU: the reference policy of full fine-tuning. */
export function copyFrozen(weights: PolicyWeights): PolicyWeights {
  const copies = new Map<Weight, Weight>();
  const copy = (weight: Weight): Weight => {
    let made = copies.get(weight);
    if (!made) {
      const tensor = emptyTensor(weight.tensor.shape);
      copyTensor(weight.tensor, tensor);
      copies.set(weight, made = { ...weight, grad: null, tensor });
    }
    return made;
  };
  const copyAll = (layer: LayerWeights) =>
    Object.fromEntries(
      Object.entries(layer).map(([name, weight]) => [name, copy(weight)]),
    ) as unknown as LayerWeights;
  return {
    embedding: copy(weights.embedding),
    layers: weights.layers.map(copyAll),
    norm: copy(weights.norm),
    head: copy(weights.head),
  };
}

export function disposeWeights(weights: Weight[]): void {
  for (const { tensor, grad } of weights) {
    tensor.dispose();
    grad?.dispose();
  }
}
