/** What comes with the program: the quickstart's models, prompts and settings. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);

/** The folder of the program: the checkout, or the installed package. */
export const PROGRAM_FOLDER = fileURLToPath(ROOT);

/**
 * The path as it is; where nothing lies there, that of the program's own file of that name ("configs/...",
 * "models/..."), so that the installed package finds its quickstart from any folder.
 */
export function ownFile(path: string): string {
  if (!/^(configs|models)\//.test(path) || existsSync(path)) return path;
  const own = fileURLToPath(new URL(path, ROOT));
  return existsSync(own) ? own : path;
}
