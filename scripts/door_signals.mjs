// Signals while a command starts, and while it answers none itself. Imported first of all: Node without a listener
// opens its debugger for SIGUSR1, and a process 1, as in a container, is deaf to what nobody listens for. Deno opens
// its debugger whoever listens; what anybody on the machine may then run here is shut at once.
import inspector from "node:inspector";
import { constants } from "node:os";
import process from "node:process";

/** What a job's script takes for "queue me again": of a run, whose cluster warns it so. As src/cli/signals.ts. */
const EXIT_REQUEUE = 85;
/** @type {NodeJS.Signals[]} */
const WARNINGS = ["SIGUSR1", "SIGUSR2"];
/** What the system ends any other process with. @type {NodeJS.Signals[]} */
const ENDS = process.pid === 1 ? ["SIGINT", "SIGTERM", "SIGHUP"] : [];

const DEBUGGER_OPENS_MS = 2000;
const LOOK_MS = 5;

function shutDebugger() {
  const timer = setInterval(() => inspector.url() !== undefined && inspector.close(), LOOK_MS);
  setTimeout(() => clearInterval(timer), DEBUGGER_OPENS_MS).unref();
  timer.unref();
}

if (process.platform !== "win32") {
  for (const name of [...WARNINGS, ...ENDS]) {
    const isRequeue = process.argv[2] === "train" && WARNINGS.includes(name);
    process.on(name, () => {
      // A command that listens answers for itself.
      if (process.listenerCount(name) === 1) {
        process.exit(isRequeue ? EXIT_REQUEUE : 128 + constants.signals[name]);
      }
      if ("Deno" in globalThis && name === "SIGUSR1") shutDebugger();
    });
  }
}
