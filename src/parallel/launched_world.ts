/** Which rank of how many this process is, as the program that started it says in the environment. */

export interface LaunchedWorld {
  /** From 0. */
  rank: number;
  size: number;
  /** Among the ranks of this machine, from 0. */
  localRank: number;
  /** Ranks of this machine. */
  localSize: number;
  /** What started them, in words. */
  launcher: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What Open MPI's mpirun, Hydra's (MPICH, Intel MPI) and srun say: rank, size, and both of the machine alone. */
const LAUNCHERS = [
  {
    launcher: "mpirun of Open MPI",
    names: ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
    local: ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"],
  },
  {
    launcher: "mpirun of MPICH",
    names: ["PMI_RANK", "PMI_SIZE"],
    local: ["MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
  },
  { launcher: "srun", names: ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"], local: ["SLURM_LOCALID", ""] },
] as const;

/**
 * The world that this process was started into; null where nothing started it as one of several. A step of SLURM with
 * one task is no world: it is a shell, or a place to start ranks in.
 */
export function launchedWorld(env: Environment): LaunchedWorld | null {
  for (const { launcher, names, local } of LAUNCHERS) {
    const [rank, size] = names.map((name) => numberOf(env[name]));
    if (rank === undefined || size === undefined || (launcher === "srun" && size < 2)) continue;
    const localRank = numberOf(env[local[0]]) ?? numberOf(env.SLURM_LOCALID) ?? rank;
    const localSize = numberOf(env[local[1]]) ?? tasksOfNode(env) ?? size;
    return { rank, size, localRank, localSize, launcher };
  }
  return null;
}

/** `SLURM_STEP_TASKS_PER_NODE` is "2(x3),1": three nodes of two tasks, then one of one. */
function tasksOfNode(env: Environment): number | undefined {
  const counts = (env.SLURM_STEP_TASKS_PER_NODE ?? "").split(",").flatMap((part) => {
    const [, tasks, nodes = "1"] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part) ?? [];
    return tasks === undefined ? [] : Array<number>(Number(nodes)).fill(Number(tasks));
  });
  return counts[numberOf(env.SLURM_NODEID) ?? 0];
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
