#!/usr/bin/env bash
# One Dask worker for each GPU of this machine, for a scheduler that is there.
#
#   gpu-workers.sh SCHEDULER      an address such as tls://host:8786, or the path of a connection file
#
# Two blocks are in work on each GPU, so that one reads and writes while the other computes. dask-cuda does the same with
#   dask cuda worker SCHEDULER --resources "GPU=2"
# and geoseg takes its GPU resource as well as its own; it pins one release of Dask, which this script does not.
# CUDA_VISIBLE_DEVICES chooses the GPUs. The script ends when its workers do, and ends them when it is ended.
set -euo pipefail
scheduler=${1:?usage: gpu-workers.sh SCHEDULER}
where=("$scheduler")
if [[ -f $scheduler ]]; then where=(--scheduler-file "$scheduler"); fi
devices=${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)}
export OMP_WAIT_POLICY=PASSIVE
workers=()
trap 'kill "${workers[@]}" 2>/dev/null || true' EXIT
trap 'exit 143' TERM
IFS=, read -ra each <<< "$devices"
for device in "${each[@]}"; do
    CUDA_VISIBLE_DEVICES=$device dask worker "${where[@]}" --no-dashboard --dashboard-address 127.0.0.1:0 --nworkers 1 --nthreads 3 --memory-limit 0 \
        --resources "geoseg-compute=2" --name "$(hostname)-gpu$device" &
    workers+=($!)
done
wait
