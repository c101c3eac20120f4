/**
 * Gradients of layers that are whole for a moment only: a backward pass adds a layer's into accumulators that it shares
 * with other layers, and before these are needed again the ranks have summed them, each keeping the sum of its pieces.
 * Sums are then taken pass by pass: the same on every rank, but in another order than where a step's gradients are
 * whole on each rank first.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { trimPool } from "../gpu/pool.ts";
import { clearTensor, zeroTensor } from "../gpu/tensors.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { Communicator } from "../parallel/communicator.ts";
import type { LayerWeights } from "../policy/families/layout.ts";
import type { Optimizer, SharedLayer } from "./optimizer.ts";
import { addOwnGradients, type ExchangeConfig } from "./zero_exchange.ts";

/**
 * Gives the layers `sets` accumulators in turn, in the place of their own.
 * @param sets 2: one is summed over the ranks while the other fills
 */
export function shareAccumulators(layers: readonly LayerWeights[], sets: 1 | 2): void {
  const shared = new Map<string, Tensor>();
  layers.forEach((layer, l) => {
    for (const [field, weight] of Object.entries(layer) as [string, Weight][]) {
      weight.grad!.dispose();
      const key = `${l % sets} ${field} [${weight.shape}]`;
      if (!shared.has(key)) shared.set(key, tf.tidy(() => tf.keep(zeroTensor(weight.shape))));
      weight.grad = shared.get(key)!;
    }
  });
  trimPool();
}

/** Sums a step's layers over the ranks while passes go backward. */
export interface LayerSummer {
  /** To be waited for where a pass has come through a layer, before it goes on to the one below. */
  onLayer(layer: number): Promise<void>;
  /** To be waited for where a pass is over. */
  endPass(): Promise<void>;
  /** To be waited for where the step's passes are over: other ranks may have had more of them. */
  endStep(): Promise<void>;
}

/** To be made where a step begins. @param passes that it makes on this rank */
export async function layerSummer(
  communicator: Communicator,
  { layers }: Optimizer,
  passes: number,
  config: ExchangeConfig,
): Promise<LayerSummer> {
  const most = Int32Array.of(passes);
  await communicator.allReduceMax(most);
  let underWay: Promise<void> = Promise.resolve();
  async function sumLayer({ pieces, sums }: SharedLayer): Promise<void> {
    await addOwnGradients(communicator, { pieces, sums }, config);
    const accumulators = new Set(pieces.flat().map(({ weight }) => weight.grad!));
    accumulators.forEach(clearTensor);
  }
  async function onLayer(layer: number): Promise<void> {
    // The layer below adds into the accumulators of the one above.
    await underWay;
    underWay = sumLayer(layers![layer]);
    underWay.catch(() => {}); // told to whoever waits for it next
    if (!config.overlap_comm) await underWay;
  }
  return {
    onLayer,
    endPass: () => underWay,
    async endStep() {
      for (let pass = passes; pass < most[0]; pass++) {
        for (let layer = layers!.length - 1; layer >= 0; layer--) await onLayer(layer); // zeros
        await underWay;
      }
    },
  };
}
