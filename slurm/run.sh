#!/usr/bin/env bash
#SBATCH --job-name=grpo-train
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
#
# Trains one policy for each beta: array task i takes BETA_VALUES[i]. Each run goes on from its last checkpoint
# when the job is requeued.
#
#   SCORER_URL_FILE=$PWD/outputs/scorer-JOB.url sbatch slurm/run.sh                 all betas
#   SCORER_URL=http://host:8000 SEED=1 sbatch --array=2 slurm/run.sh                beta 0.1, seed 1
#
# Environment   SCORER_URL_FILE   file that slurm/scorer.sh writes its URL into; waited for. Or SCORER_URL
#               CONFIG            default configs/grpo_alignment.yaml
#               SEED              default 42
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

BETA_VALUES=(0.01 0.05 0.1 0.15)
task="${SLURM_ARRAY_TASK_ID:-0}"
if ((task >= ${#BETA_VALUES[@]})); then
  echo "slurm/run.sh: ${#BETA_VALUES[@]} betas, task $task: need a task from 0 to $((${#BETA_VALUES[@]} - 1));" \
    "submit with --array=0-$((${#BETA_VALUES[@]} - 1)), or add to BETA_VALUES" >&2
  exit 1
fi
beta="${BETA_VALUES[$task]}"
scorer_url="${SCORER_URL:-file:${SCORER_URL_FILE:?set it to the file of slurm/scorer.sh, or set SCORER_URL}}"

exec srun --kill-on-bad-exit=1 npm run train -- --config "${CONFIG:-configs/grpo_alignment.yaml}" \
  --beta "$beta" --seed "${SEED:-42}" --set "scorer_url=$scorer_url"
