/** The program in either runtime. */
import { join } from "node:path";
import process from "node:process";
import { type Program, ROOT, startCommand } from "../e2e/program.ts";

export const RUNTIMES = ["node", "deno"] as const;
export type Runtime = typeof RUNTIMES[number];

/** The Deno of the developers' packages. */
export const DENO = join(ROOT, "node_modules/.bin/deno");
const COMMANDS: Record<Runtime, readonly [string, readonly string[]]> = {
  node: [process.execPath, ["--import", "tsx"]],
  deno: [DENO, ["run", "-A", "--no-check", "--unstable-webgpu"]],
};
const MAIN = "src/cli/main.ts";

/**
 * Starts `main.ts <args>`, or another program with its arguments.
 * @param further options of the runtime
 * @param env beside this process's environment
 */
export function startIn(
  runtime: Runtime,
  args: readonly string[],
  program = MAIN,
  further: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Program {
  const [command, options] = COMMANDS[runtime];
  return startCommand(command, [...options, ...further, join(ROOT, program), ...args], {
    env: { ...process.env, DENO_WEBGPU_BACKEND: "vulkan", ...env },
  });
}
