// Runs another program for the set-up scripts: output passed through, signals handed on.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";

/**
 * Runs `command` on this terminal and resolves to its exit code, as a shell counts it: 128 + n after signal n.
 * SIGTERM and SIGHUP are handed on; Ctrl-C reaches the whole foreground group by itself, so here it is only survived.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined> }} [options]
 * @returns {Promise<number>}
 * @throws when the program cannot be started
 */
export async function runCommand(command, args, options = {}) {
  // npm is a .cmd file on Windows, which only a shell can start.
  const child = spawn(command, args, { stdio: "inherit", shell: command.endsWith(".cmd"), ...options });
  const handOn = (/** @type {NodeJS.Signals} */ signal) => child.kill(signal);
  const survive = () => {};
  process.on("SIGTERM", handOn).on("SIGHUP", handOn).on("SIGINT", survive);
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? "SIGKILL"]));
    });
  } finally {
    process.off("SIGTERM", handOn).off("SIGHUP", handOn).off("SIGINT", survive);
  }
}

/**
 * Runs `command` quietly and keeps what it said.
 * @param {string} command
 * @param {string[]} args
 * @param {{ timeoutMs?: number, env?: Record<string, string | undefined> }} [options]
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>} code 1 also when it could not be started
 */
export function readCommand(command, args, { timeoutMs = 120_000, env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs, env });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => stdout += chunk);
    child.stderr.on("data", (chunk) => stderr += chunk);
    child.on("error", (error) => resolve({ code: 1, stdout, stderr: stderr + error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}
