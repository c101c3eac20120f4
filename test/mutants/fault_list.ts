/** Every fault of faults/, checked before any is tried: a list that misfits the code must not look like a good one. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Fault, TestSelection } from "./fault.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER = new URL("faults/", import.meta.url);

/** All faults, in the order of their files' names. */
export async function allFaults(): Promise<Fault[]> {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(".ts")).sort();
  const lists = await Promise.all(names.map((name) => import(new URL(name, FOLDER).href)));
  return lists.flatMap(({ faults }) => faults as readonly Fault[]);
}

/** The file of a selection, from the root, and the pattern of names where it has one. */
export function selected(selection: TestSelection): { path: string; pattern?: string } {
  const [file, pattern] = selection.split("#");
  return { path: `test/${file}`, pattern };
}

/** The text of the file with the fault in it. @throws RangeError when `find` does not stand there exactly once */
export function withFault(text: string, { file, find, replace }: Fault): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new RangeError(
      `Cannot put a fault into ${file}: ${JSON.stringify(find)} must stand there once, stands ${
        parts.length - 1
      } times; adapt it to the code`,
    );
  }
  return parts.join(replace);
}

/** What is wrong with the list, a line each; empty when every fault can be tried. */
export function faultProblems(faults: readonly Fault[]): string[] {
  const seen = new Set<string>();
  return faults.flatMap((fault) => {
    const problems: string[] = [];
    const name = `${fault.file}: ${fault.harm}`;
    const key = JSON.stringify([fault.file, fault.find, fault.replace]);
    if (seen.has(key)) problems.push(`${name}: stands twice in the list`);
    seen.add(key);
    if (fault.find === fault.replace) problems.push(`${name}: changes nothing`);
    if (fault.equivalent === undefined && fault.tests.length === 0) problems.push(`${name}: names no test`);
    for (const { path } of fault.tests.map(selected)) {
      if (!existsSync(join(ROOT, path))) problems.push(`${name}: there is no ${path}`);
    }
    try {
      withFault(readFileSync(join(ROOT, fault.file), "utf8"), fault);
    } catch (error) {
      problems.push((error as Error).message);
    }
    return problems;
  });
}
