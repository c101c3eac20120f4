// What reaches npm and not the command behind it. npm hands SIGTERM and SIGINT on; of SIGHUP and SIGUSR2 it dies and
// leaves the command behind; at SIGUSR1 it opens Node's debugger, says nothing to the command, and goes on.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

const LOOK_MS = 250;
const LISTENING = "0A";

/**
 * Sends this process what its npm was sent: SIGHUP once npm is gone, SIGUSR1 once its debugger is open (on Linux).
 * Does nothing for a command that npm has not started.
 * @param {string} task
 */
export function watchNpm(task) {
  const { npm_lifecycle_event: event } = process.env;
  if (process.platform === "win32" || (event !== task && event !== "npx")) return;
  const parent = process.ppid;
  const isNpm = /\bnpm\b/.test(read(`/proc/${parent}/cmdline`));
  const timer = setInterval(() => {
    const isGone = process.ppid !== parent;
    if (!isGone && !(isNpm && isListening(parent))) return;
    clearInterval(timer);
    process.kill(process.pid, isGone ? "SIGHUP" : "SIGUSR1");
  }, LOOK_MS);
  timer.unref();
}

/**
 * Whether a process has a TCP socket that listens, as npm has for its debugger alone.
 * @param {number} pid
 */
function isListening(pid) {
  const inodes = new Set(socketsOf(pid));
  if (inodes.size === 0) return false;
  return ["tcp", "tcp6"].some((table) =>
    read(`/proc/${pid}/net/${table}`).split("\n").some((line) => {
      const fields = line.trim().split(/\s+/);
      return fields[3] === LISTENING && inodes.has(fields[9]);
    })
  );
}

/**
 * Inodes of the sockets that a process has open.
 * @param {number} pid
 */
function socketsOf(pid) {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap((fd) =>
      /^socket:\[(\d+)\]$/.exec(linkOf(`${folder}/${fd}`))?.[1] ?? []
    );
  } catch {
    return []; // it is gone
  }
}

/** @param {string} path */
function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed meanwhile
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
