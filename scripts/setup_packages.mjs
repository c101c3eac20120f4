// Installs the locked packages into node_modules when they are missing or another lock's.
// npm and Deno share that folder: a tree that either of them made from the present locks serves both.
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "./run_command.mjs";

const LOCK_WAIT_MS = 10 * 60_000;
const LOCK_POLL_MS = 500;
/** Waits below this are over before they are read about. */
const LOCK_SAID_MS = 1000;

/**
 * Installs the packages unless they are there; resolves to whether it had to.
 * @param {string} root the checkout
 * @param {{ dev: boolean }} want dev: also what only tests and checks need
 * @returns {Promise<boolean>}
 * @throws {Error} when the installer fails
 */
export async function ensurePackages(root, { dev }) {
  if (isInstalled(root, dev)) return false;
  // Jobs of one array may start on one shared checkout at the same moment.
  await withInstallLock(root, async () => {
    if (isInstalled(root, dev)) return;
    await install(root, dev);
    linkDeno(root);
    writeStamp(root, dev);
  });
  return true;
}

/**
 * @param {string} root
 * @param {boolean} dev
 */
async function install(root, dev) {
  console.error(`Installing packages into ${join(root, "node_modules")} (once; needs the npm registry)...`);
  const startMs = performance.now();
  const [command, args] = "Deno" in globalThis
    ? [process.execPath, ["install", "--frozen"]]
    : npmCommand(["ci", dev ? "--include=dev" : "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]);
  // Install scripts are left out: no package here needs its own.
  const code = await runCommand(command, args, { cwd: root });
  if (code !== 0) {
    throw new Error(
      `Cannot install the packages: "${basename(command)} ${args.join(" ")}" exited with ${code}; ` +
        `see its lines above (no network? a proxy to set?), then run the same command again`,
    );
  }
  console.error(`Packages installed in ${((performance.now() - startMs) / 1000).toFixed(1)} s.`);
}

/**
 * Points node_modules/.bin/deno at a Deno program, the running one or the package's. `deno task` puts that folder
 * first on PATH, and what is linked there otherwise, a script for Node, hands no signals on.
 * @param {string} root
 */
function linkDeno(root) {
  const modules = join(root, "node_modules");
  const link = join(modules, ".bin", "deno");
  if (process.platform === "win32" || !lstatSync(link, { throwIfNoEntry: false })) return;
  const target = "Deno" in globalThis ? process.execPath : packagedDeno(modules);
  if (target === undefined) return;
  rmSync(link);
  symlinkSync(target, link);
}

/** @param {string} modules */
function packagedDeno(modules) {
  const scope = join(modules, "@deno");
  const [platform] = existsSync(scope) ? readdirSync(scope) : [];
  return platform && join("..", "@deno", platform, "deno");
}

/**
 * The npm that started us where there is one, else the one on PATH.
 * @param {string[]} args
 * @returns {[string, string[]]}
 */
function npmCommand(args) {
  const cli = process.env.npm_execpath;
  if (cli && basename(cli) === "npm-cli.js") return [process.execPath, [cli, ...args]];
  return [process.platform === "win32" ? "npm.cmd" : "npm", args];
}

/**
 * @param {string} root
 * @param {boolean} dev
 */
function isInstalled(root, dev) {
  const stamp = readRecord(stampPath(root));
  if (stamp && stamp.locks === hashOfLocks(root) && (stamp.dev || !dev)) return true;
  return isNpmTreeOfLock(root, dev);
}

/**
 * Whether someone already ran npm here: npm records what it installed in node_modules/.package-lock.json.
 * @param {string} root
 * @param {boolean} dev
 */
function isNpmTreeOfLock(root, dev) {
  const installed = readRecord(join(root, "node_modules", ".package-lock.json"))?.packages;
  if (!installed) return false;
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  return Object.entries(locked).every(([path, entry]) =>
    path === "" || entry.optional || entry.devOptional || (entry.dev && !dev) ||
    (installed[path]?.version === entry.version && existsSync(join(root, path)))
  );
}

/**
 * What an installation noted; undefined when it noted nothing, or a full disk left half a note.
 * @param {string} path
 */
function readRecord(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** @param {string} root */
function stampPath(root) {
  return join(root, "node_modules", ".setup-stamp");
}

/**
 * @param {string} root
 * @param {boolean} dev
 */
function writeStamp(root, dev) {
  // Deno always installs everything.
  const stamp = { locks: hashOfLocks(root), dev: dev || "Deno" in globalThis };
  writeFileSync(stampPath(root), JSON.stringify(stamp) + "\n");
}

/** @param {string} root */
function hashOfLocks(root) {
  const hash = createHash("sha256");
  for (const name of ["package-lock.json", "deno.lock"]) hash.update(readFileSync(join(root, name)));
  return hash.digest("hex");
}

/**
 * Runs `work` while holding `.setup/install.lock`, whose text names the holder.
 * @param {string} root
 * @param {() => Promise<void>} work
 * @throws {Error} when another process keeps it for 10 minutes
 */
async function withInstallLock(root, work) {
  const lockFile = join(root, ".setup", "install.lock");
  mkdirSync(join(root, ".setup"), { recursive: true });
  const startMs = Date.now();
  let isSaid = false;
  while (!tryLock(lockFile)) {
    const held = `${lockFile} is held by ${holderOf(lockFile)}`;
    const remedy = "delete it if nothing is installing there";
    if (Date.now() > startMs + LOCK_WAIT_MS) {
      throw new Error(`Cannot install the packages: ${held}; ${remedy}`);
    }
    if (!isSaid && Date.now() > startMs + LOCK_SAID_MS) {
      console.error(
        `Waiting for another installation, up to ${LOCK_WAIT_MS / 60_000} minutes: ${held}; ${remedy}`,
      );
      isSaid = true;
    }
    await sleep(LOCK_POLL_MS);
  }
  try {
    await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

/** @param {string} lockFile */
function holderOf(lockFile) {
  try {
    const [host, pid] = readFileSync(lockFile, "utf8").split(" ");
    return `process ${pid || "unknown"} of ${
      host === hostname() ? "this machine" : host || "an unknown machine"
    }`;
  } catch {
    return "nobody any more"; // it was given back between two looks
  }
}

/** @param {string} lockFile */
function tryLock(lockFile) {
  try {
    writeFileSync(lockFile, `${hostname()} ${process.pid}`, { flag: "wx" });
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
    if (isAbandoned(lockFile)) rmSync(lockFile, { force: true });
    return false;
  }
}

/**
 * Whether the holder ran on this machine and is gone. A holder on another machine cannot be asked.
 * @param {string} lockFile
 */
function isAbandoned(lockFile) {
  try {
    const [host, pid] = readFileSync(lockFile, "utf8").split(" ");
    if (host !== hostname() || !pid) return false;
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "ESRCH";
  }
}
