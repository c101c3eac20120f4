/** The text of a DeepSpeed configuration. */
import type { ConfigSource } from "../config/yaml_file.ts";
import { ownFile } from "../io/files/own_files.ts";
import { readText } from "../io/files/whole_file.ts";

/** @throws Error when the file cannot be read */
export async function readDeepspeedFile(path: string): Promise<ConfigSource> {
  return { text: await readText(ownFile(path), "read DeepSpeed's settings from"), fileName: path };
}
