"""The network on its device: batches, precision, and what to do when memory runs out."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from geoseg.errors import ModelError, ParameterError, ResourceError
from geoseg.inference.turns import TTAS, averaged, turns_of

__all__ = ["DEVICES", "PRECISIONS", "Engine", "choose_device"]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(asked: str) -> torch.device:
    """The device to compute on: the one asked for, or with ``auto`` the first of cuda, mps, cpu that is there.

    Raises:
        ParameterError: If the device asked for is not there: it is never replaced by a slower one silently.
    """
    kind = asked.split(":", 1)[0]
    if kind not in DEVICES:
        raise ParameterError(f"device {asked!r} is not known: choose one of {', '.join(DEVICES)}")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if there[d]))
    if not there[kind]:
        raise ParameterError(f"device {asked!r} is not there: torch {torch.__version__} sees none; pass --device cpu")
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except RuntimeError as error:
        raise ParameterError(f"device {asked!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _default_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    # bfloat16 keeps the exponent of float32, so it does not overflow as float16 does; on CPUs only some are fast at it
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


@dataclass(slots=True, kw_only=True)
class Engine:
    """Runs batches of windows through a network.

    On the CPU every batch has the same number of windows (the last is filled up), so that a kernel chosen by batch size
    cannot make the result depend on the cut. Accelerators take the last batch as it is.
    """

    network: torch.nn.Module
    """(N, C, H, W) float32 -> (N, K, H, W) logits."""
    device: torch.device
    """Where it runs."""
    batch_size: int
    """Windows per forward pass, at least 1; halved for good when device memory runs out."""
    precision: str = "auto"
    """``auto``: bfloat16 on GPUs that have it, else float32."""
    tta: str = "none"
    """Sides from which a window is seen, see `turns`; what the network says of each is averaged."""
    redone: int = field(default=0, init=False)
    """Batches that were computed again in float32 because reduced precision gave values that are not numbers."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ParameterError(f"batch size {self.batch_size}: choose at least 1")
        if self.precision not in PRECISIONS:
            raise ParameterError(f"precision {self.precision!r} is not known: choose one of {', '.join(PRECISIONS)}")
        if self.tta not in TTAS:
            raise ParameterError(f"tta {self.tta!r} is not known: choose one of {', '.join(TTAS)}")
        if self.precision == "auto":
            self.precision = _default_precision(self.device)
        # channels_last: 7 times faster for a 1 x 1 convolution on the CPU, and what tensor cores want
        network = self.network.eval().to(self.device)
        self.network = network.to(memory_format=torch.channels_last)

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits (n, class, row, col), float32, for normalised windows (n, band, row, col), n at most the batch size.

        Raises:
            ModelError: If the output does not have one value per class and pixel.
            ResourceError: If one window alone does not fit the device's memory.
        """
        try:
            logits = self._seen_from_all_sides(windows)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return self._in_halves(windows, error)
        if logits.shape[0] != windows.shape[0] or logits.shape[2:] != windows.shape[2:]:
            raise ModelError(
                f"the model turns windows of shape {tuple(windows.shape)} into {tuple(logits.shape)}: "
                "it must give one value per class for every pixel of the window"
            )
        return logits

    def _seen_from_all_sides(self, windows: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor | None = None
        for n, turn in enumerate(turns_of(self.tta), 1):
            turned = turn.apply(windows)
            logits = self._forward(turned)
            if n > 1 and logits.shape[2:] != turned.shape[2:]:
                return logits  # refused by the caller
            mean = averaged(mean, turn.undo(logits), n)
        assert mean is not None, "there is always the window as it is"
        return mean

    def _forward(self, windows: torch.Tensor) -> torch.Tensor:
        dtype = _DTYPES.get(self.precision)
        with torch.inference_mode():
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
                logits: torch.Tensor = self.network(windows)
            if dtype is None:
                return logits.float()
            logits = logits.float()
            # a sum is one pass, and any NaN or infinity shows in it; only the windows that failed are replaced, because
            # their neighbours in the batch depend on the cut
            failed = ~torch.isfinite(logits.flatten(1).sum(dim=1))
            if failed.any():
                self.redone += 1
                logits = torch.where(failed[:, None, None, None], self.network(windows).float(), logits)
            return logits

    def _in_halves(self, windows: torch.Tensor, error: BaseException) -> torch.Tensor:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        n = windows.shape[0]
        if n == 1:
            side = windows.shape[-1]
            raise ResourceError(
                f"one window of {side} x {side} px does not fit the memory of {self.device}; pass a smaller --window, "
                "or --device cpu"
            ) from error
        self.batch_size = min(self.batch_size, (n + 1) // 2)
        return torch.cat([self(part) for part in windows.split(self.batch_size)])


def _is_out_of_memory(error: BaseException) -> bool:
    # the CPU's allocator and mps raise plain RuntimeErrors
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
