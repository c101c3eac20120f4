/** The case lists of all ops: one file an op, in the folder of its family. */
import { readdirSync } from "node:fs";
import type { OpCase } from "./case.ts";

export interface CaseSuite {
  op: string;
  cases: OpCase[];
}

const FOLDER = new URL("./", import.meta.url);

/** Path of each op's cases below this folder, by op, in the order of the names. */
function caseFiles(): Map<string, string> {
  const paths = readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => /^\w+\/\w+\.ts$/.test(path));
  const byOp = paths.map((path) => [path.replace(/^.*\/|\.ts$/g, ""), path] as const);
  return new Map(byOp.sort(([a], [b]) => a < b ? -1 : 1));
}

/**
 * The cases of every op, or of one.
 * @throws RangeError when the op has no case file
 */
export async function caseSuites(only?: string): Promise<CaseSuite[]> {
  const files = caseFiles();
  if (only !== undefined && !files.has(only)) {
    throw new RangeError(`Cannot find cases of "${only}": no such op; ops: ${[...files.keys()].join(", ")}`);
  }
  const wanted = only === undefined ? [...files] : [[only, files.get(only)!] as const];
  return await Promise.all(wanted.map(async ([op, path]) => {
    const { cases } = await import(new URL(path, FOLDER).href) as { cases: OpCase[] };
    return { op, cases };
  }));
}
