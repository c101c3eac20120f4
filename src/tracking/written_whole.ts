/** Files that other programs may be reading while they are written. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Through a second name, so that a reader never meets half a file. Folders are made.
 * @throws Error when the file system refuses it
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.partial`, text);
  await rename(`${path}.partial`, path);
}
