"""Train the small Siamese U-Net of the zoo on pairs of other places than the committed one.

``python -m sample_data.train_siamese`` takes some ten minutes on one core. Pairs are generated on the fly from seeds of
their own; the committed scenes are never trained on. With ``--score`` nothing is trained: change between the committed
scenes by the model that is there is scored against truth, with the measures of ``score_change``.
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

import geoseg
from geoseg.models.card import Architecture, ModelCard
from geoseg.models.network import build_architecture
from sample_data.classes import BANDS, LEGEND
from sample_data.make import SEED as COMMITTED_SEED
from sample_data.noise import Floats
from sample_data.place import GSD_M, NO_TRUTH, make_place
from sample_data.score import SCENES, TRUTH
from sample_data.score_change import DATES, PLACES, f1

__all__ = ["ARCHITECTURE", "Pair", "main", "score", "train", "training_pairs", "write_model"]

ZOO: Final = Path(__file__).parent.parent / "geoseg" / "models" / "zoo" / "change-siamese"
TRAINING_SEEDS: Final = tuple(range(101, 109))
PLACE_SIZE: Final = 384
CROP: Final = 96
BATCH: Final = 6
ITERATIONS: Final = 500
MAX_LR: Final = 4e-3
ARCHITECTURE: Final[dict[str, Any]] = {
    "name": "SiameseUnet",
    "encoder": "tu-resnet10t",
    "options": {"encoder_depth": 3, "decoder_channels": [48, 24, 16]},
}
OUTPUT_STRIDE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A place on two dates."""

    before: NDArray[np.uint16]
    """Reflectance x 10000, (band, row, col); 0 is nodata."""
    after: NDArray[np.uint16]
    """On the second date."""
    target: NDArray[np.uint8]
    """1 where the class changed, 0 where it did not, 255 where either date has no observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of the training pixels, per band, in reflectance."""

    mean: Floats
    """Average."""
    std: Floats
    """Standard deviation."""


def training_pairs(seeds: Sequence[int], size: int) -> list[Pair]:
    """The place of each seed."""
    pairs = []
    for seed in seeds:
        if seed == COMMITTED_SEED:
            raise ValueError(f"seed {seed} is the committed place: train on others, or the score means nothing")
        before, after = make_place(seed, size).views
        unseen = (before.truth == NO_TRUTH) | (after.truth == NO_TRUTH)
        target = np.where(unseen, NO_TRUTH, before.truth != after.truth).astype(np.uint8)
        pairs.append(Pair(before=before.pixels, after=after.pixels, target=target))
    return pairs


def pair_statistics(pairs: Sequence[Pair]) -> Statistics:
    """Over the observed pixels of both dates."""
    dates = [p[:, pair.target != NO_TRUTH][:, ::7] for pair in pairs for p in (pair.before, pair.after)]
    seen = np.concatenate(dates, axis=1) / 10_000.0
    return Statistics(mean=seen.mean(axis=1).astype(np.float32), std=seen.std(axis=1).astype(np.float32))


def normalise(pixels: NDArray[np.uint16], stats: Statistics) -> Floats:
    """Network input (band, row, col): 0 where there is no observation, as the card promises."""
    physical = pixels.astype(np.float32) / np.float32(10_000.0)
    scaled = (physical - stats.mean[:, None, None]) / stats.std[:, None, None]
    return np.where(pixels == 0, np.float32(0.0), scaled).astype(np.float32)


