"""Train the small U-Net of the zoo on other places than the committed one.

``python -m sample_data.train_unet`` takes ten to twenty minutes on one core. Training places are generated on the
fly from seeds of their own; the committed scenes are never trained on. Their score was looked at while it was decided
how long to train, so it is slightly optimistic.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from geoseg.models.card import PROBABILITIES, ModelCard
from sample_data.classes import BANDS, LEGEND
from sample_data.make import SEED as COMMITTED_SEED
from sample_data.noise import Floats
from sample_data.place import GSD_M, NO_TRUTH, make_place
from sample_data.score import SCENES, TRUTH, confusion, table

__all__ = ["ARCHITECTURE", "TRAINING_SEEDS", "View", "main", "predict", "train", "training_views", "write_model"]

ZOO: Final = Path(__file__).parent.parent / "geoseg" / "models" / "zoo" / "landcover-unet"
TRAINING_SEEDS: Final = tuple(range(101, 109))
PLACE_SIZE: Final = 448
CROP: Final = 128
BATCH: Final = 4
PHASES: Final = ((900, 3e-3), (600, 1.5e-3), (500, 1e-3))
"""Iterations and highest learning rate of each phase; the later ones start warm, from the weights before."""
OUTPUT_STRIDE: Final = 8
# Three stages see about 100 pixels of context, enough for parcels and towns, and keep the weights below 4 MB.
ARCHITECTURE: Final[dict[str, Any]] = {
    "name": "Unet",
    "encoder": "tu-resnet18",
    "options": {"encoder_depth": 3, "decoder_channels": [64, 32, 16]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A training view."""

    pixels: NDArray[np.uint16]
    """Reflectance x 10000, (band, row, col); 0 is nodata."""
    target: NDArray[np.uint8]
    """Index of the class in the legend, 255 to be ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of the training pixels, per band, in reflectance."""

    mean: Floats
    """Average."""
    std: Floats
    """Standard deviation."""
    quantiles: NDArray[np.float64]
    """At the card's probabilities, (probability, band)."""


def training_views(seeds: Sequence[int], size: int) -> list[View]:
    """Both dates of each seed's place."""
    index = np.full(256, NO_TRUTH, dtype=np.uint8)
    index[list(LEGEND.values)] = np.arange(len(LEGEND))
    views = []
    for seed in seeds:
        if seed == COMMITTED_SEED:
            raise ValueError(f"seed {seed} is the committed place: train on others, or the score means nothing")
        views += [View(pixels=v.pixels, target=index[v.truth]) for v in make_place(seed, size).views]
    return views


def statistics(views: Sequence[View]) -> Statistics:
    """Mean, standard deviation and quantiles over all observed pixels."""
    seen = np.concatenate([v.pixels[:, v.target != NO_TRUTH][:, ::7] for v in views], axis=1) / 10_000.0
    return Statistics(
        mean=seen.mean(axis=1).astype(np.float32),
        std=seen.std(axis=1).astype(np.float32),
        quantiles=np.quantile(seen, PROBABILITIES, axis=1),
    )


def normalise(pixels: NDArray[np.uint16], stats: Statistics) -> Floats:
    """Network input (band, row, col): 0 where there is no observation, as the card promises."""
    physical = pixels.astype(np.float32) / np.float32(10_000.0)
    scaled = (physical - stats.mean[:, None, None]) / stats.std[:, None, None]
    return np.where(pixels == 0, np.float32(0.0), scaled).astype(np.float32)


