/** Short names that tell runs apart. */
import { resolve, sep } from "node:path";

/**
 * The ends of the folders' paths that tell them apart, without the words, parted by "_", that all begin or end with:
 * beta0.01_seed42_unified and beta0.1_seed42_unified are beta0.01 and beta0.1. The same folder twice is numbered.
 */
export function runLabels(folders: readonly string[]): string[] {
  const paths = folders.map((folder) => resolve(folder).split(sep).filter(Boolean));
  const isTold = (names: readonly string[]) => new Set(names).size === names.length;
  const longest = Math.max(...paths.map((path) => path.length));
  for (let count = 1; count <= longest; count++) {
    const names = paths.map((path) => path.slice(-count).join("/"));
    if (!isTold(names)) continue;
    const short = withoutCommonWords(names);
    return isTold(short) ? short : names;
  }
  return folders.map((folder, i) => `${resolve(folder)} (${i + 1})`);
}

function withoutCommonWords(names: readonly string[]): string[] {
  const words = names.map((name) => name.split("_"));
  const shortest = Math.min(...words.map((one) => one.length));
  const isCommon = (at: number) => words.every((one) => one.at(at) === words[0].at(at));
  let start = 0;
  while (start < shortest - 1 && isCommon(start)) start++;
  let end = 0;
  while (end < shortest - 1 - start && isCommon(-1 - end)) end++;
  return words.map((one) => one.slice(start, one.length - end).join("_"));
}
