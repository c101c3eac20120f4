/** Values of config.json, read and checked. */
import { shortJson } from "../../config/parsed_json.ts";
import type { Json } from "./family.ts";

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @throws TypeError when called: it says what is not computed, and what would be */
export function refuse(path: string, what: string, need: string): never {
  throw new TypeError(`${path}: ${what} is not supported; need ${need}`);
}

/** @throws TypeError when the value is no positive number */
export function positive(json: Json, key: string, path: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  const got = shortJson(value);
  throw new TypeError(
    `${path}: "${key}" must be a positive number, got ${got}; is this the config.json of a language model?`,
  );
}

/** @throws TypeError when the value is no positive integer */
export function positiveInteger(json: Json, key: string, path: string, fallback?: number): number {
  const value = positive(json, key, path, fallback);
  if (Number.isInteger(value)) return value;
  throw new TypeError(`${path}: "${key}" must be an integer, got ${value}`);
}
