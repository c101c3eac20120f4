/** Run folders as one HTML page. */
import { dirname, join, resolve } from "node:path";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { comparisonPage, type PageOptions, runPage } from "../tracking/report_page.ts";
import { runLabels } from "./run_labels.ts";
import { readRun } from "./run_records.ts";

/**
 * Writes the report of one run to `<runDir>/report.html`, or of several to `comparison.html` in the deepest
 * folder that holds them all.
 *
 * @returns the path of the page
 * @throws RangeError when no run folder is given
 * @throws Error when a folder holds no metrics.jsonl
 */
export async function buildReport(runDirs: readonly string[]): Promise<string> {
  if (runDirs.length === 0) {
    throw new RangeError(
      "Cannot build a report: need at least one run folder, got none; give <output_dir>/<run>",
    );
  }
  const isOne = runDirs.length === 1;
  const path = isOne ? join(runDirs[0], "report.html") : join(commonFolder(runDirs), "comparison.html");
  return await writePage(path, await reportPage(runDirs));
}

/**
 * The page of one run, or the comparison of several under short names, from what they have logged so far.
 * @throws Error when a folder holds no metrics.jsonl
 */
export async function reportPage(runDirs: readonly string[], options?: PageOptions): Promise<string> {
  const runs = await Promise.all(runDirs.map(readRun));
  if (runs.length === 1) return runPage(runs[0], options);
  const labels = runLabels(runDirs);
  return comparisonPage(runs.map((run, i) => ({ ...run, name: labels[i] })), options);
}

/** Writes `<runDir>/report.html` from what the run has logged so far, and returns its path. */
export async function writeReport(runDir: string): Promise<string> {
  return await buildReport([runDir]);
}

/** The deepest folder above all of the given ones. */
export function commonFolder(folders: readonly string[]): string {
  const isAbove = (parent: string) =>
    folders.every((folder) => {
      for (let above = dirname(resolve(folder));; above = dirname(above)) {
        if (above === parent) return true;
        if (above === dirname(above)) return false;
      }
    });
  let common = dirname(resolve(folders[0]));
  while (!isAbove(common)) common = dirname(common);
  return common;
}

async function writePage(path: string, html: string): Promise<string> {
  await writeFileAtomic(path, html);
  return path;
}
