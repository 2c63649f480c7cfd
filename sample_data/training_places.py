"""Constructed places to train the shipped U-Net on: ``python -m sample_data.training_places out/places``.

Each comes from a seed of its own, and none is the committed place, on which maps are scored. `unet.yaml` has the
settings of the training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sample_data.make import SEED as COMMITTED_SEED
from sample_data.make import write_scene, write_truth
from sample_data.place import make_place

__all__ = ["SEEDS", "SIZE", "main", "write_places"]

SEEDS: Final = tuple(range(101, 111))
SIZE: Final = 448
"""Rows of a place in pixels; it is nearly three times as wide."""


def write_places(out: Path, *, seeds: Sequence[int] = SEEDS, size: int = SIZE) -> None:
    """Both dates of each seed's place as ``scenes/place<seed>_<date>.tif``, and ``truth/`` with the same names.

    Raises:
        ValueError: If a seed is that of the committed place: its score would mean nothing.
    """
    if COMMITTED_SEED in seeds:
        raise ValueError(f"seed {COMMITTED_SEED} is the committed place: train on others, or the score means nothing")
    for folder in ("scenes", "truth"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        place = make_place(seed, size)
        for view in place.views:
            name = f"place{seed}_{view.date}.tif"
            write_scene(out / "scenes" / name, view.pixels, place.transform, view.date)
            write_truth(out / "truth" / name, view.truth, place.transform, view.date)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for scenes/ and truth/")
    write_places(parser.parse_args().out)


if __name__ == "__main__":
    main()
