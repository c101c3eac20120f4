/** How far training moved the weights: what weight_change.json holds, and sums over parts of the model. */

/** In a run's folder. */
export const WEIGHT_CHANGE_FILE = "weight_change.json";

/** Parts of a model, in the order in which data passes them. */
export const PARTS = ["embedding", "attention", "mlp", "norm", "unembedding"] as const;
export type ModelPart = (typeof PARTS)[number];

/** One tensor. Norms are L2 over its values (Frobenius), in f64. */
export interface ChangedTensor {
  name: string;
  part: ModelPart;
  /** null for what stands before or behind the layers. */
  layer: number | null;
  parameters: number;
  /** Of what training added. */
  change: number;
  /** Of the weight that training began with; of an adapter, of the weight under it. */
  start: number;
}

export interface WeightChange {
  /** The model that the run began with. */
  start: string;
  /** The file of final weights. */
  end: string;
  /** Whether the embedding is the unembedding, too. */
  tied: boolean;
  tensors: readonly ChangedTensor[];
}

/** Norms over several tensors. */
export interface PartChange {
  change: number;
  start: number;
  /** change / start; null where the start is 0. */
  ratio: number | null;
  /** Of the squared norm of the whole change, 0 to 1; null where nothing changed. */
  share: number | null;
}

/** Norms of those of the tensors that are wanted; null where there are none. */
export function changeOf(
  { tensors }: WeightChange,
  isWanted: (tensor: ChangedTensor) => boolean,
): PartChange | null {
  const wanted = tensors.filter(isWanted);
  if (wanted.length === 0) return null;
  const squares = (name: "change" | "start", of: readonly ChangedTensor[]) =>
    of.reduce((sum, tensor) => sum + tensor[name] ** 2, 0);
  const [change, start, all] = [
    squares("change", wanted),
    squares("start", wanted),
    squares("change", tensors),
  ];
  return {
    change: Math.sqrt(change),
    start: Math.sqrt(start),
    ratio: start === 0 ? null : Math.sqrt(change / start),
    share: all === 0 ? null : change / all,
  };
}

/** How many layers the tensors are of. */
export const layerCount = ({ tensors }: WeightChange): number =>
  tensors.reduce((most, { layer }) => Math.max(most, layer === null ? 0 : layer + 1), 0);

/** What a matrix that is both is called. */
export const partLabel = (part: ModelPart, tied: boolean): string =>
  part === "embedding" && tied ? "embedding = unembedding" : part === "mlp" ? "MLP" : part;

/** A layer is a whole number that a model can have. */
const MOST_LAYERS = 10_000;

/** @throws TypeError when it is none; it names the place and what to do */
export function parseWeightChange(json: Readonly<Record<string, unknown>>, place: string): WeightChange {
  const { start, end, tied, tensors } = json;
  const isSize = (value: unknown) => typeof value === "number" && value >= 0;
  const isTensor = (one: unknown): one is ChangedTensor => {
    if (typeof one !== "object" || one === null) return false;
    const { name, part, layer, parameters, change, start: before } = one as Record<string, unknown>;
    const isLayer = Number.isSafeInteger(layer) && layer as number >= 0 && layer as number < MOST_LAYERS;
    return typeof name === "string" && PARTS.includes(part as ModelPart) && (layer === null || isLayer) &&
      [parameters, change, before].every(isSize);
  };
  const isWhole = [start, end].every((text) => typeof text === "string") && typeof tied === "boolean" &&
    Array.isArray(tensors) && tensors.every(isTensor);
  if (isWhole) return json as unknown as WeightChange;
  throw new TypeError(
    `Cannot read ${place}: required start, end, tied and tensors with name, part, layer, parameters, change and ` +
      "start, found something else; remove it, and have it measured again by the report's --weight-change",
  );
}
