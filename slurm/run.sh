#!/usr/bin/env bash
#SBATCH --job-name=grpo-train
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
#
# Trains one policy for each beta: array task i takes BETA_VALUES[i]. Each task of --ntasks-per-node is a rank with a
# GPU of its own. Five minutes before its time is up a job saves and goes back to the queue; a job that starts again
# goes on from its last checkpoint.
#
#   SCORER_URL_FILE=$PWD/outputs/scorer-JOB.url sbatch slurm/run.sh                   all betas
#   SCORER_URL=http://host:8000 SEED=1 sbatch --array=2 slurm/run.sh                  beta 0.1, seed 1
#   SCORER_URL=http://host:8000 sbatch --ntasks-per-node=1 slurm/run.sh               one GPU for each
#
# Environment   SCORER_URL_FILE   file that slurm/scorer.sh writes its URL into; waited for. Or SCORER_URL. Of several,
#                                 with commas between, each rank asks the least busy
#               SCORER_TOKEN      of a scorer that asks for one; default: the one in FILE.token, as scorer.sh left it
#               CONFIG            default configs/grpo_alignment.yaml, the passes of its step shared out over the ranks.
#                                 Of another its own scorer_url holds where the two above are not set
#               SEED              default 42
#               SLURM_MPI_TYPE    srun's --mpi; default pmix with Open MPI, pmi2 with MPICH
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

# What is run; `npm run slurm` writes these lines, and those of #SBATCH, for a config.
GRPO_WEBGPU_ROOT="${GRPO_WEBGPU_ROOT:-.}"
BETA_VALUES=(0.01 0.05 0.1 0.15)
SEED="${SEED:-42}"
SETTINGS=()
if [[ -z "${CONFIG:-}" ]]; then
  CONFIG=configs/grpo_alignment.yaml
  : "${SCORER_URL:-${SCORER_URL_FILE:?set it to the file of slurm/scorer.sh, or set SCORER_URL}}"
  SETTINGS=(--set "gradient_accumulation_steps=$((60 / ${SLURM_NTASKS:-1}))")
fi

source "$GRPO_WEBGPU_ROOT/slurm/job.sh"
task="${SLURM_ARRAY_TASK_ID:-0}"
if ((task >= ${#BETA_VALUES[@]})); then
  echo "slurm/run.sh: ${#BETA_VALUES[@]} betas, task $task: need a task from 0 to $((${#BETA_VALUES[@]} - 1));" \
    "submit with --array=0-$((${#BETA_VALUES[@]} - 1)), or add to BETA_VALUES" >&2
  exit 1
fi
run_ranks train --config "$CONFIG" --beta "${BETA_VALUES[$task]}" --seed "$SEED" "${SETTINGS[@]}" "${SCORER_SETTING[@]}"
