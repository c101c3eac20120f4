/**
 * One run, one folder: who works in a folder leaves a note beside it, and a second run reads who it is instead of
 * writing into the same files. A note that nobody stands behind any more is taken over.
 */
import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { link, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { makeFolders } from "./atomic_files.ts";
import { explainFsError, systemCode } from "./errors.ts";
import { isJsonObject } from "./json_object.ts";

/** A run that is alive says so this often, for those on other machines. */
const BEAT_MS = 30_000;
/** A note of another machine that is older than this has nobody behind it. */
const STALE_MS = 5 * 60_000;
/** What file systems without hard links say. */
const NO_LINKS = ["EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP"];
/** Within which a run that took a note for one of nobody's has moved what stands in its place, and another sees it. */
const SETTLE_MS = 100;
/** Takings over that may come before one's own. */
const TRIES = 5;
/** A process of this machine that is at its end is waited for: the ranks of a killed mpirun outlive it by a moment. */
const PATIENCE_MS = 5000;
const LOOK_MS = 100;

/** Who holds a folder. */
export interface Owner {
  host: string;
  pid: number;
  /** What tells the process from a later one of its number: boot and start, where the system says; else "". */
  process: string;
  /** The job of a cluster that it is part of, which may come back on another machine; else "". */
  job: string;
  since: string;
}

/** What is asked of this machine. */
export interface Surroundings {
  self: Omit<Owner, "since">;
  /** As Owner.process of any process here; null where there is none. */
  processOf(pid: number): string | null;
  now(): number;
  /** For how long a process of this machine may be at its end before it counts as at work. */
  patienceMs: number;
}

export interface FolderLock {
  /** Who held it before and is gone; null where nobody did. */
  before: Owner | null;
  /** Lets the next one in. */
  release(): void;
}

/** The identity of a process on Linux: the boot, and when in it the process began; "" elsewhere. */
function processHere(pid: number): string | null {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== "EPERM") return null; // another user's is there
  }
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    // Field 22, counted behind the name, which may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return `${boot} ${fields[19]}`;
  } catch {
    return "";
  }
}

const here = (): Surroundings => ({
  self: {
    host: hostname(),
    pid: process.pid,
    process: processHere(process.pid) ?? "",
    job: process.env.SLURM_JOB_ID ?? "",
  },
  processOf: processHere,
  now: Date.now,
  patienceMs: PATIENCE_MS,
});

/** Where the note of a folder lies: beside it, so that the folder may be moved aside. */
export const lockOf = (folder: string): string => join(dirname(folder), `.${basename(folder)}.lock`);

function ownerIn(text: string): Owner | null {
  try {
    const owner: unknown = JSON.parse(text);
    const isOwner = isJsonObject(owner) && typeof owner.host === "string" && Number.isInteger(owner.pid) &&
      ["process", "job", "since"].every((name) => typeof owner[name] === "string");
    return isOwner ? owner as unknown as Owner : null;
  } catch {
    return null; // of a machine that lost power amid writing
  }
}

/** Whether somebody stands behind a note. @param ageMs since it was last said */
function isHeld(owner: Owner, ageMs: number, { self, processOf }: Surroundings): boolean {
  if (owner.job !== "" && owner.job === self.job) return false; // the job itself, started again
  if (owner.host !== self.host) return ageMs < STALE_MS;
  const found = processOf(owner.pid);
  return found !== null && (found === owner.process || found === "" || owner.process === "");
}

/**
 * Takes a folder for this process, until it is released or the process ends.
 * @param folder need not be there; folders that it lies in are made, and gone again with the lock if nothing is in them
 * @throws Error when another run works there; it says which and what to do
 * @throws Error when the note cannot be written (see explainFsError)
 */
export async function lockFolder(folder: string, around: Surroundings = here()): Promise<FolderLock> {
  const path = lockOf(folder);
  const owner: Owner = { ...around.self, since: new Date(around.now()).toISOString() };
  const text = `${JSON.stringify(owner)}\n`;
  let before: Owner | null = null;
  try {
    const made = await makeFolders(dirname(folder));
    await outlast(path, around);
    for (let tries = 0; tries < TRIES; tries++) {
      if (await create(path, text)) {
        if (tries > 0) await setTimeout(SETTLE_MS);
        if (tries === 0 || textIn(path) === text) return held(path, text, { before, made });
      }
      before = takeAside(path, folder, around) ?? before;
    }
  } catch (error) {
    throw explainFsError(error, "lock", path);
  }
  throw new Error(
    `Cannot train in "${folder}": others take it as soon as it is free; choose another output_dir`,
  );
}

/** Comes back once no process of this machine stands behind the note, or none is about to go. */
async function outlast(path: string, around: Surroundings): Promise<void> {
  const owner = ownerIn(textIn(path) ?? "");
  if (owner?.host !== around.self.host) return;
  for (let waitedMs = 0; waitedMs < around.patienceMs && isHeld(owner, 0, around); waitedMs += LOOK_MS) {
    await setTimeout(LOOK_MS);
  }
}

/** Writes the whole note at once where the file system can, if there is none. @returns false where there is one */
async function create(path: string, text: string): Promise<boolean> {
  const own = `${path}-${randomBytes(8).toString("hex")}`;
  await writeFile(own, text);
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    if (!NO_LINKS.includes(systemCode(error) ?? "")) throw error;
  } finally {
    await rm(own, { force: true });
  }
  return await writeFile(path, text, { flag: "wx" }).then(() => true, (error) => {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  });
}

/**
 * Moves a note out of the way that nobody stands behind. Without a pause: what another run does between reading and
 * moving is the less.
 * @returns whose it was; null where it is unreadable or gone
 * @throws Error when somebody does
 */
function takeAside(path: string, folder: string, around: Surroundings): Owner | null {
  const text = textIn(path);
  const ageMs = around.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  if (text === null) return null;
  const owner = ownerIn(text);
  if (owner && isHeld(owner, ageMs, around)) {
    throw new Error(
      `Cannot train in "${folder}": process ${owner.pid} on ${owner.host} has been at it since ${owner.since}. Wait ` +
        "for it or end it, or choose another output_dir; " +
        `where it is certain that nothing trains there, remove "${path}"`,
    );
  }
  const aside = `${path}-${randomBytes(8).toString("hex")}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error; // another one was quicker
  }
  try {
    // Between reading and moving another run may have taken it: then it is that one's again.
    if (textIn(aside) !== text) linkSync(aside, path);
  } catch {
    // A third one has it now; who held it sees that.
  }
  rmSync(aside, { force: true });
  return owner;
}

/** null where there is none. */
function textIn(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw error;
  }
}

function held(
  path: string,
  text: string,
  { before, made }: { before: Owner | null; made: string[] },
): FolderLock {
  const isOurs = () => {
    try {
      return readFileSync(path, "utf8") === text;
    } catch {
      return false;
    }
  };
  const beat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // Whoever removed it has said that nothing trains here.
    }
  }, BEAT_MS);
  beat.unref();
  const release = () => {
    clearInterval(beat);
    process.off("exit", release);
    if (isOurs()) rmSync(path, { force: true });
    try {
      for (const empty of made.toReversed()) rmdirSync(empty);
    } catch {
      // The run has left something there, as most do.
    }
  };
  process.on("exit", release);
  return { before, release };
}
