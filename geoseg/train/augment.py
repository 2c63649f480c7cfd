"""Windows varied as the ground could have looked: image and labels together, by torchvision's transforms.

What is random comes from a generator that the caller seeds, never from torch's own, which the network's dropout draws
from in another thread: the same seed gives the same windows.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from geoseg.train.config import Augment
from geoseg.train.pixel_losses import IGNORE

__all__ = ["Sample", "mix", "vary"]

_BEND_PX = 4.0
_BEND_CELLS = 5


@dataclass(slots=True)
class Sample:
    """A training window on its way to the network."""

    image: Tensor
    """Normalised (band, row, col), float32."""
    target: Tensor
    """Class indices (row, col), uint8."""
    valid: Tensor
    """Where the image is an observation (row, col), bool; elsewhere it is the fill value and stays so."""


def vary(sample: Sample, how: Augment, rng: np.random.Generator, *, side: int, fill: float) -> Sample:
    """The window, varied.

    Args:
        sample: A window of ``side`` px, or of another size where ``how.scale`` asked for one.
        how: What may be done.
        rng: What decides.
        side: Pixels along a side of the result.
        fill: Of the image where there is no observation.
    """
    sample = _geometry(sample, how, rng, side)
    image = _radiometry(sample.image, how, rng)
    sample.image = torch.where(sample.valid, image, fill) if image is not sample.image else image
    if how.band_dropout and rng.random() < how.band_dropout:
        sample.image = sample.image.clone()
        sample.image[int(rng.integers(len(sample.image)))] = 0.0
    return sample


def _geometry(sample: Sample, how: Augment, rng: np.random.Generator, side: int) -> Sample:
    # band by band: resampling and sums take less than half the time of bands side by side
    image, marks = sample.image.contiguous(), torch.stack([sample.target, sample.valid.to(torch.uint8)])
    if image.shape[-1] != side:
        smaller = image.shape[-1] > side  # enlarged, there is nothing to average
        image = v2.resize(image, [side, side], InterpolationMode.BILINEAR, antialias=smaller)
        marks = v2.resize(marks, [side, side], InterpolationMode.NEAREST_EXACT)
    if how.flip and rng.random() < how.flip:
        image, marks = v2.horizontal_flip(image), v2.horizontal_flip(marks)
    turns = int(rng.integers(4)) if how.turn else 0
    if turns:
        image, marks = v2.rotate(image, 90.0 * turns), v2.rotate(marks, 90.0 * turns)
    if how.elastic and rng.random() < how.elastic:
        bend = _bend(rng, side)
        image = v2.elastic(image, bend, InterpolationMode.BILINEAR)
        # beyond the border there is neither an image nor a label
        marks = v2.elastic(marks, bend, InterpolationMode.NEAREST, fill=[float(IGNORE), 0.0])
    return Sample(image=image, target=marks[0], valid=marks[1].bool())


def _bend(rng: np.random.Generator, side: int) -> Tensor:
    """A smooth displacement (1, row, col, 2) of some pixels, in torchvision's unit: half the window is 1."""
    coarse = torch.from_numpy(rng.normal(0.0, _BEND_PX, (1, 2, _BEND_CELLS, _BEND_CELLS)).astype(np.float32))
    fine = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return fine.permute(0, 2, 3, 1) * (2.0 / side)


def _radiometry(image: Tensor, how: Augment, rng: np.random.Generator) -> Tensor:
    bands = len(image)
    if how.contrast or how.brightness:
        # normalised: 0 is the band's mean and 1 its standard deviation
        gain = np.exp(rng.normal(0.0, how.contrast, (bands, 1, 1))) if how.contrast else np.ones((bands, 1, 1))
        shift = rng.normal(0.0, how.brightness, (bands, 1, 1)) if how.brightness else np.zeros((bands, 1, 1))
        image = image * torch.from_numpy(gain.astype(np.float32)) + torch.from_numpy(shift.astype(np.float32))
    if how.noise:
        # torch draws three times as fast as numpy; a generator of its own, seeded by the caller's
        draws = torch.Generator().manual_seed(int(rng.integers(2**63)))
        image = image + how.noise * torch.empty(image.shape).normal_(generator=draws)
    if how.blur and rng.random() < how.blur:
        image = v2.gaussian_blur(image, [7, 7], [float(rng.uniform(0.5, 1.5))])
    return image


def mix(samples: list[Sample], how: Augment, rng: np.random.Generator) -> list[Sample]:
    """A batch whose windows may hold parts of each other: CutMix and copy-paste, with the labels of what is pasted.

    Yun et al. (2019), ICCV, whose mixed label of a whole picture is here the label of each pixel; Ghiasi et al. (2021),
    CVPR, whose objects are here all pixels of a class.
    """
    if not (how.cutmix or how.copy_paste) or len(samples) < 2:
        return samples
    mixed = []
    for i, sample in enumerate(samples):
        other = samples[(i + 1 + int(rng.integers(len(samples) - 1))) % len(samples)]
        pasted = torch.zeros_like(sample.valid)
        if how.cutmix and rng.random() < how.cutmix:
            pasted |= _rectangle(rng, pasted.shape[0])
        if how.copy_paste and rng.random() < how.copy_paste:
            present = torch.unique(other.target)
            present = present[present != IGNORE]
            if len(present):
                pasted |= other.target == present[int(rng.integers(len(present)))]
        if not pasted.any():
            mixed.append(sample)
            continue
        mixed.append(
            Sample(
                image=torch.where(pasted, other.image, sample.image),
                target=torch.where(pasted, other.target, sample.target),
                valid=torch.where(pasted, other.valid, sample.valid),
            )
        )
    return mixed


def _rectangle(rng: np.random.Generator, side: int) -> Tensor:
    """A rectangle of a quarter to half of the window's sides, anywhere in it."""
    inside = torch.zeros((side, side), dtype=torch.bool)
    height, width = (int(n) for n in rng.integers(side // 4, side // 2 + 1, 2))
    row, col = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
    inside[row : row + height, col : col + width] = True
    return inside
