/** Finds and loads the machine's MPI library, by koffi, and readies it for calls from a JavaScript runtime. */
import type { LibraryHandle } from "koffi";
import process from "node:process";
import { type Abi, type Handles, handlesOf } from "./handles.ts";
import type { Vendor } from "./launcher.ts";

type Koffi = typeof import("koffi").default;

/** Of async calls: koffi's own 128 KiB are too few for MPICH, which crashes. */
const ASYNC_STACK_BYTES = 8 << 20;

/** By vendor, and of either: names that the system's loader looks up. */
const NAMES: Readonly<Record<Vendor | "any", readonly string[]>> = {
  "Open MPI": ["libmpi.so.40"],
  MPICH: ["libmpi.so.12", "libmpich.so.12"],
  any: ["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so"],
};

// dlopen's, on Linux.
const [RTLD_NOW, RTLD_GLOBAL, RTLD_NODELETE] = [0x2, 0x100, 0x1000];

const FUNCTIONS = {
  Init_thread: ["void *", "void *", "int", "void *"],
  Finalize: [],
  Comm_rank: ["handle", "void *"],
  Comm_size: ["handle", "void *"],
  Comm_split_type: ["handle", "int", "int", "handle", "void *"],
  Comm_set_errhandler: ["handle", "handle"],
  Allgather: ["void *", "int", "handle", "void *", "int", "handle", "handle"],
  Iallgather: ["void *", "int", "handle", "void *", "int", "handle", "handle", "void *"],
  Test: ["void *", "void *", "void *"],
  Allgatherv: ["void *", "int", "handle", "void *", "void *", "void *", "handle", "handle"],
  Alltoallv: [
    ...["void *", "void *", "void *", "handle"],
    ...["void *", "void *", "void *", "handle", "handle"],
  ],
  Bcast: ["void *", "int", "handle", "int", "handle"],
  Reduce_local: ["void *", "void *", "int", "handle", "handle"],
  Abort: ["handle", "int"],
  Error_string: ["int", "void *", "void *"],
} as const;

export type MpiFunction = keyof typeof FUNCTIONS;

/** A function of C that returns an int; `async` takes a callback behind the arguments, and runs on another thread. */
export interface ForeignFunction {
  (...args: unknown[]): number;
  async: (...args: unknown[]) => unknown;
}

export interface MpiLibrary {
  /** As it was loaded. */
  path: string;
  vendor: Vendor;
  abi: Abi;
  /** What the library says of itself, one line. */
  version: string;
  handles: Handles;
  functions: Readonly<Record<MpiFunction, ForeignFunction>>;
  /** Has the kernel end this process after so many seconds, whatever it waits in; 0: no more. */
  alarm(seconds: number): void;
}

/** @throws Error when no MPI library can be loaded */
function firstOf(koffi: Koffi, names: readonly string[]): { path: string; library: LibraryHandle } {
  const complaints: string[] = [];
  for (const path of names) {
    try {
      // Never koffi's `deep`: Open MPI's parts, loaded later, must see its own symbols.
      return { path, library: koffi.load(path, { global: true }) };
    } catch (error) {
      complaints.push((error as Error).message);
    }
  }
  throw new Error(
    `No MPI library can be loaded, and this process was started as one of several ranks: tried ` +
      `${names.join(", ")} (${
        complaints[0]
      }); install Open MPI or MPICH (Debian: openmpi-bin), or set MPI_LIB to ` +
      `the library's path`,
  );
}

/** What the library says of itself, the first line. */
function versionOf(library: LibraryHandle): string {
  const [bytes, length] = [new Uint8Array(8192), new Int32Array(1)];
  library.func("MPI_Get_library_version", "int", ["void *", "void *"])(bytes, length);
  return new TextDecoder().decode(bytes.subarray(0, length[0])).split("\n")[0].replaceAll("\0", "")
    .replaceAll(
      /\s+/g,
      " ",
    );
}

/** @throws Error when it is none that is known */
function abiOf(path: string, version: string, has: (symbol: string) => boolean): Abi {
  if (/mpi_abi/.test(path) && has("MPI_Abi_get_version")) return "MPI 5";
  if (has("ompi_mpi_comm_world")) return "Open MPI";
  if (/MPICH|Intel\(R\) MPI|MVAPICH|CRAY/i.test(version)) return "MPICH";
  throw new Error(
    `Unknown MPI library ${path} ("${version}"): need Open MPI, one of MPICH's ABI or one of MPI 5's; set MPI_LIB ` +
      `to the path of such a library`,
  );
}

/**
 * Loads the library of $MPI_LIB, or the first that there is.
 * @param vendor whose is looked for first; null: any
 * @throws Error when there is none, or none that is known, or this is not Linux
 */
export async function loadMpi(vendor: Vendor | null): Promise<MpiLibrary> {
  if (process.platform !== "linux") {
    throw new Error(`Ranks need MPI on Linux, this is ${process.platform}; start one process alone`);
  }
  // UCX, which MPI may use, would take signals for itself: SIGSEGV, by which WebAssembly works in Node.
  process.env.UCX_ERROR_SIGNALS ??= "";
  // UCX and Open MPI would overwrite the C library's munmap while the runtime's other threads are in it: a crash now
  // and then as MPI starts.
  process.env.UCX_MEM_MMAP_HOOK_MODE ??= "none";
  process.env.OMPI_MCA_memory ??= "^patcher";
  // A rank that waits in a call leaves its core to whoever needs it.
  process.env.OMPI_MCA_mpi_yield_when_idle ??= "1";
  const koffi = (await import("koffi")).default;
  // Refused once a library is loaded: whoever loads one before must have asked for as much.
  if (koffi.config().async_stack_size! < ASYNC_STACK_BYTES) {
    koffi.config({ async_stack_size: ASYNC_STACK_BYTES });
  }
  const other: Vendor = vendor === "MPICH" ? "Open MPI" : "MPICH";
  const names = process.env.MPI_LIB
    ? [process.env.MPI_LIB]
    : [...NAMES[vendor ?? "Open MPI"], ...NAMES.any, ...NAMES[other]];
  const { path, library } = firstOf(koffi, names);
  const system = koffi.load("libc.so.6");
  // Unloaded at the runtime's exit, its threads would go on in memory that is gone.
  const pin = system.func("dlopen", "void *", ["str", "int"]);
  if (!pin(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE)) {
    throw new Error(
      `Cannot keep the MPI library ${path} in memory: dlopen failed; set MPI_LIB to its full path`,
    );
  }
  const version = versionOf(library);
  const abi = abiOf(path, version, (symbol) => {
    try {
      library.symbol(symbol);
      return true;
    } catch {
      return false;
    }
  });
  const handles = handlesOf(abi, (name) => library.symbol(name));
  const bind = (name: MpiFunction): ForeignFunction => {
    const types = FUNCTIONS[name].map((type) => type === "handle" ? handles.type : type);
    return library.func(`MPI_${name}`, "int", types);
  };
  const functionNames = Object.keys(FUNCTIONS) as MpiFunction[];
  const functions = Object.fromEntries(
    functionNames.map((name) => [name, bind(name)]),
  ) as MpiLibrary["functions"];
  return {
    path,
    vendor: /open mpi/i.test(version) ? "Open MPI" : "MPICH",
    abi,
    version,
    handles,
    functions,
    alarm: system.func("alarm", "uint", ["uint"]),
  };
}
