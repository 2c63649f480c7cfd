"""Workers as batch jobs through dask-jobqueue, as many as there is work for, and `geoseg run` on them.

    pip install dask-jobqueue
    python jobqueue.py --queue slurm --jobs 8 --cores 8 --memory 24GB --walltime 04:00:00 -- SCENES... -o OUT -m MODEL

What follows ``--`` are words of `geoseg run`. The scheduler is in this process, on a login node or in a small job of
its own; jobs that run out of time are replaced, and what they were at is computed again. ``--tls`` names a folder made
by certificates.sh, on a disk that all see, with no blanks in its path. The queues pbs, sge, lsf and oar of
dask-jobqueue take the same words.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def cluster_of(asked: argparse.Namespace) -> Any:
    """The cluster; no job is asked for yet.

    Args:
        asked: The words before ``--``.
    """
    if asked.tls is not None:
        for line in (asked.tls / "tls.sh").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ[name] = value.strip("'")
    import dask

    dask.config.refresh()
    import dask_jobqueue
    from distributed import Security

    options: dict[str, Any] = {
        "cores": asked.cores,
        "walltime": asked.walltime,
        "queue": asked.partition,
        "processes": 1,
        "memory": asked.memory,
        "worker_extra_args": [
            *("--nthreads", "2", "--memory-limit", "0", "--resources", "geoseg-compute=1"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        ],
        "job_script_prologue": [
            "export OMP_WAIT_POLICY=PASSIVE",
            f"export OMP_NUM_THREADS={asked.cores}",
        ],
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": asked.host},
        "local_directory": asked.local_directory,
    }
    if asked.tls is not None:
        options |= {"security": Security(require_encryption=True), "protocol": "tls://"}
    return getattr(dask_jobqueue, f"{asked.queue.upper()}Cluster")(**options)


def main() -> int:
    """Run; the exit code of geoseg."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queue", default="slurm", choices=["slurm", "pbs", "sge", "lsf", "oar"])
    parser.add_argument("--jobs", type=int, default=4, help="at the most")
    parser.add_argument("--cores", type=int, default=8, help="of a job")
    parser.add_argument("--memory", default="24GB", help="of a job")
    parser.add_argument("--walltime", default="04:00:00")
    parser.add_argument("--partition", default=None)
    parser.add_argument("--host", default=None, help="address of this machine that the jobs' machines reach")
    parser.add_argument("--local-directory", default=None, help="disk of the jobs' machines for temporary files")
    parser.add_argument("--tls", type=Path, default=None)
    parser.add_argument("words", nargs="+", metavar="WORD", help="of geoseg run, after --")
    asked = parser.parse_args()
    with cluster_of(asked) as cluster:
        cluster.adapt(minimum=1, maximum=asked.jobs)
        cluster.wait_for_workers(1)
        command = [sys.executable, "-m", "geoseg", "run", *asked.words, "--scheduler", cluster.scheduler_address]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
