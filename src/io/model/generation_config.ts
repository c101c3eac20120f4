// generation_config.json of a model: how its makers generate with it. Only the end tokens are read.

import { join } from "node:path";
import { isJsonObject } from "../files/json_object.ts";
import { readIfThere } from "../files/presence.ts";

export const GENERATION_CONFIG = "generation_config.json";

/**
 * Ids of its eos_token_id, one or a list; none where the file or the key is missing.
 * @throws Error when the file cannot be read or is no JSON object, or the ids are no whole numbers
 */
export async function readGenerationEnds(dir: string): Promise<number[]> {
  const path = join(dir, GENERATION_CONFIG);
  const text = await readIfThere(path, "read how the model generates from");
  if (text === null) return [];
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path}: not valid JSON (${(cause as Error).message}); correct it, or delete it`, {
      cause,
    });
  }
  if (!isJsonObject(json)) {
    throw new Error(`${path}: required a JSON object; correct it, or delete it`);
  }
  const given = json.eos_token_id ?? [];
  const ids: unknown[] = Array.isArray(given) ? given : [given];
  if (ids.every((id): id is number => Number.isSafeInteger(id))) return ids;
  throw new Error(
    `${path}: eos_token_id is required to be an id or a list of ids, got ${JSON.stringify(given)}`,
  );
}