def _crop(rng: np.random.Generator, view: View) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """A square of a view; every second one around a pixel of a class drawn at random, so that rare ones are met."""
    height, width = view.target.shape
    row, col = rng.integers(0, height - CROP + 1), rng.integers(0, width - CROP + 1)
    if rng.random() < 0.5:
        members = np.flatnonzero(view.target == rng.integers(0, len(LEGEND)))
        if members.size:
            at = int(members[rng.integers(0, members.size)])
            row = np.clip(at // width - rng.integers(0, CROP), 0, height - CROP)
            col = np.clip(at % width - rng.integers(0, CROP), 0, width - CROP)
    part = (slice(row, row + CROP), slice(col, col + CROP))
    return view.pixels[(slice(None), *part)], view.target[part]


def _sample(rng: np.random.Generator, views: Sequence[View], stats: Statistics) -> tuple[Floats, NDArray[np.uint8]]:
    """An augmented training pair."""
    pixels, target = _crop(rng, views[int(rng.integers(0, len(views)))])
    image, seen = normalise(pixels, stats), pixels != 0
    # Another atmosphere, another sensor: a gain common to all bands, and a gain and an offset of each.
    n = len(BANDS)
    gain = np.exp(rng.normal(0.0, 0.04) + rng.normal(0.0, 0.03, n)).astype(np.float32)[:, None, None]
    offset = (rng.normal(0.0, 0.003, n).astype(np.float32) / stats.std)[:, None, None]
    middle = (stats.mean / stats.std)[:, None, None]
    image = np.where(seen, (image + middle) * gain - middle + offset, 0.0)
    if rng.random() < 0.25:
        top, left, bottom, right = np.sort(rng.integers(0, CROP, (2, 2)), axis=0).ravel()
        image[:, top:bottom, left:right], target = 0.0, target.copy()
        target[top:bottom, left:right] = NO_TRUTH
    turns, mirrored = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    image, target = np.rot90(image, turns, axes=(1, 2)), np.rot90(target, turns)
    if mirrored:
        image, target = image[:, :, ::-1], target[:, ::-1]
    return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(target)


def network() -> torch.nn.Module:
    """The untrained network; no weights are fetched."""
    build = getattr(smp, ARCHITECTURE["name"])
    module: torch.nn.Module = build(
        encoder_name=ARCHITECTURE["encoder"],
        encoder_weights=None,
        in_channels=len(BANDS),
        classes=len(LEGEND),
        **ARCHITECTURE["options"],
    )
    return module


def train(
    views: Sequence[View], stats: Statistics, *, seed: int, phases: Sequence[tuple[int, float]]
) -> torch.nn.Module:
    """A trained network in eval mode; the same seed on the same machine gives the same weights."""
    torch.manual_seed(seed)
    module = network().to(memory_format=torch.channels_last)
    for number, (iterations, max_lr) in enumerate(phases):
        _phase(module, views, stats, seed=seed + number, iterations=iterations, max_lr=max_lr)
    return module.to(memory_format=torch.contiguous_format).eval()


def _phase(
    module: torch.nn.Module, views: Sequence[View], stats: Statistics, *, seed: int, iterations: int, max_lr: float
) -> None:
    """One cycle of the learning rate."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, total_steps=iterations, pct_start=0.15)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=NO_TRUTH)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=NO_TRUTH)
    began, running = time.monotonic(), 0.0
    for step in range(1, iterations + 1):
        pairs = [_sample(rng, views, stats) for _ in range(BATCH)]
        image = torch.from_numpy(np.stack([image for image, _ in pairs])).to(memory_format=torch.channels_last)
        target = torch.from_numpy(np.stack([target for _, target in pairs])).long()
        logits = module(image)
        loss = cross_entropy(logits, target) + 0.5 * dice(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        now = float(loss.detach())
        running = 0.95 * running + 0.05 * now if step > 1 else now
        if step % 50 == 0:
            print(f"step {step}/{iterations}: loss {running:.4f}, {time.monotonic() - began:.0f} s", flush=True)


def predict(module: torch.nn.Module, image: Floats, *, window: int = 256, stride: int = 192) -> NDArray[np.uint8]:
    """Class index of each pixel by a plain sliding window: mean softmax of the windows that see the pixel."""
    _, height, width = image.shape
    scores = torch.zeros((len(LEGEND), height, width))
    for row in [*range(0, height - window, stride), height - window]:
        for col in [*range(0, width - window, stride), width - window]:
            part = (slice(None), slice(row, row + window), slice(col, col + window))
            with torch.inference_mode():
                logits = module(torch.from_numpy(np.ascontiguousarray(image[part]))[None])
            scores[part] += logits[0].softmax(dim=0)
    return scores.argmax(dim=0).numpy().astype(np.uint8)


def validate(module: torch.nn.Module, stats: Statistics) -> str:
    """Score table on the committed scenes."""
    counts = {}
    values = np.array(LEGEND.values, dtype=np.uint8)
    for path in sorted(SCENES.glob("*.tif")):
        with rasterio.open(path) as scene, rasterio.open(TRUTH / path.name) as truth:
            mapped = values[predict(module, normalise(scene.read(), stats))]
            counts[path.stem] = confusion(truth.read(1), mapped)
    return table(counts)


def write_model(folder: Path, module: torch.nn.Module, stats: Statistics, notes: str) -> None:
    """Write weights and card into a folder of the zoo."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, weights)
    # The library writes for the owner only; the weights are for everyone.
    weights.chmod(0o644)
    rounded = [[round(float(x), 5) for x in values] for values in (stats.mean, stats.std)]
    card = ModelCard.model_validate(
        {
            "name": "landcover-unet",
            "version": "1.0",
            "description": "Small U-Net for the sample scenes: six land-cover classes at 10 m. Trained on constructed "
            "places only, to show and test the whole chain; not for real images.",
            "license": "Apache-2.0",
            "kind": "smp",
            "architecture": ARCHITECTURE,
            "weights": weights.name,
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "bands": [
                {"name": b, "required": True, "mean": m, "std": s} for b, m, s in zip(BANDS, *rounded, strict=True)
            ],
            "units": "reflectance",
            "gsd_m": GSD_M,
            "window": 256,
            "output_stride": OUTPUT_STRIDE,
            "overlap": 0.25,
            "blend": "gaussian",
            "nodata_fill": 0.0,
            "classes": [{"value": c.value, "name": c.name, "color": c.color} for c in LEGEND],
            "quantiles": {
                band: dict(zip(PROBABILITIES, (round(float(q), 4) for q in values), strict=True))
                for band, values in zip(BANDS, stats.quantiles.T, strict=True)
            },
            "training": notes,
        }
    )
    (folder / "card.yaml").write_text(card.to_yaml(), encoding="utf-8")


def main() -> None:
    """Read the command line, train, write the model, report its score on the committed scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20, help="of the weights and of the crops")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ZOO)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    views = training_views(TRAINING_SEEDS, PLACE_SIZE)
    stats = statistics(views)
    module = train(views, stats, seed=options.seed, phases=PHASES)
    steps = sum(iterations for iterations, _ in PHASES)
    notes = (
        f"sample_data/train_unet.py, seed {options.seed}: {steps} iterations of {BATCH} crops of {CROP} "
        f"px from constructed places, seeds {TRAINING_SEEDS[0]} to {TRAINING_SEEDS[-1]}, {PLACE_SIZE} px, both dates; "
        "cross entropy and Dice; flips, turns, gain, offset and nodata holes. "
        f"The committed scenes (seed {COMMITTED_SEED}) were not used."
    )
    write_model(options.out, module, stats, notes)
    print(validate(module, stats))


if __name__ == "__main__":
    main()
