/** What a folder holds, for comparing it with another or with itself later. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Hashes of all files below a folder, by their paths from it; without the files and folders in it that are named. */
export function contentsOf(folder: string, except: readonly string[] = []): Record<string, string> {
  const contents: Record<string, string> = {};
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (except.includes(entry.name)) continue;
    if (entry.isFile()) contents[entry.name] = createHash("sha256").update(readFileSync(path)).digest("hex");
    for (const [name, hash] of Object.entries(entry.isDirectory() ? contentsOf(path) : {})) {
      contents[join(entry.name, name)] = hash;
    }
  }
  return contents;
}
