// generation_config.json of a model: how its makers generate with it. Only the end tokens are read.

import { join } from "node:path";
import { parsedObject, shortJson } from "../../config/parsed_json.ts";
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
  const json = parsedObject(text, path, "correct it, or delete it");
  const given = json.eos_token_id ?? [];
  const ids: unknown[] = Array.isArray(given) ? given : [given];
  if (ids.every((id): id is number => Number.isSafeInteger(id))) return ids;
  throw new Error(
    `${path}: eos_token_id is required to be an id or a list of ids, got ${shortJson(given)}`,
  );
}
