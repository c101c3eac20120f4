/** Sliding windows of attention: each token's range of rows, cut to what the window leaves of it. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";

const WG = 64;

/** What attention's kernels read in the place of `bounds` and `ranges`; i32 [N,2] each. */
export interface WindowRanges<Rows> {
  /** Row i sees the rows own[i,0] .. i, and the rows i .. own[i,1] - 1 see it. */
  own: Rows;
  /** Half-open range of prefix rows that each row sees; null: there is no prefix. */
  before: Rows | null;
  /** First prefix row that each row sees, 2^31 - 1 where it sees none; the row after the last of its sequence. */
  walk: Rows | null;
}

/**
 * @param bounds i32 [N,2] @param ranges of a prefix, i32 [N,2] @param window tokens that a token sees, from 1 to 2^30
 * @returns tensors that the caller disposes
 */
export function windowRanges(
  bounds: TensorInfo,
  ranges: TensorInfo | null,
  window: number,
): WindowRanges<TensorInfo> {
  const rows = bounds.shape[0];
  const made = () => newTensor([rows, 2], "int32");
  const own = made();
  const [before, walk] = ranges ? [made(), made()] : [null, null];
  runKernel({
    kernel: "attention_window",
    conditions: { PREFIX: ranges !== null },
    constants: { WG },
    bindings: {
      bounds,
      own,
      ranges: ranges ?? undefined,
      before: before ?? undefined,
      walk: walk ?? undefined,
    },
    params: { rows, window },
    workgroups: foldGrid(Math.ceil(rows / WG)),
  });
  return { own, before, walk };
}

/** Twin of attention_window.wgsl: asks of every token whether it is in the window. */
export function windowRangesF64(
  bounds: ArrayLike<number>,
  ranges: ArrayLike<number> | null,
  window: number,
): WindowRanges<Float64Array> {
  const rows = bounds.length / 2;
  const [own, before, walk] = [0, 1, 2].map(() => new Float64Array(2 * rows));
  for (let i = 0; i < rows; i++) {
    const [first, end] = [bounds[2 * i], bounds[2 * i + 1]];
    own.set([first, end], 2 * i);
    while (own[2 * i] <= i - window) own[2 * i]++;
    while (own[2 * i + 1] - 1 - window >= i) own[2 * i + 1]--;
    if (!ranges) continue;
    const [shared, sharedEnd] = [ranges[2 * i], ranges[2 * i + 1]];
    const place = sharedEnd - shared + i - first;
    let hidden = 0;
    while (hidden < sharedEnd - shared && hidden <= place - window) hidden++;
    before.set([shared + hidden, sharedEnd], 2 * i);
    walk.set([shared + hidden < sharedEnd ? shared + hidden : 2 ** 31 - 1, end], 2 * i);
  }
  return ranges ? { own, before, walk } : { own, before: null, walk: null };
}
