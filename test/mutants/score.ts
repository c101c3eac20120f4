/** Counts of faults, by folder. Pure. */
import type { FaultResult } from "./fault_runs.ts";
import type { Mutant } from "./stryker.ts";

export interface FolderScore {
  /** "src/train", "kernels". */
  folder: string;
  /** Faults of faults/. */
  byHand: Count;
  /** Mutants of StrykerJS. */
  byStryker: Count;
}

export interface Count {
  noticed: number;
  counted: number;
}

/** Shares of the faults that tests must notice: of all, and of each folder's. */
const LEAST_SHARE = { overall: 0.95, folder: 0.9 };

/** The folder of the house that a file belongs to: "src/train/loop.ts" -> "src/train". */
export function folderOf(file: string): string {
  const parts = file.split("/");
  return parts[0] === "src" ? parts.slice(0, 2).join("/") : parts[0];
}

export function countOf(results: readonly { noticed: boolean }[]): Count {
  return { noticed: results.filter(({ noticed }) => noticed).length, counted: results.length };
}

export const addCounts = (a: Count, b: Count): Count => ({
  noticed: a.noticed + b.noticed,
  counted: a.counted + b.counted,
});

/** 1 of nothing. */
export const shareOf = ({ noticed, counted }: Count): number => counted === 0 ? 1 : noticed / counted;

/** One score for each folder that has any, in the order of their names. */
export function folderScores(faults: readonly FaultResult[], mutants: readonly Mutant[]): FolderScore[] {
  const folders = new Set([
    ...faults.map(({ fault }) => folderOf(fault.file)),
    ...mutants.map(({ file }) => folderOf(file)),
  ]);
  return [...folders].sort().map((folder) => ({
    folder,
    byHand: countOf(faults.filter(({ fault }) => folderOf(fault.file) === folder)),
    byStryker: countOf(mutants.filter(({ file }) => folderOf(file) === folder)),
  }));
}

/** What is below its least share, a line each; empty when the tests notice enough. */
export function shortfalls(scores: readonly FolderScore[]): string[] {
  const totals = scores.map(({ folder, byHand, byStryker }) => ({
    folder,
    count: addCounts(byHand, byStryker),
  }));
  const overall = totals.reduce((sum, { count }) => addCounts(sum, count), { noticed: 0, counted: 0 });
  // Of the faults written by hand alone too: thousands of small mutants would hide them.
  const byHand = scores.reduce((sum, score) => addCounts(sum, score.byHand), { noticed: 0, counted: 0 });
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const complain = (what: string, count: Count, least: number) =>
    shareOf(count) >= least ? [] : [
      `${what}: ${count.noticed} of ${count.counted} noticed, ${percent(shareOf(count))}; required ${
        percent(least)
      }`,
    ];
  return [
    ...complain("all", overall, LEAST_SHARE.overall),
    ...complain("by hand", byHand, LEAST_SHARE.overall),
    ...totals.flatMap(({ folder, count }) => complain(folder, count, LEAST_SHARE.folder)),
  ];
}
