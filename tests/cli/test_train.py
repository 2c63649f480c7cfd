"""`geoseg train` as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

import geoseg
from geoseg.outputs import crash
from tests.conftest import Command
from tests.train.conftest import BANDS, TINY, made, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes, their labels, and a file of settings that names them."""
    folder = tmp_path_factory.mktemp("cli-train")
    for i in range(3):
        pixels, labels = made(i)
        write(folder / "images" / f"s{i}.tif", pixels, x=5e5 + 2000 * i, bands=BANDS)
        write(folder / "labels" / f"s{i}.tif", labels, x=5e5 + 2000 * i, nodata=0)
    content = {
        "images": "images",
        "labels": "labels",
        "architecture": TINY,
        "split": {"val": ["s2"]},
        "window": 32,
        "batch_size": 4,
        "epochs": 4,
        "batches": 4,
        "pictures": 1,
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def test_a_training_that_is_refused_leaves_nothing_behind(
    geoseg_command: Command, folder: Path, tmp_path: Path
) -> None:
    for words, message in (
        (["--architecture", "Unett"], "error: {config}: there is no architecture 'Unett'; did you mean Unet"),
        (["--val", "1.5"], "error: the options: split.val"),
        (["--val", "s9"], "names scenes that have no labels or are not there: s9"),
        (["--init", "no.pth"], "init: there is no file of weights"),
        (["--precision", "float16", "--device", "cpu"], "float16 is not for the CPU: choose bfloat16"),
    ):
        output = tmp_path / "made" / "model"
        ended = geoseg_command("train", folder / "train.yaml", "-o", output, *words)
        assert ended.code == 2
        assert message.format(config=folder / "train.yaml") in ended.err
        assert not output.exists()


def log_of(output: Path) -> list[list[str]]:
    return [row[:-1] for row in csv.reader((output / "training" / "log.csv").read_text().splitlines())]


def test_a_killed_training_goes_on_with_the_same_loss_curve_and_gives_the_same_model(
    geoseg_command: Command, folder: Path, tmp_path: Path
) -> None:
    words = ["train", folder / "train.yaml", "--threads", "1", "--device", "cpu"]
    whole = geoseg_command(*words, "-o", tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert whole.err.count("epoch ") == 4
    assert whole.out.startswith("class,iou\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "geoseg", *map(str, words), "-o", str(tmp_path / "killed")],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(geoseg.__file__).parents[1])},
    )
    log = tmp_path / "killed" / "training" / "log.csv"
    end = time.monotonic() + 120
    while not (log.exists() and len(log_of(tmp_path / "killed")) >= 3):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "card.yaml").exists()
    again = geoseg_command(*words, "-o", tmp_path / "killed")
    assert again.code == 0, again.err
    assert "going on from the last whole epoch" in again.err
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    for name in ("card.yaml", "weights.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    third = geoseg_command(*words, "-o", tmp_path / "killed")
    assert "unchanged since it was trained" in third.err
    mapped = geoseg_command(
        "run", folder / "images" / "s2.tif", "-o", tmp_path / "out", "-m", tmp_path / "whole", "--no-polygons"
    )
    assert mapped.code == 0, mapped.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epoch: 3", "train.yaml, line 3: epoch: unknown key; did you mean epochs?"),
        ("split: {by: pixel}", "train.yaml, line 3: split.by: Input should be 'scene' or 'block' (got 'pixel')"),
        ("split:\n  val: 1.5", "train.yaml, line 4: split.val"),
        ("augment: {flop: 1}", "train.yaml, line 3: augment.flop: unknown key; did you mean flip?"),
        ("classes: [{value: 1, name: a}]", "one class is nothing to tell apart"),
        ("classes: [{value: 1, name: a}, {value: 1, name: b}]", "classes have the value 1 twice"),
        ("loss: [{name: dise}]", "there is no loss 'dise' (did you mean dice?)"),
        ("loss: [{name: ce, gamma: 2}]", "there is no option of the loss ce 'gamma'"),
        ("learning_rate: .nan", ".nan and .inf are no values of a training"),
        ("version: 2", "train.yaml, line 3: version"),
    ],
)
def test_a_broken_setting_is_named_with_file_line_and_key(
    geoseg_command: Command, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "train.yaml").write_text(f"images: i\nlabels: l\n{line}\n")
    ended = geoseg_command("train", tmp_path / "train.yaml", "-o", tmp_path / "m")
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "m").exists()


