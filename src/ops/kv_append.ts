/** Appends to a key or value cache while completions are sampled. */
import type { Tensor } from "@tensorflow/tfjs";
import { foldGrid, runKernel, u32 } from "../gpu/bridge.ts";

const WG = 64;

/**
 * cache[r, position[0]] = fresh[r], in place; no gradient. A position outside the cache writes nothing.
 * The position is read on the GPU, so a recorded plan can replay this for token after token.
 * @param cache f32 [R, T, W], changed
 * @param fresh f32 [R, W], W a multiple of 4
 * @param position i32 [1]
 * @throws RangeError when the shapes do not fit together
 */
export function kvAppend(cache: Tensor, fresh: Tensor, position: Tensor): void {
  const [rows, slots, width] = cache.shape;
  if (fresh.shape[0] !== rows || fresh.shape[1] !== width || width % 4) {
    throw new RangeError(
      `Cannot append fresh [${fresh.shape}] to a cache [${cache.shape}]: need [R, W] and [R, T, W] with W a multiple of 4`,
    );
  }
  const count = rows * width / 4;
  runKernel({
    kernel: "kv_append",
    constants: { WG },
    bindings: [{ tensor: fresh }, { tensor: position }, { tensor: cache, written: true }],
    params: [u32(count), u32(width / 4), u32(slots)],
    workgroups: foldGrid(Math.ceil(count / WG)),
  });
}

/** Twin of kv_append.wgsl. @returns the changed cache [R, T, W] */
export function kvAppendF64(
  cache: ArrayLike<number>,
  fresh: ArrayLike<number>,
  position: number,
  [rows, slots, width]: number[],
): Float64Array {
  const changed = Float64Array.from(cache);
  if (position < 0 || position >= slots) return changed;
  for (let r = 0; r < rows; r++) {
    for (let w = 0; w < width; w++) changed[(r * slots + position) * width + w] = fresh[r * width + w];
  }
  return changed;
}
