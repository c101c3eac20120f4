/** The files of the checkout, for the tests about the house itself. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Paths under `folder` (relative to the checkout, with "/") that end in `suffix`, sorted; none without the folder. */
export function filesUnder(folder: string, suffix: string): string[] {
  return readdirSync(ROOT).includes(folder.split("/")[0])
    ? readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .map((path) => `${folder}/${path.replaceAll("\\", "/")}`)
      .filter((path) => path.endsWith(suffix)).sort()
    : [];
}

export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** TypeScript without its comments. Good enough for our sources: no string of ours holds a comment's opening. */
export function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}
