/** A linear layer with a low-rank adapter beside its weight (LoRA, arXiv:2106.09685). */
import type { Weight } from "../weight/weight.ts";

/** What is added beside a weight [N,K]: scale (x a^T) b^T. */
export interface LinearAdapter {
  /** [rank, K] */
  a: Weight;
  /** [N, rank] */
  b: Weight;
  scale: number;
}

export interface AdaptedLayer {
  /** [N,K]; its `grad`, like those of the others, is added to in backward where it has one. */
  weight: Weight;
  /** [N] */
  bias?: Weight;
  adapter?: LinearAdapter;
}

/** Of the layers that have one, in order. */
export const adaptersOf = (layers: readonly AdaptedLayer[]): LinearAdapter[] =>
  layers.flatMap(({ adapter }) => adapter ? [adapter] : []);

/** @throws RangeError when the adapter's matrices do not fit the weight */
export function assertAdapterFits({ weight, adapter }: AdaptedLayer): void {
  if (!adapter) return;
  const { a, b } = adapter;
  const [N, K] = weight.shape;
  if (a.shape[1] === K && b.shape[0] === N && a.shape[0] === b.shape[1]) return;
  throw new RangeError(
    `Cannot adapt "${weight.name}" [${weight.shape}] with "${a.name}" [${a.shape}] and "${b.name}" [${b.shape}]: ` +
      `need [rank,${K}] and [${N},rank]`,
  );
}
