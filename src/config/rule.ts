/** A rule between keys. */
import type { Config, ConfigKey } from "./schema.ts";

export interface Rule {
  /** The keys it reads; the first is the one to point at. */
  keys: readonly ConfigKey[];
  /** The problem in words, or null. */
  check(config: Config, worldSize: number): string | null;
}
