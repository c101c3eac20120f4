/** Lists of all ranks, laid end to end in rank order. */
import type { Communicator, NumberArray } from "./communicator.ts";

/**
 * @param part of the same length on every rank
 * @returns the parts of all ranks; with one rank `part` itself
 */
export async function gatherParts<A extends NumberArray>(communicator: Communicator, part: A): Promise<A> {
  const { rank, size } = communicator;
  if (size === 1) return part;
  const all = new (part.constructor as new (length: number) => A)(size * part.length);
  all.set(part, rank * part.length);
  await communicator.allGather(all);
  return all;
}

/**
 * @param list of the same length on every rank
 * @returns the lists of all ranks; with one rank `list` itself
 */
export async function gatherNumbers(
  communicator: Communicator,
  list: readonly number[],
): Promise<readonly number[]> {
  if (communicator.size === 1) return list;
  return Array.from(await gatherParts(communicator, Float64Array.from(list)));
}

/** @returns the texts of all ranks, of which each may have any number */
export async function gatherTexts(
  communicator: Communicator,
  texts: readonly string[],
): Promise<readonly string[]> {
  if (communicator.size === 1) return texts;
  const json = JSON.stringify(texts);
  const lengths = await gatherParts(communicator, Int32Array.of(json.length));
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const units = new Int32Array(longest); // UTF-16
  for (let i = 0; i < json.length; i++) units[i] = json.charCodeAt(i);
  const all = await gatherParts(communicator, units);
  return Array.from(lengths).flatMap((length, rank) => {
    const own = all.subarray(rank * longest, rank * longest + length);
    return JSON.parse(Array.from(own, (unit) => String.fromCharCode(unit)).join("")) as string[];
  });
}
