/** The parameters of a model on the GPU, by their Hugging Face names. */
import type { Tensor } from "@tensorflow/tfjs";
import { copyTensor, emptyTensor, zeroTensor } from "../gpu/tensors.ts";
import { packWeight, unpackWeight } from "../ops/weight/pack.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { disposeWeightShift } from "../ops/weight/weight_shift.ts";
import type { ModelConfig } from "./families/family.ts";
import type { LayerWeights } from "./families/layout.ts";
import type { WeightSource } from "./weight_source.ts";

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

/** Buffers that old checkpoints hold and that follow from config.json, and the value head of an earlier training. */
const UNUSED = [
  /\.rotary_emb\.(inv_freq|original_inv_freq|cos_cached|sin_cached)$/,
  /\.(self_attn|attn|attention)\.(bias|masked_bias)$/,
  /^v_head\./,
];

/** Whether a tensor of a file is no part of its model, whichever that is. */
export function isUnused(name: string): boolean {
  return UNUSED.some((pattern) => pattern.test(name));
}

/**
 * A tensor that nothing reads means that config.json describes another model than the weights are of.
 * @param others names that are read, or knowingly left, beside the trunk's
 * @throws Error when there are such tensors; it names them
 */
export function assertNoSurplus(source: WeightSource, config: ModelConfig, others: readonly string[]): void {
  const { layout } = config;
  const known = new Set([...others, layout.embedding, layout.norm]);
  const layer = layout.layerParameters(config);
  for (let l = 0; l < config.layers; l++) {
    layer.forEach(([, name]) => known.add(layout.layerPrefix(l) + name));
  }
  const surplus = [...source.names?.() ?? []].filter((name) => !known.has(name) && !isUnused(name));
  if (surplus.length === 0) return;
  const more = surplus.length > 3 ? ` and ${surplus.length - 3} more` : "";
  throw new Error(
    `${source.path}: config.json describes a model without ${
      surplus.slice(0, 3).join(", ")
    }${more}, which the ` +
      "weights hold; take config.json and weights from the same model",
  );
}

/** The shapes of all parameters that config.json implies, by name, with a head for either kind of model. */
export function parameterShapes(config: ModelConfig): Map<string, number[]> {
  const { layout, vocabSize, hiddenSize } = config;
  const shapes = new Map([[layout.embedding, [vocabSize, hiddenSize]], [layout.norm, [hiddenSize]]]);
  for (let l = 0; l < config.layers; l++) {
    for (const [, name, shape] of layout.layerParameters(config)) {
      shapes.set(layout.layerPrefix(l) + name, shape);
    }
  }
  if (!config.tiedEmbeddings) shapes.set(layout.head, [vocabSize, hiddenSize]);
  return shapes.set(layout.scoreHead.weight, [1, hiddenSize]);
}

function assertShape(source: WeightSource, name: string, shape: number[]): void {
  const actual = source.shapeOf(name);
  if (!actual) {
    throw new Error(`${source.path}: tensor "${name}" is missing; config.json says the model has it`);
  }
  if (actual.length !== shape.length || actual.some((n, i) => n !== shape[i])) {
    throw new Error(
      `${source.path}: tensor "${name}" must have shape [${shape}] by config.json, has [${actual}]`,
    );
  }
}

/** How parameters are held: trained (in f32, or matrices in bf16 beside the optimizer's f32), or as they are stored. */
export type Holding = "float32" | "bfloat16" | "frozen";

/** Uploads a matrix packed to bf16: as it is stored, or rounded on the GPU. */
async function uploadBf16(source: WeightSource, name: string, shape: number[]): Promise<Tensor> {
  if (source.formatOf(name) === "bf16") return await source.upload(name, "bf16");
  const values = await source.upload(name, "f32");
  const tensor = emptyTensor([shape[0], shape[1] / 2], "int32");
  packWeight(values, { name, shape, format: "bf16", tensor, grad: null });
  values.dispose();
  return tensor;
}

/**
 * One parameter on the GPU, with a gradient where it is trained. Matrices may be packed where an even width lets two
 * values share a word. (Norms and biases are few, and their kernels read f32.)
 */
async function loadWeight(
  source: WeightSource,
  name: string,
  shape: number[],
  holding: Holding,
): Promise<Weight> {
  assertShape(source, name, shape);
  const grad = holding === "frozen" ? null : zeroTensor(shape);
  const isPackable = shape.length === 2 && shape[1] % 2 === 0;
  if (isPackable && holding === "bfloat16") {
    return {
      name,
      shape,
      format: "bf16",
      stored: "bf16",
      tensor: await uploadBf16(source, name, shape),
      grad,
    };
  }
  const stored = isPackable ? source.formatOf(name) : "f32";
  const format = holding === "frozen" ? stored : "f32";
  return { name, shape, format, stored, tensor: await source.upload(name, format), grad };
}

/** Loads embedding, layers and final norm. */
export async function loadTrunk(
  source: WeightSource,
  config: ModelConfig,
  holding: Holding,
): Promise<TrunkWeights> {
  const { hiddenSize: D, layout } = config;
  const load = (name: string, shape: number[]) => loadWeight(source, name, shape, holding);
  const layers: LayerWeights[] = [];
  const embedding = await load(layout.embedding, [config.vocabSize, D]);
  for (let l = 0; l < config.layers; l++) {
    const layer: Partial<LayerWeights> = {};
    for (const [field, name, shape] of layout.layerParameters(config)) {
      layer[field] = await load(layout.layerPrefix(l) + name, shape);
    }
    layers.push(layer as LayerWeights);
  }
  return { embedding, layers, norm: await load(layout.norm, [D]) };
}

