/** Runs files of the checkout in processes of their own. */
import { spawnSync, type StdioOptions } from "node:child_process";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What the runtime takes in front of a TypeScript file. */
export const RUNTIME_ARGS: readonly string[] = "Deno" in globalThis
  ? ["run", "-A", "--no-check", "--unstable-webgpu"]
  : ["--import", "tsx"];

/**
 * Runs a TypeScript file in this runtime, in the folder `cwd`, and passes its output on.
 * @returns its exit code
 */
export function runFile(
  file: string,
  args: readonly string[],
  { cwd = ROOT, stdio = "inherit" as StdioOptions } = {},
) {
  const { status } = spawnSync(process.execPath, [...RUNTIME_ARGS, file, ...args], { cwd, stdio });
  return status ?? 1;
}

/** Settings as the program takes them. */
export const setArgs = (settings: readonly string[]) => settings.flatMap((setting) => ["--set", setting]);
