/**
 * The world of MPI that this process is a rank of: opened, called by others of its threads one call at a time, and left
 * so that no rank waits for ever. Whatever ends this process before the world is closed ends all ranks.
 */
import { escapeControls } from "../../config/controls.ts";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Launcher } from "./launcher.ts";
import { type MpiFunction, type MpiLibrary } from "./library.ts";

/** How long a rank waits in one collective: for the slowest rank's generation, or a scorer that comes back. */
const TIMEOUT_VARIABLE = "GRPO_WEBGPU_MPI_TIMEOUT_S";
const DEFAULT_TIMEOUT_S = 1800;
/** MPI_Init and MPI_Finalize block the whole process: the kernel's alarm ends it where they never return. */
const BLOCKED_S = 300;

export interface World {
  rank: number;
  size: number;
  /** Among the ranks of this machine. */
  localRank: number;
  localSize: number;
  library: MpiLibrary;
  /**
   * Calls a function of MPI on another thread, and throws where it fails.
   * @param args typed arrays stay where they are until the call has returned
   */
  call(name: MpiFunction, ...args: unknown[]): Promise<void>;
  /**
   * Gathers `own` of every rank into `all`, in rank order. The others may be long in coming: MPI's own waiting would
   * keep a core busy until then.
   * @param own few values, of doubles
   */
  gatherPatiently(own: Float64Array, all: Float64Array): Promise<void>;
  /**
   * Ends all ranks where `work` takes longer than a rank may wait.
   * @param text what is waited in
   */
  guarded<R>(text: string, work: Promise<R>): Promise<R>;
  /** Ends all ranks at once, this one too. @param message goes to stderr first */
  abort(message: string, code?: number): never;
  /** Finalizes MPI, once every rank does. */
  finalize(): void;
}

/**
 * @returns seconds
 * @throws RangeError when the variable is no number above 0
 */
function timeoutSeconds(): number {
  const text = process.env[TIMEOUT_VARIABLE];
  const seconds = text === undefined || text === "" ? DEFAULT_TIMEOUT_S : Number(text);
  // setTimeout counts no further.
  if (seconds > 0 && seconds * 1000 < 2 ** 31) return seconds;
  throw new RangeError(`${TIMEOUT_VARIABLE} is "${text}": need seconds, above 0 and below 2147483`);
}

/** @throws Error when the call does not succeed */
function checked({ functions }: MpiLibrary, name: MpiFunction, code: number): void {
  if (code === 0) return;
  const [bytes, length] = [new Uint8Array(8192), new Int32Array(1)];
  functions.Error_string(code, bytes, length);
  const text = new TextDecoder().decode(bytes.subarray(0, length[0]));
  throw new Error(`MPI_${name} failed with code ${code}: ${text}`);
}

/** @throws Error when ranks and library are not of one kind */
function assertSuits(library: MpiLibrary, { name, vendor, remedy }: Launcher): void {
  if (vendor === null || vendor === library.vendor) return;
  throw new Error(
    `This rank was started by ${name}, and the MPI library ${library.path} is ${library.version}: each rank would be ` +
      `alone in a world of its own; ${remedy[library.vendor]}`,
  );
}

/** @throws Error when MPI counts other ranks than were started */
function assertWhole(size: number, library: MpiLibrary, launcher: Launcher): void {
  if (launcher.size === null || launcher.size === size) return;
  throw new Error(
    `${launcher.name} started ${launcher.size} ranks, and MPI (${library.version}, ${library.path}) finds a world of ` +
      `${size}: the library does not understand this launcher; ${launcher.remedy[library.vendor]}`,
  );
}

/**
 * Opens the world, with every other rank.
 * @throws Error when library and launcher do not suit each other, or MPI fails
 */
