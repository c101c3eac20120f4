/** What formats are made of: a format, and files of the checkout that seeds are. */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../unit/source_files.ts";
import type { Shape } from "./mutants.ts";

export interface Format {
  name: string;
  /** Below the folder; its last part must be in every message. */
  file: string;
  shape: Shape;
  /** @param dir where prepare() was */
  seeds: (dir: string) => Uint8Array[];
  /** Puts what lies beside the file into the folder. */
  prepare?: (dir: string) => unknown;
  /** Reads the file as the program does, and uses what came out. */
  read: (dir: string) => unknown;
}

export const fileOf = (path: string) => new Uint8Array(readFileSync(join(ROOT, path)));
export const base64Of = (path: string, key: string) =>
  new Uint8Array(Buffer.from(JSON.parse(readFileSync(join(ROOT, path), "utf8"))[key], "base64"));
export const text = (...lines: string[]) => new TextEncoder().encode(lines.join("\n"));
export const json = (value: unknown) => text(JSON.stringify(value));
export const MODEL = "test/golden/models/llama2";
export const copy = (from: string) => (dir: string) => cpSync(join(ROOT, from), dir, { recursive: true });
