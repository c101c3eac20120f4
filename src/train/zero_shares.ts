/**
 * Who holds what where the optimizer's state is shared out over ranks (ZeRO, arXiv:1910.02054): of each group of
 * weights, laid end to end, every rank has one run of values, in rank order. It depends on the weights and the number
 * of ranks alone, not on how values travel.
 */
import type { Words } from "../gpu/tensors.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { type Share, shareOf } from "../parallel/communicator.ts";

/** Values of a weight that one rank holds. */
export interface Piece extends Share {
  weight: Weight;
}

/** Values that are not parted: a piece then begins where a binding may, as f32 and as packed words. */
const UNIT = 128;

export const sizeOfWeight = ({ shape }: Weight): number => shape.reduce((size, n) => size * n, 1);

/**
 * @param groups of weights, in one order on all ranks; each group is shared out by itself
 * @returns the pieces of each rank, which together are all weights
 */
export function sharesOf(groups: readonly (readonly Weight[])[], size: number): Piece[][] {
  const pieces: Piece[][] = Array.from({ length: size }, () => []);
  for (const group of groups) {
    const units = group.map((weight) => Math.ceil(sizeOfWeight(weight) / UNIT));
    const total = units.reduce((sum, count) => sum + count, 0);
    for (let rank = 0; rank < size; rank++) {
      const share = shareOf(total, rank, size);
      let before = 0;
      group.forEach((weight, i) => {
        const start = UNIT * Math.max(0, share.start - before);
        const end = Math.min(sizeOfWeight(weight), UNIT * (share.end - before));
        if (start < end) pieces[rank].push({ weight, start, end });
        before += units[i];
      });
    }
  }
  return pieces;
}

export const gradientWords = ({ weight, start, end }: Piece): Words => ({
  tensor: weight.grad!,
  first: start,
  count: end - start,
});

/** As the weight is held: f32, or two values to a word. */
export function weightWords({ weight, start, end }: Piece): Words {
  const perWord = weight.format === "f32" ? 1 : 2;
  return { tensor: weight.tensor, first: start / perWord, count: (end - start) / perWord };
}

export const countWords = (list: readonly Words[]): number => list.reduce((sum, { count }) => sum + count, 0);

/** Of words laid end to end, those from `from` up to `to`, or as far as they go. */
export function cutWords(list: readonly Words[], from: number, to: number): Words[] {
  const cut: Words[] = [];
  let before = 0;
  for (const { tensor, first, count } of list) {
    const [begin, end] = [Math.max(0, from - before), Math.min(count, to - before)];
    if (begin < end) cut.push({ tensor, first: first + begin, count: end - begin });
    before += count;
  }
  return cut;
}
