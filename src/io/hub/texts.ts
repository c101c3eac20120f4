// What a model says of itself, without its weights: config.json and the tokenizer.

import { join } from "node:path";
import { downloadBlob } from "./blob.ts";
import type { HubAccess } from "./http.ts";
import type { HubName } from "./name.ts";
import { listRepository, TEXT_FILES } from "./repository.ts";

/**
 * Downloads a model's small files into `dir`, past the cache: a snapshot without weights would look broken there.
 * @throws Error when there is no such model, or the hub does not answer
 */
export async function fetchTexts(
  { id, revision = "main" }: HubName,
  access: HubAccess,
  dir: string,
): Promise<void> {
  const { commit, files } = await listRepository(id, revision, access);
  for (const name of TEXT_FILES) {
    const file = files.get(name);
    if (file === undefined) continue;
    await downloadBlob(access, { id, revision: commit, file: name }, file, join(dir, name), () => {});
  }
}
