#!/bin/bash
# LOWRANK_QUEUE=redis://:PASSWORD@HOST:6379 sbatch configs/cluster/slurm.sh
# Eight workers, an array task each; start them after `lowrank ablate CONFIG --queue URL` has queued its runs. A task that is preempted or
# comes to its time limit writes a checkpoint, and its run goes on elsewhere. LOWRANK_QUEUE_SECRET of the environment, the same as that of
# `lowrank ablate`, makes the workers refuse jobs that are not signed with it; sbatch hands it on.
#SBATCH --job-name=lowrank-worker
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=lowrank-worker-%A-%a.log
# For WebGPU on a node's GPU: #SBATCH --gpus=1
set -euo pipefail
: "${LOWRANK_QUEUE:?is not set: redis://host:6379}"

export LOWRANK_THREADS="${SLURM_CPUS_PER_TASK:-1}"
# srun hands the signals on.
exec srun lowrank worker --drain --name "worker-${SLURM_ARRAY_JOB_ID:-0}-${SLURM_ARRAY_TASK_ID:-0}"
