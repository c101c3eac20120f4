/** The ranks of a run: this process alone, or one of several that a launcher of MPI or SLURM has started. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { launcherOf, suitedVendor } from "../parallel/mpi/launcher.ts";
import { assertSameOnRanks } from "../parallel/same_on_ranks.ts";

export interface Ranks {
  communicator: Communicator;
  /** Among the ranks of this machine, from 0. */
  localRank: number;
  /** Number of ranks on this machine. */
  localSize: number;
  /**
   * To be called at the end, whether the run has failed or not: ends MPI once every rank calls it. A process that ends
   * without it ends all ranks.
   * @throws Error when another rank has left meanwhile
   */
  close(): Promise<void>;
}

const ALONE: Ranks = {
  communicator: singleProcess,
  localRank: 0,
  localSize: 1,
  close: () => Promise.resolve(),
};

/** The program's own folder, src/ or, compiled, dist/. */
const PROGRAM = fileURLToPath(new URL("../", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A hash over the files that this program is made of: source or compiled code, and kernels. */
function programHash(): string {
  const hash = createHash("sha256");
  for (const folder of [PROGRAM, join(ROOT, "kernels")]) {
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|js|wgsl)$/.test(name)).sort();
    for (const name of files) hash.update(`${name}\n`).update(readFileSync(join(folder, name))).update("\n");
  }
  return hash.digest("hex");
}

/** The version and the files. */
function programText(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  return `version ${version}, files ${programHash()}`;
}

/**
 * The ranks that the environment shows; one process alone where it shows none, which then loads nothing of MPI.
 * @throws Error when there are ranks and no MPI library that suits their launcher, or they run different programs
 */
export async function openRanks(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Ranks> {
  const launcher = launcherOf(env);
  if (!launcher) return ALONE;
  const { loadMpi } = await import("../parallel/mpi/library.ts");
  const { openWorld } = await import("../parallel/mpi/world.ts");
  const { mpiCommunicator } = await import("../parallel/mpi/communicator.ts");
  const world = openWorld(await loadMpi(suitedVendor(env, launcher)), launcher);
  const communicator = mpiCommunicator(world);
  const { localRank, localSize } = world;
  try {
    await assertSameOnRanks(communicator, "the program that they run", programText());
  } catch (error) {
    communicator.leave(error);
    await communicator.close();
    throw error;
  }
  return { communicator, localRank, localSize, close: () => communicator.close() };
}
