#!/usr/bin/env bash
#SBATCH --job-name=grpo-scorer
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# Serves a reward and a cost model, and writes the service's URL into a file that slurm/run.sh waits for.
#
#   scorer=$(REWARD_MODEL=models/reward COST_MODEL=models/cost sbatch --parsable slurm/scorer.sh)
#   SCORER_URL_FILE=$PWD/outputs/scorer-$scorer.url sbatch --dependency=after:$scorer slurm/run.sh
#
# Environment   REWARD_MODEL, COST_MODEL   folders of the two models (required)
#               PORT                       default 0: a free one, since jobs share nodes
#               SCORER_URL_FILE            on a file system that all nodes see; default as above
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

: "${REWARD_MODEL:?set it to the folder of the reward model}"
: "${COST_MODEL:?set it to the folder of the cost model}"
url_file="${SCORER_URL_FILE:-$PWD/outputs/scorer-${SLURM_JOB_ID:-local}.url}"

rm -f "$url_file" # a requeued job may run on another node: its old URL must not be read
exec npm run scorer -- --reward_model "$REWARD_MODEL" --cost_model "$COST_MODEL" \
  --port "${PORT:-0}" --url_file "$url_file"
