/** The text of a DeepSpeed configuration. */
import { readFile } from "node:fs/promises";
import type { ConfigSource } from "../config/yaml_file.ts";
import { explainFsError } from "../io/files/errors.ts";
import { ownFile } from "../io/files/own_files.ts";

/** @throws Error when the file cannot be read */
export async function readDeepspeedFile(path: string): Promise<ConfigSource> {
  try {
    return { text: await readFile(ownFile(path), "utf8"), fileName: path };
  } catch (error) {
    throw explainFsError(error, "read DeepSpeed's settings from", path);
  }
}