def _sample(rng: np.random.Generator, pairs: Sequence[Pair], stats: Statistics) -> tuple[Floats, NDArray[np.uint8]]:
    """An augmented crop of both dates, (before and after bands, row, col), and its target."""
    pair = pairs[int(rng.integers(0, len(pairs)))]
    height, width = pair.target.shape
    row, col = rng.integers(0, height - CROP + 1), rng.integers(0, width - CROP + 1)
    if rng.random() < 0.6:  # change is rare
        members = np.flatnonzero(pair.target == 1)
        at = int(members[rng.integers(0, members.size)])
        row = np.clip(at // width - rng.integers(0, CROP), 0, height - CROP)
        col = np.clip(at % width - rng.integers(0, CROP), 0, width - CROP)
    part = (slice(row, row + CROP), slice(col, col + CROP))
    target = pair.target[part]
    dates = []
    middle = (stats.mean / stats.std)[:, None, None]
    for pixels in (pair.before, pair.after):
        stored = pixels[(slice(None), *part)]
        # another atmosphere on each date: a gain common to all bands, and a gain of each
        gain = np.exp(rng.normal(0.0, 0.04) + rng.normal(0.0, 0.03, len(BANDS))).astype(np.float32)[:, None, None]
        dates.append(np.where(stored == 0, 0.0, (normalise(stored, stats) + middle) * gain - middle))
    if rng.random() < 0.5:
        dates.reverse()
    image = np.concatenate(dates)
    turns, mirrored = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    image, target = np.rot90(image, turns, axes=(1, 2)), np.rot90(target, turns)
    if mirrored:
        image, target = image[:, :, ::-1], target[:, ::-1]
    return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(target)


def train(pairs: Sequence[Pair], stats: Statistics, *, seed: int, iterations: int) -> torch.nn.Module:
    """A trained network in eval mode; the same seed on the same machine gives the same weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    architecture = Architecture.model_validate(ARCHITECTURE)
    module = build_architecture(architecture, in_channels=2 * len(BANDS), n_classes=2, source="train_siamese")
    module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=MAX_LR, total_steps=iterations, pct_start=0.15)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=NO_TRUTH)
    dice = smp.losses.DiceLoss("multiclass", classes=[1], ignore_index=NO_TRUTH)
    began, running = time.monotonic(), 0.0
    for step in range(1, iterations + 1):
        samples = [_sample(rng, pairs, stats) for _ in range(BATCH)]
        image = torch.from_numpy(np.stack([image for image, _ in samples])).to(memory_format=torch.channels_last)
        target = torch.from_numpy(np.stack([target for _, target in samples])).long()
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
    return module.to(memory_format=torch.contiguous_format).eval()


def write_model(folder: Path, module: torch.nn.Module, stats: Statistics, notes: str) -> None:
    """Write weights and card into a folder of the zoo."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, weights)
    weights.chmod(0o644)  # the library writes for the owner only
    rounded = [[round(float(x), 5) for x in values] for values in (stats.mean, stats.std)]
    card = ModelCard.model_validate(
        {
            "name": "change-siamese",
            "version": "1.0",
            "description": "Small Siamese U-Net for pairs of the sample scenes: change of land-cover class or none, at "
            "10 m. Trained on constructed places only, to show and test models of two dates; not for real images.",
            "license": "Apache-2.0",
            "kind": "smp",
            "dates": 2,
            "architecture": ARCHITECTURE,
            "weights": weights.name,
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "bands": [
                {"name": f"{date}:{b}", "mean": m, "std": s}
                for date in ("before", "after")
                for b, m, s in zip(BANDS, *rounded, strict=True)
            ],
            "units": "reflectance",
            "gsd_m": GSD_M,
            "window": 256,
            "output_stride": OUTPUT_STRIDE,
            "overlap": 0.25,
            "classes": [
                {"value": 0, "name": "no change", "color": "#e8e8e4"},
                {"value": 1, "name": "change", "color": "#c8413a"},
            ],
            "training": notes,
        }
    )
    (folder / "card.yaml").write_text(card.to_yaml(), encoding="utf-8")


def score(model: str, *, align: bool, places: Sequence[str] = PLACES) -> NDArray[np.int64]:
    """Pixels of the committed scenes that are rightly changed, wrongly changed, and missed, over all places."""
    from geoseg.change.pair_scene import pair_scenes

    loaded, total = geoseg.load_model(model), np.zeros(3, dtype=np.int64)
    for place in places:
        scenes = [geoseg.open_scene(SCENES / f"{place}_{date}.tif") for date in DATES]
        truths = []
        for date in DATES:
            with rasterio.open(TRUTH / f"{place}_{date}.tif") as dataset:
                truths.append(dataset.read(1))
        pair = pair_scenes(*scenes, align_images=align)
        mapped = geoseg.segment(pair, loaded).classes.to_numpy()
        known = np.all([t != LEGEND.nodata for t in truths], axis=0) & (mapped != loaded.legend.nodata)
        found, meant = mapped[known] == 1, (truths[0] != truths[1])[known]
        total += np.array([(found & meant).sum(), (found & ~meant).sum(), (~found & meant).sum()])
    return total


def main() -> None:
    """Read the command line, train and write the model unless only its score is asked for, report its score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=30, help="of the weights and of the crops")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--out", type=Path, default=ZOO)
    parser.add_argument("--score", action="store_true", help="only score the model that is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.score:
        pairs = training_pairs(TRAINING_SEEDS, PLACE_SIZE)
        stats = pair_statistics(pairs)
        module = train(pairs, stats, seed=options.seed, iterations=options.iterations)
        notes = (
            f"sample_data/train_siamese.py, seed {options.seed}: {options.iterations} iterations of {BATCH} crops of "
            f"{CROP} px from constructed places, seeds {TRAINING_SEEDS[0]} to {TRAINING_SEEDS[-1]}, {PLACE_SIZE} px; "
            "cross entropy and Dice; flips, turns, gains of each date, dates swapped. "
            f"The committed scenes (seed {COMMITTED_SEED}) were not used."
        )
        write_model(options.out, module, stats, notes)
    for align in (False, True):
        right, wrong, missed = score(str(options.out), align=align).tolist()
        said = "second date moved back by the shift of the images" if align else "as they are"
        print(f"{said}: F1 {f1(np.array([right, wrong, missed])):.3f}, {wrong} px wrongly changed, {missed} missed")


if __name__ == "__main__":
    main()
