/**
 * Keys and values of all layers while completions are sampled, in blocks of a few tokens. Rows take blocks as they
 * grow and give them back when they end, so memory follows the completions as they are, not as long as they might be.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { deviceLimits } from "../../gpu/device_facts.ts";
import { trimPool } from "../../gpu/pool.ts";
import { byteSize, emptyTensor, resizeTensor } from "../../gpu/tensors.ts";
import { attention } from "../../ops/attention/attention.ts";
import { attentionDecodeNewest } from "../../ops/attention/attention_decode.ts";
import { type BlockTable, kvAppend, type KvPool } from "../../ops/attention/kv_append.ts";
import type { WeightFormat } from "../../ops/weight/weight.ts";
import { type BlockList, blockShiftOf, createBlockList, grownCapacity } from "./kv_blocks.ts";
import { rotate } from "../transformer.ts";
import type { Attend, SequenceTensors, Trunk } from "../trunk.ts";

export interface KvCache {
  readonly blocks: BlockList;
  readonly blockTokens: number;
  readonly blockShift: number;
  /** One per layer. Plans that are recorded over them stay good as they grow. */
  readonly pools: readonly KvPool[];
  /**
   * Makes sure that `count` more blocks can be taken.
   * @param most blocks that all rows together can ever hold
   */
  reserve(count: number, most: number): void;
  /** Gives back the memory of the pools, of which no block is held. */
  release(): void;
  /** Bytes that the pools take. */
  sizeBytes(): number;
  dispose(): void;
}

export function createKvCache(
  { layers, kvHeads, headDim }: Trunk["config"],
  format: WeightFormat,
  blockTokens: number,
): KvCache {
  const blockShift = blockShiftOf(blockTokens);
  const blocks = createBlockList();
  const words = kvHeads * headDim / (format === "f32" ? 1 : 2);
  const pools: KvPool[] = [];
  /** `pool`, which may be missing, with room for `capacity` blocks. */
  const resized = (pool: Tensor | undefined, capacity: number): Tensor => {
    if (!pool) return emptyTensor([capacity, blockTokens, words], format === "f32" ? "float32" : "int32");
    const tensor = resizeTensor(pool, capacity);
    trimPool(); // or the old ones would stay beside the new
    return tensor;
  };
  const resize = (capacity: number) => {
    for (let l = 0; l < layers; l++) {
      const old = pools[l] as KvPool | undefined;
      pools[l] = { k: resized(old?.k, capacity), v: resized(old?.v, capacity), format };
    }
    blocks.resize(capacity);
  };
  return {
    blocks,
    blockTokens,
    blockShift,
    pools,
    reserve(count, most) {
      const needed = blocks.used + count;
      if (needed <= blocks.capacity) return;
      const { maxStorageBufferBindingSize, maxBufferSize } = deviceLimits();
      const bytes = Math.min(maxStorageBufferBindingSize, maxBufferSize);
      const limit = Math.floor(bytes / (4 * blockTokens * words));
      resize(grownCapacity(blocks.capacity, needed, most, limit));
    },
    release() {
      if (blocks.capacity > 0) resize(0);
    },
    sizeBytes: () => pools.reduce((sum, { k, v }) => sum + byteSize(k) + byteSize(v), 0),
    dispose() {
      for (const { k, v } of pools) tf.dispose([k, v]);
      trimPool();
    },
  };
}

/** Sequences whose keys and values go into a cache. */
interface PrefillRows {
  sequences: SequenceTensors;
  table: BlockTable;
  /** i32 [N]: row of the table that each token belongs to, -1 = none */
  owners: Tensor;
}

/** Each token attends to its own sequence up to itself, and its keys and values are kept. */
export function prefillAttend(
  trunk: Trunk,
  cache: KvCache,
  { sequences, table, owners }: PrefillRows,
): Attend {
  const { positions, bounds } = sequences;
  return (l, q, k, v) => {
    const turned = rotate(trunk, l, k, positions);
    kvAppend(cache.pools[l], { k: turned, v, owners, positions }, table);
    return attention({ q: rotate(trunk, l, q, positions), k: turned, v, bounds }, trunk.layers[l].shape);
  };
}

/**
 * One new token of every row is kept, and attends to all that its row holds.
 * @param positions i32 [R]: the new token's place in its row
 */
export function decodeAttend(
  trunk: Trunk,
  cache: KvCache,
  table: BlockTable,
  positions: Tensor,
): Attend {
  return (l, q, k, v) => {
    const { rope, shape } = trunk.layers[l];
    return attentionDecodeNewest({ q, k, v, positions }, rope, { ...table, pool: cache.pools[l] }, shape);
  };
}
