/** What the environment says of who started this process as a rank, and of how many. */

/** Whose MPI: a launcher of one starts ranks of a library of the other as so many worlds of one. */
export type Vendor = "Open MPI" | "MPICH";

export interface Launcher {
  /** As a message names it. */
  name: string;
  /** Whose ranks it can start; null where it starts both, each by an option. */
  vendor: Vendor | null;
  /** Number of ranks; null where it does not say. */
  size: number | null;
  /** What has ranks find each other, where a world has turned out smaller than it was started. */
  remedy: Readonly<Record<Vendor, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const BY_SRUN: Launcher["remedy"] = {
  "Open MPI": "start Open MPI's ranks by `srun --mpi=pmix`",
  MPICH: "start MPICH's ranks by `srun --mpi=pmi2`",
};

const BY_MPIRUN: Launcher["remedy"] = {
  "Open MPI": "start them by Open MPI's own mpirun, or set MPI_LIB to MPICH's library",
  MPICH: "start them by MPICH's own mpirun, or set MPI_LIB to Open MPI's library",
};

const numberIn = (text: string | undefined) => text && /^\d+$/.test(text) ? Number(text) : null;

/**
 * Null where this process was started as one alone. Within a SLURM job mpirun starts its own daemons by srun, so what
 * mpirun says comes before what SLURM says.
 */
export function launcherOf(env: Environment): Launcher | null {
  const launcher = anyLauncher(env);
  return launcher === null || launcher.size === 1 ? null : launcher;
}

function anyLauncher(env: Environment): Launcher | null {
  const ofOpenMpi = numberIn(env.OMPI_COMM_WORLD_SIZE);
  const isStep = env.SLURM_PROCID !== undefined && env.SLURM_STEP_NUM_TASKS !== undefined;
  // MPICH's own launcher, which is also Intel MPI's, leaves this descriptor or these counts.
  const isHydra = env.HYDI_CONTROL_FD !== undefined || env.MPI_LOCALNRANKS !== undefined;
  const ofPmi = numberIn(env.PMI_SIZE);
  if (ofPmi !== null && isHydra) {
    return { name: "MPICH's mpirun", vendor: "MPICH", size: ofPmi, remedy: BY_MPIRUN };
  }
  // srun with Open MPI's plugin sets this too: it is mpirun's where a daemon of it is named.
  const isMpirun = env.OMPI_COMMAND !== undefined || env.OMPI_MCA_ess_base_jobid !== undefined || !isStep;
  if (ofOpenMpi !== null && isMpirun) {
    return { name: "Open MPI's mpirun", vendor: "Open MPI", size: ofOpenMpi, remedy: BY_MPIRUN };
  }
  if (isStep) {
    return { name: "srun", vendor: null, size: numberIn(env.SLURM_STEP_NUM_TASKS), remedy: BY_SRUN };
  }
  if (ofPmi !== null) return { name: "a launcher by PMI", vendor: "MPICH", size: ofPmi, remedy: BY_MPIRUN };
  if (env.PMIX_RANK !== undefined) {
    return { name: "a launcher by PMIx", vendor: "Open MPI", size: null, remedy: BY_MPIRUN };
  }
  return null;
}

/** Whose library suits a launcher that takes both: by the way in which it has ranks find each other. */
export function suitedVendor(env: Environment, { vendor }: Launcher): Vendor | null {
  if (vendor !== null) return vendor;
  if (env.PMIX_RANK !== undefined) return "Open MPI";
  return env.PMI_SIZE !== undefined || env.PMI_FD !== undefined ? "MPICH" : null;
}
