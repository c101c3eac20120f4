#!/usr/bin/env bash
#SBATCH --job-name=grpo-eval
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# Evaluates a trained policy: greedy completions of the eval prompts, judged by the scorer. It is asked for no save
# before its time is up: an evaluation that is cut off begins anew.
#
#   MODEL=outputs/grpo_alignment/beta0.1_seed42_unified SCORER_URL_FILE=$PWD/outputs/scorer-JOB.url sbatch slurm/eval.sh
#
# Environment   MODEL             folder of the policy (required)
#               SCORER_URL_FILE   file that slurm/scorer.sh writes its URL into; waited for. Or SCORER_URL
#               SCORER_TOKEN      of a scorer that asks for one; default: the one beside the file, as scorer.sh left it
#               CONFIG            default configs/grpo_alignment.yaml. Of another its own scorer_url holds where the two
#                                 above are not set
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

GRPO_WEBGPU_ROOT="${GRPO_WEBGPU_ROOT:-.}"
source "$GRPO_WEBGPU_ROOT/slurm/job.sh"

: "${MODEL:?set it to the folder of the policy to evaluate}"
[[ -n "${CONFIG:-}" ]] || : "${SCORER_URL:-${SCORER_URL_FILE:?set it to the file of slurm/scorer.sh, or set SCORER_URL}}"

run_ranks eval --config "${CONFIG:-configs/grpo_alignment.yaml}" --set "model_name=$MODEL" "${SCORER_SETTING[@]}"
