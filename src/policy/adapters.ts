/**
 * LoRA (arXiv:2106.09685): y = x W^T + bias + scale (x A^T) B^T, with W frozen as it is stored, and A [rank, in] and
 * B [out, rank] in f32. A starts as in `peft`, uniform in +-1/sqrt(in), and B at 0: the policy starts as its base.
 */
import { readFloats, uploadTensor, zeroTensor } from "../gpu/tensors.ts";
import { linear } from "../ops/linear/linear.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { uniformWeights } from "../rl/rng.ts";
import { type AdapterConfig, adapterScale } from "./adapter_config.ts";
import type { Adapter, AdapterSet, Policy } from "./trunk.ts";
import type { WeightSource } from "./weight_source.ts";
import {
  copyFrozen,
  copyWeight,
  disposeWeights,
  listWeights,
  loadExtraWeight,
  type TrunkWeights,
} from "./weights.ts";

/** A linear layer's weight with its path ("model.layers.0.self_attn.q_proj") and module name ("q_proj"). */
interface LinearWeight {
  weight: Weight;
  path: string;
  module: string;
}

/** The matrices of all layers; their biases and norms have one dimension. */
function linearWeights({ layers }: TrunkWeights): LinearWeight[] {
  const matrices = layers.flatMap((layer) => Object.values(layer) as Weight[])
    .filter(({ shape }) => shape.length === 2);
  return matrices.map((weight) => {
    const path = weight.name.replace(/\.weight$/, "");
    return { weight, path, module: path.slice(path.lastIndexOf(".") + 1) };
  });
}

/** Names of the modules that can be adapted, in the order of a layer. */
export function linearModules(weights: TrunkWeights): string[] {
  return [...new Set(linearWeights(weights).map(({ module }) => module))];
}

/** Names of A and B in adapter_model.safetensors. */
function tensorNames(path: string): { a: string; b: string } {
  const prefix = `base_model.model.${path}`;
  return { a: `${prefix}.lora_A.weight`, b: `${prefix}.lora_B.weight` };
}

function trainable(name: string, shape: number[], values: Float32Array | null): Weight {
  const tensor = values ? uploadTensor(values, shape) : zeroTensor(shape);
  return { name, shape, format: "f32", tensor, grad: zeroTensor(shape) };
}

/** New adapters on the named modules of every layer. */
export function createAdapters(
  weights: TrunkWeights,
  config: AdapterConfig,
  modules: readonly string[],
  seed: number,
): AdapterSet {
  const byWeight = new Map<Weight, Adapter>();
  for (const { weight, path, module } of linearWeights(weights)) {
    if (!modules.includes(module)) continue;
    const [rows, columns] = weight.shape;
    const names = tensorNames(path);
    const start = uniformWeights(config.rank * columns, 1 / Math.sqrt(columns), seed, byWeight.size);
    byWeight.set(weight, {
      a: trainable(names.a, [config.rank, columns], start),
      b: trainable(names.b, [rows, config.rank], null),
      scale: adapterScale(config),
    });
  }
  return { config, modules, isFresh: true, byWeight };
}

/** @throws Error when the tensor is missing or of another shape than base and config imply */
function assertPair(source: WeightSource, name: string, shape: number[]): void {
  const actual = source.shapeOf(name);
  if (actual?.length === shape.length && actual.every((size, i) => size === shape[i])) return;
  throw new Error(
    `${source.path}: tensor "${name}" must have shape [${shape}] by the base model and r of adapter_config.json, ` +
      `${actual ? `has [${actual}]` : "and is missing"}; is this the adapter's base model?`,
  );
}

/**
 * The adapters that a file holds.
 * @throws Error when a tensor is missing, of another shape, or on what is no linear layer of a transformer layer
 */
export async function loadAdapters(
  weights: TrunkWeights,
  source: WeightSource,
  config: AdapterConfig,
  isTrainable: boolean,
): Promise<AdapterSet> {
  const byWeight = new Map<Weight, Adapter>();
  const modules = new Set<string>();
  const holding = isTrainable ? "float32" : "frozen";
  const surplus = new Set(source.names?.() ?? []);
  for (const { weight, path, module } of linearWeights(weights)) {
    const names = tensorNames(path);
    if (!surplus.delete(names.a) && !surplus.has(names.b)) continue;
    surplus.delete(names.b);
    const shapes = { a: [config.rank, weight.shape[1]], b: [weight.shape[0], config.rank] };
    assertPair(source, names.a, shapes.a);
    assertPair(source, names.b, shapes.b);
    byWeight.set(weight, {
      a: await loadExtraWeight(source, names.a, shapes.a, holding),
      b: await loadExtraWeight(source, names.b, shapes.b, holding),
      scale: adapterScale(config),
    });
    modules.add(module);
  }
  if (surplus.size > 0 || byWeight.size === 0) {
    const found = surplus.size > 0 ? `tensor "${[...surplus][0]}"` : "no tensor";
    throw new Error(
      `${source.path}: need lora_A and lora_B of linear layers of the base model, found ${found}; is this the ` +
        "adapter's base model?",
    );
  }
  return { config, modules: [...modules], isFresh: false, byWeight };
}

