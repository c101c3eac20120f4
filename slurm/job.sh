# What the jobs of this folder share; they source it in the folder that they were submitted from.

# Node, or Deno where that is what there is.
runtime="${GRPO_WEBGPU_RUNTIME:-$(command -v node >/dev/null && echo node || echo deno)}"
program=("$runtime" "$GRPO_WEBGPU_ROOT/scripts/start.mjs")
[[ "$(basename "$runtime")" != deno* ]] || program=("$runtime" run -A "$GRPO_WEBGPU_ROOT/scripts/start.mjs")

# What the program exits with where it has saved and asks to be started again.
REQUEUE_CODE=85

# What it exits with where no scorer answered for long: it has saved. The next start reads the scorer's address again.
NO_SCORER_CODE=75
NO_SCORER_RESTARTS=3

# The scorer's words for the program, into SCORER_SETTING: SCORER_URL, else the files in SCORER_URL_FILE, else none.
scorer_files="${SCORER_URL_FILE:+file:${SCORER_URL_FILE//,/,file:}}"
scorer="${SCORER_URL:-$scorer_files}"
SCORER_SETTING=(${scorer:+--set "scorer_url=$scorer"})

# A file with the token of a scorer, which its owner alone reads. One that is there stays, for trainings that know it.
ready_token() {
  mkdir -p "$(dirname "$1")"
  if [[ -L "$1" ]] || [[ -e "$1" && (! -f "$1" || ! -O "$1") ]]; then
    echo "slurm: $1 is not a file of your own, and a token would be read by others; remove it" >&2
    return 1
  fi
  if [[ -n "${SCORER_TOKEN:-}" || ! -s "$1" ]]; then
    # Another file in its place: whoever holds the old one open would read along.
    local partial
    partial="$(mktemp "$1.XXXXXX")"
    echo "${SCORER_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}" >"$partial"
    mv -f "$partial" "$1"
  fi
  chmod 600 "$1"
}

# Packages are installed by one process, before all ranks start at once.
ready_packages() { "${program[@]}" "$1" --help >/dev/null; }

# How ranks find each other: Open MPI asks Slurm by PMIx, MPICH by PMI-2; with the wrong one each would be alone.
# SLURM_MPI_TYPE, which srun reads, has the last word.
choose_mpi_type() {
  ((${SLURM_NTASKS:-1} > 1)) && [[ -z "${SLURM_MPI_TYPE:-}" ]] || return 0
  case "$(mpirun --version 2>/dev/null)" in
    *"Open MPI"* | *OpenRTE* | *PRRTE*) export SLURM_MPI_TYPE=pmix ;;
    *MPICH* | *HYDRA* | *"Intel(R) MPI"*) export SLURM_MPI_TYPE=pmi2 ;;
  esac
}

# The ranks on a node that is lost take the others along: their end is no fault of the program's.
has_lost_node() {
  ((${SLURM_JOB_NUM_NODES:-1} > 1)) || return 1
  ! timeout 60 srun --overlap --mpi=none --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --gpus-per-task=0 \
    --cpus-per-task=1 --quiet true
}

requeue() {
  echo "slurm: $1; job $SLURM_JOB_ID goes back to the queue" >&2
  scontrol requeue "$SLURM_JOB_ID"
}

# Runs a task of the program, with its arguments, on every rank of the job.
run_ranks() {
  ready_packages "$1"
  choose_mpi_type
  # The job's signals reach the ranks, which save and end; this shell waits for them.
  trap : TERM USR1 USR2
  local code=0
  # One rank's death ends all. --cpus-per-task is not handed on from the job to srun.
  srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${program[@]}" "$@" || code=$?
  if ((code == REQUEUE_CODE)); then
    requeue "$1 has saved and asks to be started again"
  elif ((code == NO_SCORER_CODE && ${SLURM_RESTART_COUNT:-0} < NO_SCORER_RESTARTS)); then
    requeue "no scorer answered; $1 has saved"
  elif ((code != 0)) && has_lost_node; then
    requeue "a node is lost"
  else
    return "$code"
  fi
}
