"""The recipes of pipelines/deploy, run as they stand: real schedulers and workers, which talk TLS on loopback.

What starts processes on other machines (srun, sbatch, the kubelet) is stood in for by programs that start them here.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.conftest import Command, WriteScene, blobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command"),
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash"),
]
DEPLOY = Path(__file__).parents[1] / "pipelines" / "deploy"
WORDS = ["-m", "kmeans:3", "--block-size", "512", "--no-polygons"]

# copied first, as a queue does: what submits a script removes it
SBATCH = """#!/bin/bash
cp "${@: -1}" "$0.$$"; echo "$0.$$ $*" >> "$0.jobs"
setsid bash "$0.$$" > "$0.$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/bash\nkill -- "-$1"\n'
SRUN = """#!/bin/bash
n=${1#--ntasks=}; shift
trap 'kill $(jobs -p)' TERM
for ((i = 0; i < n; i++)); do "$@" & done
wait; wait
"""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    subprocess.run([DEPLOY / "certificates.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Programs of a queue that start everything here, and those of this Python."""
    here = tmp_path / "bin"
    here.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("srun", SRUN)):
        (here / name).write_text(text)
        (here / name).chmod(0o755)
    return os.environ | {"PATH": f"{here}:{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture
def calm(write_scene: WriteScene, geoseg_command: Command) -> tuple[Path, bytes]:
    """A scene, and its class map from one process."""
    path = write_scene(pixels=blobs(1100, 700))
    out = path.parents[1] / "calm"
    assert geoseg_command("run", path, "-o", out, *WORDS).code == 0
    return path, (out / "scene" / "scene_classes.tif").read_bytes()


@pytest.fixture(autouse=True)
def _nothing_stays_behind() -> Iterator[None]:
    me = psutil.Process()
    before = set(me.children(recursive=True))
    yield
    _, alive = psutil.wait_procs(set(me.children(recursive=True)) - before, timeout=20)
    for process in alive:
        process.kill()
    assert not alive


def finish(process: subprocess.Popen[str], timeout: float = 180) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, f"{out}{err}"


def start(words: list[object], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(map(str, words)),
        env=environment,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_certificates_are_the_owners_only_and_the_authority_signs_no_more(tls: Path) -> None:
    assert {p.name for p in tls.iterdir()} == {"authority.pem", "node.key", "node.pem", "tls.sh"}
    assert all(p.stat().st_mode & 0o077 == 0 for p in (tls, *tls.iterdir()))
    checked = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", tls / "authority.pem", tls / "node.pem"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_a_slurm_job_of_two_workers_over_tls_gives_the_bytes_of_one_process(
    calm: tuple[Path, bytes], tls: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    path, expected = calm
    out = tmp_path / "out"
    environment |= {"GEOSEG_TLS": str(tls), "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "77"}
    job = start(["bash", DEPLOY / "slurm.sbatch", path, "-o", out, *WORDS], environment, tmp_path)
    code, said = finish(job)
    assert code == 0, said
    assert (out / "scene" / "scene_classes.tif").read_bytes() == expected
    assert said.count("tls://") >= 3
    assert len(set(re.findall(r"Start worker at:\s+(tls://\S+)", said))) == 2
    assert list((tmp_path / ".geoseg-dask").iterdir()) == []


def test_a_slurm_job_on_several_nodes_is_refused_without_tls(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"SLURM_JOB_NUM_NODES": "2"}
    environment.pop("GEOSEG_TLS", None)
    code, said = finish(start(["bash", DEPLOY / "slurm.sbatch", "scenes", "-o", "out"], environment, tmp_path))
    assert code == 2
    assert "more than one node needs TLS" in said


def test_a_slurm_job_whose_time_is_up_ends_resumable(
    calm: tuple[Path, bytes], environment: dict[str, str], tmp_path: Path, geoseg_command: Command
) -> None:
    path, _ = calm
    out = tmp_path / "out"
    more = ["--device", "cpu", "--window", "32", "--overlap", "0.7", "-v"]
    job = start(
        ["bash", DEPLOY / "slurm.sbatch", path, "-o", out, *WORDS, *more], environment | {"SLURM_NTASKS": "1"}, tmp_path
    )
    assert job.stderr is not None
    for line in job.stderr:
        if "a block of" in line:
            break
    job.send_signal(signal.SIGTERM)  # to the script alone, as with --signal=B:TERM
    code, said = finish(job, timeout=60)
    assert code == 143, said
    ended = geoseg_command("run", path, "-o", out, *WORDS, *more)
    assert ended.code == 0, ended.err
    assert "finished before; going on from there" in ended.err


def test_workers_of_a_job_queue_give_the_bytes_of_one_process(
    calm: tuple[Path, bytes], tls: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    path, expected = calm
    out = tmp_path / "out"
    words = ["--jobs", 2, "--cores", 1, "--memory", "3GB", "--host", "127.0.0.1", "--local-directory", tmp_path]
    words += ["--tls", tls, "--partition", "long", "--walltime", "00:30:00"]
    job = start([sys.executable, DEPLOY / "jobqueue.py", *words, "--", path, "-o", out, *WORDS], environment, tmp_path)
    code, said = finish(job)
    logs = [p.read_text() for p in (tmp_path / "bin").glob("sbatch.*.log")]
    assert code == 0, said + "".join(logs)
    assert (out / "scene" / "scene_classes.tif").read_bytes() == expected
    assert any("tls://" in log for log in logs)
    script = next(p for p in (tmp_path / "bin").glob("sbatch.*") if p.suffix not in (".jobs", ".log")).read_text()
    assert "#SBATCH -p long" in script
    assert "#SBATCH -t 00:30:00" in script
    assert "PRIVATE KEY" not in script


def test_a_worker_for_each_gpu_declares_what_it_takes(
    calm: tuple[Path, bytes], environment: dict[str, str], tmp_path: Path, geoseg_command: Command
) -> None:
    """Without a GPU: the workers see none, but are started, named and given blocks as with two."""
    path, expected = calm
    file = tmp_path / "scheduler.json"
    local = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]
    scheduler = start(["dask", "scheduler", "--scheduler-file", file, "--port", 0, *local], environment, tmp_path)
    try:
        while not file.exists():
            assert scheduler.poll() is None
        workers = start([DEPLOY / "gpu-workers.sh", file], environment | {"CUDA_VISIBLE_DEVICES": "0,1"}, tmp_path)
        try:
            from distributed import Client

            with Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
                found = client.scheduler_info(n_workers=-1)["workers"].values()
                assert sorted(w["name"].rsplit("-", 1)[1] for w in found) == ["gpu0", "gpu1"]
                assert all(w["resources"] == {"geoseg-compute": 2} for w in found)
                seen = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
                assert sorted(seen.values()) == ["0", "1"]
            out = tmp_path / "out"
            ended = geoseg_command("run", path, "-o", out, *WORDS, "--scheduler-file", file, "--device", "cpu")
            assert ended.code == 0, ended.err
            assert (out / "scene" / "scene_classes.tif").read_bytes() == expected
        finally:
            workers.terminate()
            finish(workers, timeout=60)
    finally:
        scheduler.terminate()
        finish(scheduler, timeout=60)


def test_what_the_kubernetes_pods_run_works_with_what_they_are_given(
    calm: tuple[Path, bytes], tls: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    path, expected = calm
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    by_name = {(m["kind"], m["metadata"]["name"]): m for m in manifests}
    settings = by_name["ConfigMap", "geoseg-tls-environment"]["data"]
    # the secret has the files of certificates.sh, and nothing else is asked of it
    wanted = {Path(v).name for v in settings.values() if v.startswith("/tls/")}
    assert wanted <= {p.name for p in tls.iterdir()}
    pod: dict[str, str] = {k: str(v).replace("/tls", str(tls)) for k, v in settings.items()}

    def container(kind: str, name: str) -> Any:
        template = by_name[kind, name]["spec"]["template"]["spec"]
        (found,) = template["containers"]
        mounts = {m["name"] for m in found["volumeMounts"]}
        assert mounts <= {v["name"] for v in template["volumes"]}
        assert found["envFrom"] == [{"configMapRef": {"name": "geoseg-tls-environment"}}]
        return found["args"]

    service = by_name["Service", "geoseg-scheduler"]
    labels = by_name["Deployment", "geoseg-scheduler"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    out, port = tmp_path / "out", str(_free_port())
    there = {"tls://geoseg-scheduler:8786": f"tls://127.0.0.1:{port}", "8786": port, "/data/scenes": str(path)}
    there |= {"/data/out": str(out), "/tmp": str(tmp_path), "spectral": "kmeans:3"}
    processes = []
    for kind, name in (("Deployment", "geoseg-scheduler"), ("Deployment", "geoseg-workers")):
        words = [there.get(word, word) for word in container(kind, name)]
        processes.append(start([*words, "--host", "127.0.0.1"], environment | pod, tmp_path))
    try:
        words = [there.get(word, word) for word in container("Job", "geoseg")]
        for _ in range(30):  # as the job does, until there is a worker
            code, said = finish(start([*words, *WORDS[2:]], environment | pod, tmp_path))
            if code == 0:
                break
        assert code == 0, said
        assert (out / "scene" / "scene_classes.tif").read_bytes() == expected
    finally:
        for process in processes[::-1]:
            process.terminate()
            finish(process, timeout=60)


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