export function openWorld(library: MpiLibrary, launcher: Launcher): World {
  assertSuits(library, launcher);
  const timeoutS = timeoutSeconds();
  const { functions, handles } = library;
  const call = (name: MpiFunction, ...args: unknown[]) => checked(library, name, functions[name](...args));
  const one = new Int32Array(1);
  const numberBy = (name: "Comm_rank" | "Comm_size", communicator: unknown) => {
    call(name, communicator, one);
    return one[0];
  };
  library.alarm(BLOCKED_S);
  // Of several threads: the watchdog aborts while another thread waits in a call.
  call("Init_thread", 0n, 0n, handles.threads.multiple, one);
  library.alarm(0);
  const threads = one[0];
  call("Comm_set_errhandler", handles.world, handles.errorsReturn);
  const size = numberBy("Comm_size", handles.world);
  const rank = numberBy("Comm_rank", handles.world);
  const ends = endings(library, rank);
  try {
    assertWhole(size, library, launcher);
    if (threads < handles.threads.serialized) {
      throw new Error(
        `The MPI library ${library.path} serves one thread alone: need one built for MPI_THREAD_MULTIPLE`,
      );
    }
    const near = handles.type === "int" ? new Int32Array(1) : new BigUint64Array(1);
    call("Comm_split_type", handles.world, handles.shared, rank, handles.noInfo, near);
    return {
      rank,
      size,
      localRank: numberBy("Comm_rank", near[0]),
      localSize: numberBy("Comm_size", near[0]),
      library,
      call: (name, ...args) => callAsync(library, name, args),
      gatherPatiently: (own, all) => gatherPatiently(library, own, all),
      guarded: (text, work) => guarded(work, timeoutS, () => ends.abort(tooLong(rank, size, text, timeoutS))),
      ...ends,
    };
  } catch (error) {
    // Worlds of one end alone, as they are; in a whole one every rank finds the same.
    ends.finalize();
    throw error;
  }
}

const tooLong = (rank: number, size: number, text: string, seconds: number) =>
  `Rank ${rank} of ${size} has waited ${seconds} s in ${text}: another rank is stuck, or slower than that; all ranks ` +
  `end here. Where generating or scoring may take longer, set ${TIMEOUT_VARIABLE} to more seconds`;

function callAsync(library: MpiLibrary, name: MpiFunction, args: unknown[]): Promise<void> {
  return new Promise((resolve, reject) => {
    library.functions[name].async(...args, (error: Error | null, code: number) => {
      // Named here, so that the arrays are not collected before the call has returned.
      if (args.length > 0 && error) return reject(error);
      try {
        resolve(checked(library, name, code));
      } catch (failure) {
        reject(failure as Error);
      }
    });
  });
}

/** Looks are as far apart as this one's share of the wait, up to a hundredth of a second. */
const LOOK_SHARE = 0.1;
const LONGEST_LOOK_MS = 10;

async function gatherPatiently(library: MpiLibrary, own: Float64Array, all: Float64Array): Promise<void> {
  const { functions, handles } = library;
  // As large as a handle and a status of any library.
  const [request, status, isDone] = [new BigUint64Array(1), new BigUint64Array(16), new Int32Array(1)];
  const type = handles.double;
  const began = performance.now();
  checked(
    library,
    "Iallgather",
    functions.Iallgather(own, own.length, type, all, own.length, type, handles.world, request),
  );
  while (true) {
    checked(library, "Test", functions.Test(request, isDone, status));
    if (isDone[0]) return;
    const pauseMs = Math.min(LONGEST_LOOK_MS, LOOK_SHARE * (performance.now() - began));
    await (pauseMs < 1 ? new Promise((resolve) => setImmediate(resolve)) : sleep(pauseMs));
  }
}

async function guarded<R>(work: Promise<R>, seconds: number, abort: () => void): Promise<R> {
  const timer = setTimeout(abort, seconds * 1000);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

/** In which a launcher on a busy machine passes on the last words of a rank. */
const SAID_MS = 300;

/** How the world ends, in order or not. */
function endings({ functions, handles, alarm }: MpiLibrary, rank: number): Pick<World, "abort" | "finalize"> {
  let isOpen = true;
  function abort(message: string, code = 1): never {
    isOpen = false;
    process.stderr.write(`${escapeControls(message)}\n`);
    // mpirun ends on an abort without what it has not read yet.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SAID_MS);
    // Does not return, nor does it on the other ranks.
    functions.Abort(handles.world, code || 1);
    process.exit(code || 1);
  }
  const onFatal = (error: unknown) => {
    if (isOpen) abort(`Rank ${rank} fails: ${error instanceof Error ? error.stack ?? error.message : error}`);
  };
  const onExit = (code: number) => {
    if (isOpen) abort(`Rank ${rank} ends without the others (exit code ${code}), so all of them end`, code);
  };
  process.on("uncaughtExceptionMonitor", onFatal).on("exit", onExit);
  return {
    abort,
    finalize() {
      if (!isOpen) return;
      isOpen = false;
      process.off("uncaughtExceptionMonitor", onFatal).off("exit", onExit);
      alarm(BLOCKED_S);
      functions.Finalize();
      alarm(0);
    },
  };
}