@pytest.mark.usefixtures("imported_for_processes")
def test_options_win_over_the_file_and_reach_the_training(
    geoseg_command: Command, folder: Path, tmp_path: Path
) -> None:
    ended = geoseg_command(
        *("train", folder / "train.yaml", "-o", tmp_path / "m", "--epochs", 1, "--batches", 2, "--name", "mine"),
        *("--val", "s0,s1", "--use-bands", "nir", "--threads", 1, "--window", 64, "--log-format", "json"),
        *("--gradient-checkpointing", "--device", "cpu", "--devices", 2),
    )
    assert ended.code == 0, ended.err
    assert "on 2 x cpu" in ended.err
    card = geoseg.load_model(tmp_path / "m").card
    assert card.name == "mine"
    assert [b.name for b in card.bands] == ["nir"]
    assert card.scores is not None
    assert "2 of 3 scenes" in card.scores.data
    assert "epoch 1 of 1, each of 2 batches of 4 windows of 64 px" in card.training
    assert '"text": "epoch 1:' in ended.err
    asked = json.loads((tmp_path / "m" / "training" / "training.json").read_text())["settings"]
    assert asked["gradient_checkpointing"] is True
    # the model is a first model: what it is sure of labels the image that has no label any more
    few = tmp_path / "few"
    few.mkdir()
    for name in ("s0.tif", "s2.tif"):
        (few / name).write_bytes((folder / "labels" / name).read_bytes())
    again = geoseg_command(
        *("train", folder / "train.yaml", "-o", tmp_path / "n", "--epochs", 1, "--batches", 2, "--use-bands", "nir"),
        *("--labels", few, "--pseudo-labels", tmp_path / "m", "--pseudo-confidence", 0.3, "--threads", 1),
    )
    assert again.code == 0, again.err
    # two classes: one of them is always that probable
    assert f"{made(0)[1].size} labelled pixels to train on, and as labels {made(1)[1].size} of which mine 1.0 was" in (
        geoseg.load_model(tmp_path / "n").card.training
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "x"], "give --images and --labels"),
        (["--images", "x", "--labels", "y", "--ignore", "a"], "--ignore a: write whole numbers"),
        (
            ["--images", "x", "--labels", "y", "--window", "7"],
            "error: the options: window: Input should be greater than or equal to 32",
        ),
        (["--images", "x", "--labels", "y", "--pseudo-confidence", "0.8"], "is of no use without pseudo_labels"),
        (["--images", "no/such", "--labels", "y"], "there is no file or folder /"),
        (["--images", "x", "--labels", "y", "--device", "gpu"], "device 'gpu' is not known"),
        (["--images", "x", "--labels", "y", "--device", "cpu", "--devices", "3"], "a batch_size of 8 cannot be shared"),
    ],
    ids=str,
)
def test_wrong_usage_is_said_in_a_line(geoseg_command: Command, tmp_path: Path, words: list[str], message: str) -> None:
    ended = geoseg_command("train", "-o", tmp_path / "m", *words)
    assert ended.code == 2
    assert message in ended.err


def test_each_batch_is_a_step_of_the_bar_and_each_epoch_a_line() -> None:
    from geoseg.cli.train import _tell
    from geoseg.train.keeper import Epoch

    told: list[tuple[object, ...]] = []

    class Listening:
        def count(self, what: str, done: int, total: int, *, unit: str) -> None:
            told.append((what, done, total, unit))

        def say(self, line: str) -> None:
            told.append((line,))

    epoch = Epoch(
        epoch=1, steps=2, train_loss=0.5, val_loss=0.25, accuracy=0.9, miou=0.75, learning_rate=0.0, seconds=3.0
    )
    for done in (1, 2):
        _tell(cast("Any", Listening()), done, 4, epoch if done == 2 else None)
    line = "epoch 1: loss 0.5000, held out 0.2500, mIoU 0.7500, 3.0 s"
    assert told == [("training", 1, 4, "batches"), ("training", 2, 4, "batches"), (line,)]


def test_a_training_killed_at_its_last_writes_is_neither_lost_nor_taken_for_another(
    geoseg_command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", folder / "train.yaml", "--threads", "1", "--device", "cpu", "--epochs", "1"]
    monkeypatch.setenv("GEOSEG_CRASH_AT", "nowhere")  # passages are counted where any is asked for
    before = crash._passed["begin"]
    whole = geoseg_command(*words, "-o", tmp_path / "whole")
    assert whole.code == 0, whole.err
    last = crash._passed["begin"] - before  # the card
    monkeypatch.delenv("GEOSEG_CRASH_AT")

    def killed(point: str, output: Path, *more: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "geoseg", *map(str, words), "-o", str(output), *more],
            env=os.environ
            | {"PYTHONPATH": str(Path(geoseg.__file__).parents[1]), "GEOSEG_CRASH_AT": f"{point}:{last}"},
            capture_output=True,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    killed("begin", tmp_path / "one")
    assert not (tmp_path / "one" / "card.yaml").exists()
    again = geoseg_command(*words, "-o", tmp_path / "one")
    assert again.code == 0, again.err
    killed("folder_synced", tmp_path / "two")
    again = geoseg_command(*words, "-o", tmp_path / "two")
    assert "unchanged since it was trained" in again.err
    for output in (tmp_path / "one", tmp_path / "two"):
        assert {p.name for p in output.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
        assert (output / "card.yaml").read_bytes() == (tmp_path / "whole" / "card.yaml").read_bytes()
    # one of other settings that was killed in the place of this one
    killed("begin", tmp_path / "one", "--overwrite", "--seed", "1")
    ended = geoseg_command(*words, "-o", tmp_path / "one")
    assert ended.code == 2
    assert "holds an unfinished training" in ended.err
