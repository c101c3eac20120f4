#!/usr/bin/env bash
#SBATCH --job-name=grpo-scorer
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# Serves a reward and a cost model, and writes the service's URL into a file that slurm/run.sh waits for. It answers
# those who send its token, which lies beside that file, as FILE.token: run.sh and eval.sh find it there. When its time
# is up it goes back to the queue, three minutes after a training that began with it.
#
#   scorer=$(REWARD_MODEL=models/reward COST_MODEL=models/cost sbatch --parsable slurm/scorer.sh)
#   SCORER_URL_FILE=$PWD/outputs/scorer-$scorer.url sbatch --dependency=after:$scorer slurm/run.sh
#
# With --array=0-1 there are two, whose files are outputs/scorer-${scorer}_0.url and outputs/scorer-${scorer}_1.url.
#
# Environment   REWARD_MODEL, COST_MODEL   folders of the two models (required)
#               PORT                       default 0: a free one, since jobs share nodes
#               SCORER_URL_FILE            on a file system that all nodes see; default as above
#               SCORER_TOKEN               default: the one that lies there, else a random one
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

GRPO_WEBGPU_ROOT="${GRPO_WEBGPU_ROOT:-.}"
source "$GRPO_WEBGPU_ROOT/slurm/job.sh"

: "${REWARD_MODEL:?set it to the folder of the reward model}"
: "${COST_MODEL:?set it to the folder of the cost model}"
job="${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-local}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
url_file="${SCORER_URL_FILE:-$PWD/outputs/scorer-$job.url}"

rm -f "$url_file" # a requeued job may run on another node: its old URL must not be read
ready_token "$url_file.token"
unset SCORER_TOKEN
run_ranks scorer --reward_model "$REWARD_MODEL" --cost_model "$COST_MODEL" --host 0.0.0.0 --port "${PORT:-0}" \
  --url_file "$url_file" --token_file "$url_file.token"
