"""Where a training is computed."""

from dataclasses import dataclass

import torch

from geoseg.errors import ParameterError
from geoseg.train.config import TrainSpec

__all__ = ["Machine", "devices_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it is computed: nothing of it changes what is asked for."""

    device: str = "cpu"
    """cpu, cuda, cuda:1 or mps."""
    devices: int = 1
    """How many at once, each with a process of its own: GPUs from the first, or parts of a CPU."""
    threads: int | None = None
    """CPU threads of the network, of all processes together; torch's own number by default."""


def devices_of(machine: Machine, spec: TrainSpec) -> list[str]:
    """The device of each process.

    Raises:
        ParameterError: If there are not so many, or the batch cannot be shared out evenly.
    """
    n = machine.devices
    if n == 1:
        return [machine.device]
    if machine.device not in ("cpu", "cuda"):
        raise ParameterError(
            f"--devices {n} does not go with the device {machine.device}: choose cuda, of which the first {n} are "
            "taken (CUDA_VISIBLE_DEVICES says which are there), or cpu"
        )
    there = torch.cuda.device_count()
    if machine.device == "cuda" and n > there:
        raise ParameterError(f"--devices {n}: torch sees {there} CUDA device{'' if there == 1 else 's'}")
    if spec.batch_size % n:
        raise ParameterError(
            f"a batch_size of {spec.batch_size} cannot be shared evenly by {n} devices: choose a multiple of {n}"
        )
    return [f"cuda:{i}" for i in range(n)] if machine.device == "cuda" else ["cpu"] * n
