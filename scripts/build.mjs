// Makes dist/ from src/: JavaScript for Node and Deno, and the types, as the npm package carries them.
import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { runCommand } from "./run_command.mjs";

/**
 * @param {string} root the checkout
 * @returns {Promise<number>} exit code
 */
export function buildPackage(root) {
  rmSync(join(root, "dist"), { recursive: true, force: true });
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const runtime = "Deno" in globalThis ? ["run", "-A"] : [];
  return runCommand(process.execPath, [...runtime, compiler, "-p", join(root, "tsconfig.build.json")]);
}
