/** The program in either runtime. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { type Program, ROOT, startCommand } from "../e2e/program.ts";

export const RUNTIMES = ["node", "deno"] as const;
export type Runtime = typeof RUNTIMES[number];

/**
 * The Deno of the developers' packages: the program itself. What npm links in .bin may be a wrapper, which hands on no
 * signal, and where it is killed leaves Deno behind at work.
 */
export const DENO = execFileSync(
  join(ROOT, "node_modules/.bin/deno"),
  ["eval", "console.log(Deno.execPath())"],
  { encoding: "utf8" },
).trim();
const COMMANDS: Record<Runtime, readonly [string, readonly string[]]> = {
  node: [process.execPath, ["--import", "tsx"]],
  deno: [DENO, ["run", "-A", "--no-check", "--unstable-webgpu"]],
};
const MAIN = "src/cli/main.ts";

export interface StartOptions {
  /** Another program than the command line. */
  program?: string;
  /** Further options of the runtime. */
  further?: readonly string[];
  /** Beside this process's environment. */
  env?: Readonly<Record<string, string>>;
  /** One that takes longer hangs; as startCommand unless given. */
  deadlineMs?: number;
}

/** Starts `main.ts <args>`, or another program with its arguments. */
export function startIn(
  runtime: Runtime,
  args: readonly string[],
  { program = MAIN, further = [], env = {}, deadlineMs }: StartOptions = {},
): Program {
  const [command, options] = COMMANDS[runtime];
  return startCommand(command, [...options, ...further, join(ROOT, program), ...args], {
    env: { ...process.env, DENO_WEBGPU_BACKEND: "vulkan", ...env },
    deadlineMs,
  });
}
