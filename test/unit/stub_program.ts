/** Programs that stand in for others: shell scripts that write down how they were called. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";

/** Why a test of programs cannot run here; false where it can. */
export const NO_SHELL = process.platform === "win32" && "needs /bin/sh to stand in for programs";

/** Writes a program that appends its arguments, as a line, to `<path>.calls`, and then runs `script`. */
export function writeStub(path: string, script = ""): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "$*" >> "${path}.calls"\n${script}\n`, { mode: 0o755 });
}

/** The arguments of each call so far. */
export function callsOf(path: string): string[] {
  const file = `${path}.calls`;
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
}

/** Runs `body` while `process.execPath` names another program. */
export async function asRuntime<R>(path: string, body: () => Promise<R>): Promise<R> {
  const { execPath } = process;
  process.execPath = path;
  try {
    return await body();
  } finally {
    process.execPath = execPath;
  }
}

/** What `body` writes with console.error, which is kept off the terminal. */
export async function complaintsOf(body: () => Promise<unknown>): Promise<string> {
  const lines: string[] = [];
  const { error } = console;
  console.error = (...parts: unknown[]) => void lines.push(parts.join(" "));
  try {
    await body();
  } finally {
    console.error = error;
  }
  return lines.join("\n");
}
