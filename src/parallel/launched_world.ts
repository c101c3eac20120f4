/** Which rank of how many this process is, as the program that started it says in the environment. */
import { launcherOf } from "./mpi/launcher.ts";

export interface LaunchedWorld {
  /** From 0. */
  rank: number;
  size: number;
  /** Among the ranks of this machine, from 0. */
  localRank: number;
  /** What started them, in words. */
  launcher: string;
}

/** Of mpirun (Open MPI), mpirun (MPICH), a launcher by PMIx, srun; the first that says it. */
const RANKS = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"];
const LOCAL_RANKS = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/**
 * The world that this process was started into; null where it was started alone, or nobody says how many there are.
 * A step of SLURM with one task is no world: it is a shell, or a place to start ranks in.
 */
export function launchedWorld(env: Readonly<Record<string, string | undefined>>): LaunchedWorld | null {
  const launcher = launcherOf(env);
  const numberIn = (names: readonly string[]) =>
    names.map((name) => env[name]).filter((text) => /^\d+$/.test(text ?? "")).map(Number).at(0);
  const rank = numberIn(RANKS);
  if (launcher === null || launcher.size === null || rank === undefined) return null;
  return { rank, size: launcher.size, localRank: numberIn(LOCAL_RANKS) ?? rank, launcher: launcher.name };
}
