#!/usr/bin/env bash
# One run on a Slurm cluster, on any number of GPUs and nodes. Stopped by its time limit, it saves a checkpoint, goes back into
# the queue and continues; after a preemption or a broken node Slurm queues it again and it continues too.
#
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 scripts/slurm_train.sh experiment=... run=outputs/mine
#
# One task is one process and one GPU. The run folder and the data lie on a disk that all nodes share. See docs/distributed.md.
#SBATCH --job-name=contextssl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=contextssl-%j.log
set -euo pipefail

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# A process that is lost ends the others by itself, after it has been said which: Slurm need not.
code=0
srun --kill-on-bad-exit=0 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
  exec python -m contextssl train "$@" resume=auto' train "$@" || code=$?

if [ "$code" -eq 138 ]; then # 128 + SIGUSR1: the time is up
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
