"""Training in several processes: really several, on the CPU."""

import csv
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import geoseg
from geoseg.errors import GeosegError, ParameterError, ResourceError
from geoseg.models.card import Architecture
from geoseg.models.network import build_architecture
from geoseg.train import ranks
from geoseg.train.config import TrainSpec
from geoseg.train.losses import build_loss
from geoseg.train.machine import Machine, devices_of
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.ranks import in_ranks
from geoseg.train.recompute import recompute
from geoseg.train.team import Team, share_statistics
from tests.train.conftest import TINY, made, trained

pytestmark = pytest.mark.usefixtures("imported_for_processes")

TWO = ["cpu", "cpu"]


def log_of(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "training" / "log.csv").read_text().splitlines()))


def _learnt(team: Team, _tell: Any, *, recomputed: bool) -> dict[str, Any]:
    """Loss, gradients and statistics of a batch of which one window has no label and the others lack some."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = (
        build_architecture(Architecture.model_validate(TINY), in_channels=2, n_classes=3, source="this test")
        .double()
        .train()
    )
    share_statistics(network, team)
    if recomputed:
        recompute(network)
    images = torch.randn(4, 2, 32, 32, dtype=torch.float64)
    target = torch.randint(0, 3, (4, 32, 32)).to(torch.uint8)
    target[torch.rand(target.shape) < 0.5] = IGNORE
    target[0] = IGNORE
    loss = build_loss([{"name": name} for name in ("ce", "dice", "generalised_dice", "lovasz")])
    part = team.part(4)
    value: Tensor = loss(team.whole(network(images[part])), team.whole(target[part]))
    value.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    team.add(list(gradients.values()))
    found = {"loss": value.detach()} | gradients | dict(network.named_buffers())
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("recomputed", [False, True])
def test_loss_gradients_and_batch_statistics_of_two_processes_are_those_of_one(recomputed: bool) -> None:
    work = partial(_learnt, recomputed=recomputed)
    one, two = work(Team(), print), in_ranks(work, TWO, hear=print)
    assert any("running_var" in name for name in one)
    assert one.keys() == two.keys()
    for name, value in one.items():
        # Lovász computes in float32
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_statistics_of_a_batch_are_remembered_as_torch_does() -> None:
    def layers() -> list[nn.Module]:
        return [nn.BatchNorm2d(3), nn.BatchNorm1d(3, momentum=None), nn.BatchNorm2d(3, track_running_stats=False)]

    class Alone(Team):
        """A team of two of which the other one sees the same."""

        def gathered(self, own: Tensor) -> list[Tensor]:
            return [own.detach(), own.detach()]

    for plain, shared in zip(layers(), layers(), strict=True):
        share_statistics(shared, Alone(of=2))
        for seed in range(3):
            x = torch.randn((4, 3) if isinstance(plain, nn.BatchNorm1d) else (2, 3, 5, 5), generator=_rng(seed))
            torch.testing.assert_close(shared(x), plain(torch.cat([x, x])).chunk(2)[0])
        torch.testing.assert_close(dict(shared.named_buffers()), dict(plain.named_buffers()))
        torch.testing.assert_close(shared.eval()(x), plain.eval()(x))


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class _Killed(BaseException):
    """Stands for a death."""


def test_two_processes_have_the_loss_curve_of_one_and_another_number_goes_on_after_a_death(
    finished: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    settings, whole = finished
    output = tmp_path / "m"
    seen: list[int] = []

    def die(done: int, _total: int, _epoch: object) -> None:
        seen.append(done)
        if done == 25:
            raise _Killed

    with pytest.raises(_Killed):
        trained(settings, output, machine=Machine(devices=2, threads=2), progress=die)
    assert seen == [*range(1, 11), 10, *range(11, 21), 20, *range(21, 26)]
    assert len(log_of(output)) == 2
    said: list[str] = []
    trained(settings, output, say=said.append)
    assert any("going on" in line for line in said)
    expected, found = log_of(whole), log_of(output)
    assert [r["steps"] for r in found] == [r["steps"] for r in expected]
    for column in ("train_loss", "val_loss", "accuracy", "miou", "learning_rate"):
        one, two = ([float(row[column]) for row in rows] for rows in (expected, found))
        np.testing.assert_allclose(two, one, rtol=0.02, atol=1e-7, err_msg=column)
    # the first epoch has not yet had the time to drift apart
    assert float(found[0]["train_loss"]) == pytest.approx(float(expected[0]["train_loss"]), rel=1e-3)
    assert len(list((output / "training").glob("epoch_*.png"))) == 4


def test_two_processes_stop_early_together_and_count_each_pixel_held_out_once(
    settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    # nine windows in three batches of four: two for one process, one for the other; a rate this small changes no pixel
    asked = settings(learning_rate=1e-12, epochs=6, batches=1, patience=2, augment={"cutmix": 1.0}, pictures=0)
    trained(asked, tmp_path / "m", machine=Machine(devices=2, threads=2))
    trained(asked, tmp_path / "n")
    two, one = log_of(tmp_path / "m"), log_of(tmp_path / "n")
    assert len(two) == len(one) == 3
    scores = [geoseg.load_model(tmp_path / name).card.scores for name in "mn"]
    assert scores[0] == scores[1]
    assert scores[0] is not None
    assert scores[0].pixels == made(3)[1].size
    for column in ("train_loss", "val_loss"):
        np.testing.assert_allclose([float(r[column]) for r in two], [float(r[column]) for r in one], rtol=1e-5)


def _fails(team: Team, _tell: Any, *, how: str) -> None:
    if team.number == 1:
        if how == "geoseg":
            raise ParameterError("this cannot be trained")
        if how == "bug":
            raise KeyError("no such thing")
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()  # the other one never comes


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("geoseg", ParameterError, "^this cannot be trained$"),
        ("bug", RuntimeError, "KeyError: 'no such thing'"),
        ("killed", ResourceError, "^process 2 of 2 of the training, on cpu, ended by signal 9 and said nothing"),
    ],
)
def test_what_goes_wrong_in_one_process_ends_all_and_is_said_once(
    how: str, kind: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(kind, match=message):
        in_ranks(partial(_fails, how=how), TWO, hear=print)
    assert capfd.readouterr().err == ""
    assert not multiprocessing.active_children()


def test_a_loss_that_is_no_number_is_one_error(settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(GeosegError, match=r"^the loss became (nan|inf) in epoch 1: choose a lower"):
        trained(settings(loss=[{"name": "ce", "weight": 1e39}]), tmp_path / "m", machine=Machine(devices=2, threads=2))
    assert not (tmp_path / "m" / "card.yaml").exists()


def _notes_itself(team: Team, _tell: Any, *, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    dist.barrier()
    while True:  # as in a training that goes on and on
        dist.barrier()


def _watches(folder: Path, temporary: Path) -> None:
    tempfile.tempdir = str(temporary)
    # forked from this one, which has imported everything
    setattr(ranks, "_context", lambda _device: multiprocessing.get_context("fork"))  # noqa: B010
    in_ranks(partial(_notes_itself, folder=folder), TWO, hear=print)


def test_when_the_process_that_watches_is_killed_no_other_is_left_and_its_folder_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, temporary = tmp_path / "notes", tmp_path / "temporary"
    notes.mkdir()
    temporary.mkdir()
    process = multiprocessing.get_context("forkserver").Process(target=_watches, args=(notes, temporary))
    process.start()
    try:
        _wait_for(lambda: len(list(notes.iterdir())) == 2)
        pids = [int(file.name) for file in notes.iterdir()]
        assert all(_is_there(pid) for pid in pids)
    finally:
        process.kill()
        process.join()
    _wait_for(lambda: not any(_is_there(pid) for pid in pids))
    assert [p.name[:13] for p in temporary.iterdir()] == ["geoseg-train-"]
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(ParameterError, match="cannot be trained"):
        in_ranks(partial(_fails, how="geoseg"), TWO, hear=print)
    assert list(temporary.iterdir()) == []


def _is_there(pid: int) -> bool:
    try:  # files are open until the last thread is gone
        states = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status")]
    except OSError:
        return False
    return any(re.search(r"^State:\s+[ZX]", state, re.MULTILINE) is None for state in states)


def _wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_network_that_cannot_go_to_another_process_is_said_to_be_one() -> None:
    with pytest.raises(ParameterError, match=r"cannot be handed to other processes .* use one device"):
        in_ranks(lambda _team, _tell: None, TWO, hear=print)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Machine(devices=3), "a batch_size of 8 cannot be shared evenly by 3 devices: choose a multiple of 3"),
        (Machine(device="cuda:1", devices=2), "--devices 2 does not go with the device cuda:1"),
        (Machine(device="mps", devices=2), "--devices 2 does not go with the device mps"),
        (Machine(device="cuda", devices=torch.cuda.device_count() + 2), "torch sees . CUDA device"),
    ],
    ids=str,
)
def test_devices_that_cannot_share_a_training_are_refused(machine: Machine, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        devices_of(machine, TrainSpec(images=("i",), labels="l"))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_have_the_loss_curve_of_one(settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    logs = []
    for n in (1, 2):
        trained(settings(), tmp_path / str(n), machine=Machine(device="cuda", devices=n))
        logs.append([[float(row[c]) for c in ("train_loss", "val_loss")] for row in log_of(tmp_path / str(n))])
    np.testing.assert_allclose(logs[1], logs[0], rtol=0.02)
