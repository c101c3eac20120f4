// Runs another program for the set-up scripts: output passed through, signals handed on.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";

/** Within which a signal reaches this process after its program has ended of it. */
const LATE_SIGNAL_MS = 1000;

/** Programs whose Ctrl-C is survived: one listener for all. */
let survived = 0;
const survive = () => {};

function surviveInterrupts() {
  if (survived++ === 0) process.on("SIGINT", survive);
}

function endSurviving() {
  if (--survived === 0) process.off("SIGINT", survive);
}

/**
 * @typedef {object} CommandOptions
 * @property {string} [cwd]
 * @property {Record<string, string | undefined>} [env]
 * @property {import("node:child_process").StdioOptions} [stdio] this terminal unless given
 * @property {string} [input] given to the program in the place of this terminal's
 * @property {NodeJS.Signals[]} [handsOn] signals that the program answers, beside SIGTERM and SIGHUP
 */

/**
 * Runs `command` on this terminal and resolves to its exit code, as a shell counts it: 128 + n after signal n.
 * SIGTERM and SIGHUP are handed on; Ctrl-C reaches the whole foreground group by itself, so here it is only survived.
 * @param {string} command
 * @param {string[]} args
 * @param {CommandOptions} [options]
 * @returns {Promise<number>}
 * @throws when the program cannot be started
 */
export async function runCommand(command, args, { input, handsOn = [], ...options } = {}) {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  // Not child.kill, after which Deno says that the signal ended the program, however it exited.
  const handOn = (/** @type {NodeJS.Signals} */ signal) => child?.pid && process.kill(child.pid, signal);
  // Before the program starts: none may end the door alone.
  const handedOn = /** @type {NodeJS.Signals[]} */ (["SIGTERM", "SIGHUP", ...handsOn]);
  for (const signal of handedOn) process.on(signal, handOn);
  surviveInterrupts();
  try {
    return await new Promise((resolve, reject) => {
      // npm is a .cmd file on Windows, which only a shell can start.
      /** @type {import("node:child_process").StdioOptions} */
      const stdio = [input === undefined ? "inherit" : "pipe", "inherit", "inherit"];
      const started = spawn(command, args, { stdio, shell: command.endsWith(".cmd"), ...options });
      child = started;
      started.stdin?.on("error", () => {}).end(input); // one that reads nothing has its own exit code
      started.on("error", reject);
      started.on("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? "SIGKILL"]));
    });
  } finally {
    for (const signal of handedOn) process.off(signal, handOn);
    // Deno hands a signal on from a thread of its own, maybe after the program has ended: without a listener by then, a
    // Ctrl-C that the program answered would kill the door in place of the program's exit code.
    setTimeout(endSurviving, LATE_SIGNAL_MS).unref();
  }
}

/**
 * Runs `command` quietly and keeps what it said. After `timeoutMs` it is killed and no longer waited for.
 * @param {string} command
 * @param {string[]} args
 * @param {{ timeoutMs?: number, env?: Record<string, string | undefined> }} [options]
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>} code 1 also when it could not be started
 */
export function readCommand(command, args, { timeoutMs = 120_000, env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
    // Not spawn's own timeout: Node leaves its timer running when there is no such program.
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      // A program of another user (sudo) cannot be killed, and one of its own may hold its output open.
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      end(1, `no answer within ${timeoutMs / 1000} s`);
    }, timeoutMs);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => stdout += chunk);
    child.stderr.on("data", (chunk) => stderr += chunk);
    const end = (/** @type {number | null} */ code, complaint = "") => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, stdout, stderr: stderr + complaint });
    };
    child.on("error", (error) => end(1, error.message));
    child.on("close", (code) => end(code));
  });
}
