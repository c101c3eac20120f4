/** Modules that a user names: JavaScript or TypeScript, in a folder of any kind of package or of none. */
import { pathToFileURL } from "node:url";
import { systemCode } from "./errors.ts";
import { isThere } from "./presence.ts";
import { assertFile } from "./whole_file.ts";

/**
 * What Node says before it runs anything, of TypeScript that it cannot read by itself: it knows no such files, or took
 * the file for CommonJS since no package.json beside it says otherwise.
 */
const UNREAD = ["ERR_UNKNOWN_FILE_EXTENSION", "ERR_REQUIRE_CYCLE_MODULE", "ERR_REQUIRE_ESM"];

/** The exports of a module. @throws what the module throws, or Error when there is none */
export async function importModule(path: string): Promise<Record<string, unknown>> {
  const { href } = pathToFileURL(path);
  if (await isThere(path)) await assertFile(path, "load");
  try {
    return await import(href);
  } catch (error) {
    // A type is a syntax error to Node, and so is the first one that it meets; of a file that it read none.
    if (!UNREAD.includes(systemCode(error) ?? "") && !(error instanceof SyntaxError)) throw error;
    const { tsImport } = await import("tsx/esm/api");
    return await tsImport(href, import.meta.url);
  }
}