/** Whether the file holds a tied model's one matrix as its head alone. */
export function isEmbeddingHead(source: Pick<WeightSource, "shapeOf">, config: ModelConfig): boolean {
  const { embedding, head } = config.layout;
  return config.tiedEmbeddings && !source.shapeOf(embedding) && source.shapeOf(head) !== undefined;
}

/** The source with the head's values under the embedding's name too, where it holds them under the head's alone. */
function withEmbedding(source: WeightSource, config: ModelConfig): WeightSource {
  if (!isEmbeddingHead(source, config)) return source;
  const { embedding, head } = config.layout;
  const stored = (name: string) => name === embedding ? head : name;
  return {
    ...source,
    shapeOf: (name) => source.shapeOf(stored(name)),
    formatOf: (name) => source.formatOf(stored(name)),
    upload: (name, format, rows) => source.upload(stored(name), format, rows),
    read: (name, rows) => source.read(stored(name), rows),
  };
}

/** @throws Error when the file's head is not the embedding that config.json says it is */
async function assertTied(source: WeightSource, { layout }: ModelConfig): Promise<void> {
  if (!source.names || !source.shapeOf(layout.head) || !source.shapeOf(layout.embedding)) return;
  const [head, embedding] = [await source.read(layout.head), await source.read(layout.embedding)];
  if (head.length === embedding.length && head.every((value, i) => value === embedding[i])) return;
  throw new Error(
    `${source.path}: config.json ties the head to the embedding, but "${layout.head}" has values of its own; set ` +
      '"tie_word_embeddings": false',
  );
}

/**
 * Loads a causal language model. With tied embeddings the head is the embedding itself, whether or not the file
 * repeats it.
 * @throws Error when a tensor is missing, of another shape, or unknown to config.json; it names the tensor
 */
export async function loadPolicyWeights(
  source: WeightSource,
  config: ModelConfig,
  holding: Holding,
): Promise<PolicyWeights> {
  const { head } = config.layout;
  assertNoSurplus(source, config, [head]);
  if (config.tiedEmbeddings) await assertTied(source, config);
  const trunk = await loadTrunk(withEmbedding(source, config), config, holding);
  if (config.tiedEmbeddings) return { ...trunk, head: trunk.embedding };
  return {
    ...trunk,
    head: await loadWeight(source, head, [config.vocabSize, config.hiddenSize], holding),
  };
}

/** Loads one more tensor beside a trunk (a score head). */
export function loadExtraWeight(
  source: WeightSource,
  name: string,
  shape: number[],
  holding: Holding,
): Promise<Weight> {
  return loadWeight(source, name, shape, holding);
}

export function parameterCount(weights: readonly Weight[]): number {
  return weights.reduce((sum, { shape }) => sum + shape.reduce((size, n) => size * n, 1), 0);
}

/** Every parameter once, in file order. */
export function listWeights(weights: TrunkWeights & { head?: Weight }): Weight[] {
  const layers = weights.layers.flatMap((layer) => Object.values(layer) as Weight[]);
  const head = weights.head && weights.head !== weights.embedding ? [weights.head] : [];
  return [weights.embedding, ...layers, weights.norm, ...head];
}

/** A frozen copy of one weight in f32, which may be written. */
function copyUnpacked(weight: Weight): Weight {
  const { name, shape, format } = weight;
  if (format !== "f32") return { name, shape, format: "f32", tensor: unpackWeight(weight), grad: null };
  const tensor = emptyTensor(shape);
  copyTensor(weight.tensor, tensor);
  return { name, shape, format, tensor, grad: null };
}

/**
 * A frozen copy of one weight as it was loaded, packed where its file holds 16 bits: every value then has them.
 * To be made before the weight is trained.
 */
export function copyWeight(weight: Weight): Weight {
  const { name, shape, format, stored = format } = weight;
  if (format === "f32" && stored !== "f32") {
    const tensor = emptyTensor([...shape.slice(0, -1), shape[shape.length - 1] / 2], "int32");
    const copy: Weight = { name, shape, format: stored, tensor, grad: null };
    packWeight(weight.tensor, copy);
    return copy;
  }
  const tensor = emptyTensor(weight.tensor.shape, weight.tensor.dtype as "float32" | "int32");
  copyTensor(weight.tensor, tensor);
  return { ...weight, grad: null, tensor };
}

/**
 * A frozen copy on the GPU, before the first update: the reference policy of full fine-tuning.
 * @param isWritten it is to change: held in f32, whatever its file holds
 */
export function copyFrozen(weights: PolicyWeights, isWritten = false): PolicyWeights {
  const copies = new Map<Weight, Weight>();
  const copy = (weight: Weight): Weight => {
    let made = copies.get(weight);
    if (!made) copies.set(weight, made = isWritten ? copyUnpacked(weight) : copyWeight(weight));
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
  for (const weight of weights) {
    disposeWeightShift(weight);
    weight.tensor.dispose();
    weight.grad?.dispose();
  }
}
