#!/bin/bash
# One training on several GPUs, perhaps of several machines:   sbatch laseg_lib/runtime/slurm.sh --root_path data/la2018/... 
# What stands behind the script's name goes to `laseg train`.  Submitted again (or requeued) it goes on where it was.
#SBATCH --job-name=laseg
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120          # two minutes before the end: a checkpoint, and a word
#SBATCH --output=laseg-%j.out
set -euo pipefail

RUN=${RUN:-model/cluster}          # on a disk that all machines share
source .venv/bin/activate          # what `make lab` or `make test` has set up

resume=()
if [ -e "$RUN/log.txt" ]; then resume=(--resume); fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
here=()                            # a machine that doesn't know its own name would wait for ever
if [ "$SLURM_JOB_NUM_NODES" = 1 ]; then first=127.0.0.1; here=(--local-addr 127.0.0.1); fi

exec srun torchrun "${here[@]}" \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --rdzv-backend=c10d --rdzv-endpoint="$first:29500" --rdzv-id="$SLURM_JOB_ID" \
    -m laseg_lib train --snapshot_path "$RUN" "${resume[@]}" "$@"
