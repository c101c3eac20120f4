/** What docs/measurements.md says of a step that was measured where this program runs. */
import { readFileSync } from "node:fs";

const PAGE = new URL("../../docs/measurements.md", import.meta.url);
/** As bench/job_table.ts writes it. */
const TABLE = /one training step at shape (\S+)\n[\s\S]*?\n(phase +ms[\s\S]*?)\n\n/g;

/** Seconds of each phase that the page has for a shape; null where it has none. */
export function measuredPhases(
  shape: string,
  page: string = readFileSync(PAGE, "utf8"),
): Map<string, number> | null {
  const found = [...page.matchAll(TABLE)].find(([, name]) => name === shape);
  if (!found) return null;
  const rows = found[2].split("\n").slice(1).map((line) => line.trim().split(/ {2,}/));
  return new Map(rows.map(([phase, ms]) => [phase, Number(ms) / 1e3]));
}
