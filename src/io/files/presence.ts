/** What lies at a path, if anything. */
import { stat } from "node:fs/promises";
import { systemCode } from "./errors.ts";
import { readText } from "./whole_file.ts";

/** Links count as what they lead to; one that leads nowhere is not there. */
export const isThere = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);

export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then((found) => found.isDirectory(), () => false);

export const isFile = (path: string): Promise<boolean> =>
  stat(path).then((found) => found.isFile(), () => false);

/** Whether an error says that nothing lies at a path: neither it, nor the folder that it would lie in. */
export const isAbsence = (error: unknown): boolean => ["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "");

/**
 * The text of a file; null where there is none.
 * @param action what is tried, as of explainFsError
 * @throws Error when there is one that cannot be read
 */
export async function readIfThere(path: string, action: string): Promise<string | null> {
  return await readText(path, action).catch((error) => {
    if (isAbsence(error)) return null;
    throw error;
  });
}
