/** Run folders as one HTML page. */
import { dirname, join, resolve } from "node:path";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { comparisonPage, runPage } from "../tracking/report_page.ts";
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
  const [first] = runDirs;
  if (runDirs.length === 1) return await writeReport(first);
  const runs = await Promise.all(runDirs.map(readRun));
  return await writePage(join(commonFolder(runDirs), "comparison.html"), comparisonPage(runs));
}

/** Writes `<runDir>/report.html` from what the run has logged so far, and returns its path. */
export async function writeReport(runDir: string): Promise<string> {
  return await writePage(join(runDir, "report.html"), runPage(await readRun(runDir)));
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