/**
 * Whether a loaded adapter is the one that the settings describe, in every layer.
 * @throws RangeError when it is not; it names what differs
 */
export function assertContinues(
  { config, modules, byWeight }: AdapterSet,
  wanted: AdapterConfig & { modules: readonly string[] },
  base: { layers: number; path: string },
): void {
  const sorted = (names: readonly string[]) => [...names].sort().join(",");
  const facts: [key: string, adapter: unknown, setting: unknown][] = [
    ["lora_r", config.rank, wanted.rank],
    ["lora_alpha", config.alpha, wanted.alpha],
    ["use_rslora", config.useRslora, wanted.useRslora],
    ["lora_target_modules", sorted(modules), sorted(wanted.modules)],
    ["adapted layers", byWeight.size / modules.length, base.layers],
  ];
  const differing = facts.filter(([, adapter, setting]) => adapter !== setting);
  if (differing.length === 0) return;
  const list = differing.map(([key, adapter, setting]) => `${key}: adapter ${adapter}, settings ${setting}`);
  throw new RangeError(
    `Cannot train the adapter in '${base.path}' on: it differs from the settings (${list.join("; ")}); ` +
      "set the adapter's values, or set model_name to its base model for a new adapter",
  );
}

export function listAdapterWeights({ byWeight }: AdapterSet): Weight[] {
  return [...byWeight.values()].flatMap(({ a, b }) => [a, b]);
}

/** What an optimizer changes and a checkpoint holds: the adapters where there are any, else every weight. */
export function trainableWeights({ weights, adapters }: Policy): Weight[] {
  return adapters ? listAdapterWeights(adapters) : listWeights(weights);
}

/** The base policy, on the same weights. */
export function withoutAdapters(policy: Policy): Policy {
  return { ...policy, adapters: undefined };
}

/**
 * The policy as it is now, frozen: the reference. New adapters change nothing yet, so without them it needs no copy;
 * those of an earlier run are copied, as `trl` does, and the weights under them are shared.
 * @param isFollower it will follow the policy, which must train all of its weights
 */
export function freezeReference(policy: Policy, isFollower = false): Policy {
  const { adapters } = policy;
  if (!adapters) return { ...policy, weights: copyFrozen(policy.weights, isFollower) };
  if (adapters.isFresh) return withoutAdapters(policy);
  const byWeight = new Map(
    [...adapters.byWeight].map(([weight, { a, b, scale }]) =>
      [weight, { a: copyWeight(a), b: copyWeight(b), scale }] as const
    ),
  );
  return { ...policy, adapters: { ...adapters, byWeight } };
}

/** Frees what `freezeReference` copied. */
export function disposeReference(reference: Policy, policy: Policy): void {
  if (reference.weights !== policy.weights) disposeWeights(listWeights(reference.weights));
  else if (reference.adapters) disposeWeights(listAdapterWeights(reference.adapters));
}

/** Frees weights and adapters. */
export function disposePolicyWeights({ weights, adapters }: Policy): void {
  disposeWeights(listWeights(weights));
  if (adapters) disposeWeights(listAdapterWeights(adapters));
}

/** Rows of B A that are computed at a time: buffers of at most so many values. */
const MERGE_CHUNK_VALUES = 2 ** 24;

/** Rows of scale B A, from row `first` on. */
export interface DeltaRows {
  first: number;
  /** f32 [rows, in] */
  values: Float32Array;
}

/** What an adapter adds to its weight, scale B A, some rows at a time; product and scale in f32, as `peft` merges. */
export async function* adapterDelta({ a, b, scale }: Adapter): AsyncGenerator<DeltaRows> {
  const [[rank, columns], [rows]] = [a.shape, b.shape];
  const [aValues, bValues] = [await readFloats(a.tensor), await readFloats(b.tensor)];
  const transposed = new Float32Array(aValues.length);
  for (let i = 0; i < aValues.length; i++) {
    transposed[(i % columns) * rank + Math.floor(i / columns)] = aValues[i];
  }
  const shape = [columns, rank];
  const right = {
    name: a.name,
    shape,
    format: "f32" as const,
    tensor: uploadTensor(transposed, shape),
    grad: null,
  };
  const chunk = Math.max(1, Math.floor(MERGE_CHUNK_VALUES / columns));
  for (let first = 0; first < rows; first += chunk) {
    const count = Math.min(chunk, rows - first);
    const left = uploadTensor(bValues.slice(first * rank, (first + count) * rank), [count, rank]);
    const product = linear(left, right);
    const values = await readFloats(product);
    left.dispose();
    product.dispose();
    yield { first, values: values.map((value) => value * scale) };
  }
  right.tensor.dispose();
}

/** W + scale B A, summed in f32. @param values f32 [out, in], changed in place */
export async function mergeAdapter(values: Float32Array, adapter: Adapter): Promise<void> {
  const columns = adapter.a.shape[1];
  for await (const { first, values: delta } of adapterDelta(adapter)) {
    delta.forEach((value, i) => values[first * columns + i] += value);
  }
}
