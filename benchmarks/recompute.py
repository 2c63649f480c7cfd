"""What gradient checkpointing saves and costs: ``python -m benchmarks.recompute``.

Steps (forward, backward, optimizer) of a Unet on batches in memory, with and without, each in a process of its own. The
memory is the peak of the process less what it held before the first step; seconds are the median of a step.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from geoseg.models.card import Architecture
from geoseg.models.network import build_architecture
from geoseg.train.recompute import recompute

__all__ = ["main"]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _steps(encoder: str, *, again: bool, window: int, batch: int, steps: int) -> str:
    torch.manual_seed(0)
    network = build_architecture(Architecture(name="Unet", encoder=encoder), in_channels=4, n_classes=6, source="here")
    network = network.to(memory_format=torch.channels_last).train()
    if again:
        recompute(network)
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randn(batch, 4, window, window).to(memory_format=torch.channels_last)
    target = torch.randint(0, 6, (batch, window, window))
    before, took = _peak_mib(), []
    for _ in range(steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), target).backward()
        optimizer.step()
        took.append(time.perf_counter() - began)
    return f"{_peak_mib() - before:.0f} {statistics.median(took):.3f}"


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "resnet50", "efficientnet-b0", "mit_b0"])
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", choices=["plain", "again"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        sizes = {"window": options.window, "batch": options.batch, "steps": options.steps}
        print(_steps(options.encoders[0], again=options.one == "again", **sizes))
        return
    print(f"torch {torch.__version__}, {options.batch} windows of {options.window} px, {options.threads} thread(s)")
    for encoder in options.encoders:
        found = []
        for one in ("plain", "again"):
            words = [sys.executable, "-m", "benchmarks.recompute", "--encoders", encoder, "--one", one]
            for name in ("window", "batch", "steps", "threads"):
                words += [f"--{name}", str(getattr(options, name))]
            ended = subprocess.run(words, check=True, capture_output=True, text=True)
            found.append([float(number) for number in ended.stdout.split()])
        (mib, seconds), (mib_again, seconds_again) = found
        print(
            f"{encoder:<16} {mib:.0f} MiB -> {mib_again:.0f} MiB ({mib_again / mib:.2f}), a step {seconds:.2f} s -> "
            f"{seconds_again:.2f} s ({seconds_again / seconds:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
