/** The books of generation: blocks of the KV cache, widths of the decode plans, and what both take. No GPU here. */
import type { WeightFormat } from "../../ops/weight/weight.ts";
import type { ModelConfig } from "../families/family.ts";

/** How keys and values are kept, in the words of the configuration. */
export type KvCacheDtype = "float32" | "bfloat16" | "float16";

export const KV_CACHE_FORMAT: Record<KvCacheDtype, WeightFormat> = {
  float32: "f32",
  bfloat16: "bf16",
  float16: "f16",
};

/** Tokens of a block unless the options say otherwise: half a block is what a row wastes on average. */
export const BLOCK_TOKENS = 16;

export function blocksFor(tokens: number, blockTokens: number): number {
  return Math.ceil(Math.max(0, tokens) / blockTokens);
}

/** @throws RangeError when the block size is not a power of two, 2 at least */
export function blockShiftOf(blockTokens: number): number {
  const shift = Math.log2(blockTokens);
  if (Number.isInteger(shift) && shift >= 1) return shift;
  throw new RangeError(`Cannot make blocks of ${blockTokens} tokens: need a power of two, 2 at least`);
}

/** Which blocks of a cache are free. */
export interface BlockList {
  readonly capacity: number;
  readonly used: number;
  /** @throws RangeError when fewer are free */
  take(count: number): number[];
  free(blocks: readonly number[]): void;
  /**
   * Further blocks, or none: a list of which blocks are used does not shrink.
   * @throws RangeError when it would
   */
  resize(capacity: number): void;
}

export function createBlockList(): BlockList {
  const unused: number[] = [];
  let capacity = 0;
  return {
    get capacity() {
      return capacity;
    },
    get used() {
      return capacity - unused.length;
    },
    take(count) {
      if (count > unused.length) {
        throw new RangeError(
          `Cannot take ${count} of ${unused.length} free cache blocks: reserve them before`,
        );
      }
      return unused.splice(unused.length - count, count).reverse();
    },
    free: (blocks) => void unused.push(...blocks),
    resize(wanted) {
      if (wanted < capacity && (wanted > 0 || unused.length < capacity)) {
        throw new RangeError(
          `Cannot shrink ${capacity} cache blocks to ${wanted}: only to none, when none of them is used`,
        );
      }
      if (wanted === 0) unused.length = 0;
      const added = Array.from({ length: wanted - Math.min(capacity, wanted) }, (_, i) => wanted - 1 - i);
      unused.unshift(...added);
      capacity = wanted;
    },
  };
}

/** Blocks that a cache grows to at least, as a multiple of what it has: each growth copies it. */
const GROWTH = 1.5;

/**
 * Capacity of a cache that needs `needed` blocks now and can never need more than `most`.
 * @param limit blocks that one binding of the device holds
 * @throws RangeError when `needed` is above the limit
 */
export function grownCapacity(capacity: number, needed: number, most: number, limit: number): number {
  if (needed > limit) {
    throw new RangeError(
      `Cannot keep ${needed} blocks of keys in one binding: this GPU takes ${limit}; set kv_cache_dtype to ` +
        "bfloat16 or float16, or smaller num_generations or max_completion_length",
    );
  }
  return Math.max(needed, Math.min(Math.ceil(capacity * GROWTH), most, limit));
}

/** A plan of few rows is a multiple of this wide: the matmuls of decoding take so many rows at a time. */
const WIDTH_STEP = 4;

/** Rows of the plans for a batch, as its completions end: all of them, then about half as many each time. */
export function decodeWidths(rows: number): number[] {
  const widths = [rows];
  for (;;) {
    const last = widths[widths.length - 1];
    const next = Math.ceil(last / 2 / WIDTH_STEP) * WIDTH_STEP;
    if (next >= last) return widths;
    widths.push(next);
  }
}

/** Columns of a block table whose rows hold up to so many blocks of a prompt and the tokens of a completion. */
export function tableColumns(promptBlocks: number, maxTokens: number, blockTokens: number): number {
  return 1 + promptBlocks + blocksFor(maxTokens - 1, blockTokens);
}

/** Room for prompt blocks in the tables: a power of two, so that longer prompts seldom make them new. */
export function promptBlockRoom(longestPrompt: number, blockTokens: number): number {
  return 2 ** Math.ceil(Math.log2(blocksFor(longestPrompt, blockTokens)));
}

/** Keys and values of one block, over all layers, in bytes. */
export function blockBytes(
  { layers, kvHeads, headDim }: Pick<ModelConfig, "layers" | "kvHeads" | "headDim">,
  blockTokens: number,
  format: WeightFormat,
): number {
  return 2 * layers * blockTokens * kvHeads * headDim * (format === "f32" ? 4 : 2);
}
