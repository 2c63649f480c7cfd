"""A step of training beside the bare one: ``python -m benchmarks.training``.

The bare step is forward, backward and optimizer on batches that are already in memory, by the same network, loss and
optimizer. `geoseg train`'s step also draws windows, cuts, normalises and varies them, in a thread of its own, and goes
through Lightning. Both take turns, round by round, so that what else the machine does falls on both; the validation and
the writing at the end of an epoch are not counted.

Seconds are those of the clock. The time of all cores is given too: on a machine that does other things, it says what
the loading costs when the clock says little.

The sample data are trained on: windows of 128 px with 5 bands, 8 in a batch.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.train.batches import Batch, HeldOutBatches, TrainingBatches
from geoseg.train.config import TrainSpec, load_training
from geoseg.train.fit import fit
from geoseg.train.keeper import Epoch
from geoseg.train.losses import build_loss
from geoseg.train.machine import Machine
from geoseg.train.network import first_network
from geoseg.train.pairs import Pairs, find_pairs
from geoseg.train.places import Places, count_cells, split_places
from geoseg.train.statistics import band_statistics, normalisations
from geoseg.train.windows import tiles

__all__ = ["main"]

_SAMPLE = Path(__file__).parent.parent / "sample_data"
_AUGMENT = {"scale": [0.8, 1.25], "brightness": 0.1, "contrast": 0.1, "noise": 0.05, "cutmix": 0.2}


class _Nowhere:
    """Keeps nothing: what is measured are steps."""

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """Not kept."""

    def best(self, tensors: dict[str, torch.Tensor]) -> None:
        """Not kept."""

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Not kept."""

    def picture(self, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """Not kept."""


class _Data:
    """What is trained on, opened once."""

    def __init__(self, spec: TrainSpec) -> None:
        self.spec = spec
        self.pairs: Pairs = find_pairs(spec)
        counts = [count_cells(p, self.pairs.legend, spec.ignore) for p in self.pairs.items]
        self.places: Places = split_places(self.pairs, counts, spec.split)
        found = band_statistics(self.pairs, self.places, seed=spec.seed)
        self.normalisations = normalisations(self.pairs, found)
        self.windows = tiles(self.places, self.pairs.items, spec.window)[:1]

    def batches(self) -> TrainingBatches:
        return TrainingBatches(self.spec, self.pairs.items, self.places, self.normalisations)

    def network(self) -> torch.nn.Module:
        n_bands, n_classes = len(self.pairs.band_names), len(self.pairs.legend)
        network, _ = first_network(self.spec, in_channels=n_bands, n_classes=n_classes, origin="the benchmark")
        return network.to(memory_format=torch.channels_last)


def _now() -> NDArray[np.float64]:
    """Seconds of the clock, and of all cores for this process."""
    return np.array([time.perf_counter(), time.process_time()])


def _bare(data: _Data, batches: Sequence[Batch], steps: int) -> NDArray[np.float64]:
    """Seconds a step: of the clock, of all cores."""
    network, loss = data.network().train(), build_loss(data.spec.loss)
    optimizer = torch.optim.AdamW(network.parameters(), lr=data.spec.learning_rate, weight_decay=1e-3)
    began = _now()
    for step in range(steps + 1):
        if step == 1:  # the first one allocates
            began = _now()
        images, target = batches[step % len(batches)]
        optimizer.zero_grad()
        loss(network(images), target).backward()
        optimizer.step()
    return (_now() - began) / steps


def _geoseg(data: _Data, batches: TrainingBatches, steps: int) -> NDArray[np.float64]:
    """Seconds a step, from the end of the first to the end of the last: of the clock, of all cores."""
    ends: list[NDArray[np.float64]] = []

    def note(_done: int, epoch: Epoch | None) -> None:
        if epoch is None:
            ends.append(_now())

    fit(
        data.network(),
        build_loss(data.spec.loss),
        data.spec,
        batches,
        HeldOutBatches(data.spec, data.pairs.items, data.places, data.normalisations, data.windows),
        legend=data.pairs.legend,
        bands=data.pairs.band_names,
        machine=Machine(),
        keep=_Nowhere(),
        resume=None,
        progress=note,
    )
    assert len(ends) == steps + 1
    return (ends[-1] - ends[0]) / steps


def _loading(batches: TrainingBatches, n: int) -> float:
    """Seconds to make a batch, with nothing else to do."""
    began = time.process_time()
    for number in range(n):
        batches.batch(1, number)
    return (time.process_time() - began) / n


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of the network")
    parser.add_argument("--cache-mib", type=int, default=2048, help="0 reads every window from its file")
    options = parser.parse_args()
    settings: dict[str, Any] = {
        "images": [str(_SAMPLE / "scenes")],
        "labels": str(_SAMPLE / "truth"),
        "split": {"val": 0.34},
        "architecture": {
            "name": "Unet",
            "encoder": "tu-resnet18",
            "options": {"encoder_depth": 3, "decoder_channels": [64, 32, 16]},
        },
        "window": 128,
        "batch_size": 8,
        "epochs": 1,
        "batches": options.steps + 1,
        "pictures": 0,
        "augment": _AUGMENT,
        "cache_mib": options.cache_mib,
    }
    with tempfile.TemporaryDirectory() as folder:
        data = _Data(load_training(None, settings, folder=Path(folder)).spec)
    batches = data.batches()
    held = [batches.batch(0, number) for number in range(4)]
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        made = _loading(batches, 10)
        took = []
        for _ in range(options.rounds):
            bare = _bare(data, held, options.steps)
            took.append((bare, _geoseg(data, batches, options.steps)))
        print(f"{threads} thread{'s' if threads > 1 else ''}; making a batch alone takes {made * 1e3:.0f} ms")
        for i, what in enumerate(("clock", "all cores")):
            ratios = sorted(float(ours[i] / bare[i]) for bare, ours in took)
            bare_ms, ours_ms = (
                statistics.median(float(each[i]) for each in part) * 1e3 for part in zip(*took, strict=True)
            )
            print(
                f"  {what}: bare {bare_ms:.0f} ms, geoseg {ours_ms:.0f} ms a step; ratio "
                f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            )


if __name__ == "__main__":
    main()
