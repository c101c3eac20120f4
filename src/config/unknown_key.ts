/** What to say of a key that there is not. */
import { closest, distance } from "fastest-levenshtein";
import { shortJson } from "./parsed_json.ts";
import { CONFIG_KEYS } from "./schema.ts";
import { OTHER_NAMES, TRL_KEYS } from "./trl_keys.ts";

const MAX_NAME = 100;

/** The name that was probably meant, or null where none is near. */
export function nearestName(typed: string, names: readonly string[]): string | null {
  // Nothing near is as long as a text that somebody put into the place of a name.
  if (typed === "" || typed.length > MAX_NAME || names.length === 0) return null;
  const words = typed.split(/[_-]/);
  const holding = names.find((name) =>
    words.length > 1 && words.every((word) => name.split(/[_-]/).includes(word))
  );
  const nearest = closest(typed, names);
  if (distance(typed, nearest) <= Math.max(2, Math.floor(typed.length / 3))) return nearest;
  return holding ?? null;
}

/** The problem in words, and what to write instead. */
export function unknownKey(key: string): string {
  const name = key.replaceAll("-", "_");
  const said = `unknown key ${shortJson(key)}`;
  if (Object.hasOwn(TRL_KEYS, name)) return `${said}, which is TRL's: ${TRL_KEYS[name]}`;
  if (Object.hasOwn(OTHER_NAMES, name)) return `${said}; ${OTHER_NAMES[name]}`;
  const nearest = nearestName(name, CONFIG_KEYS);
  return `${said}; ` +
    (nearest ? `did you mean "${nearest}"?` : "docs/config.md lists every key; remove it");
}
