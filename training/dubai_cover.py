"""Train `dubai-cover` and hold it against simpler ways.

``python -m training.dubai_cover DATA --work WORK --out MODEL``: DATA holds the set "Semantic segmentation of aerial
imagery" (Humans in the Loop), JPEG pictures ``tileT_partNNN.jpg`` with ``tileT_partNNN_label.png``, five tiles in
``train/`` and another one in ``val/``. WORK gets them as GeoTIFFs in a place that is made up (`training.dubai_scenes`)
and all that lies between; a training that was killed goes on from there.

The pictures in ``train/`` train the model, five of them held out choose its epoch; the tile in ``val/`` is met by
nothing before it is scored. One picture of ``train/`` is left out altogether: tile 1 part 1 shows ground that tile 3
part 9 in ``val/`` shows, too, from the same exposure. The network sees pixels of twice the size; ``val/`` stays as it
is, and the engine averages its pixels as it does for any scene of another pixel size than the model's.

What is compared, on the pixels that the network sees, are the `training.ways`, thresholds being on eight numbers of a
pixel's colour and surroundings squares of 5, 15 and 45 px. They learn from pixels drawn from all pictures that the
network has, those that choose its epoch included. All maps are scored by what `geoseg evaluate` runs, on all labels.
Intervals are 95 % bootstrap intervals over the nine pictures of ``val/``.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.errors import GeosegError
from geoseg.evaluate.scores import Margins
from geoseg.outputs.model_folder import CARD
from geoseg.train.config import load_training
from training.cells import averaged, most
from training.dubai_scenes import CLASSES, Picture, pictures, scenes
from training.held import OURS, Held, compare, draw
from training.shipping import calibrate, made, ship, trained
from training.table import gains, table
from training.ways import PIXELS, TREES, Classes, Floats, Way, simple_ways

__all__ = ["COARSER", "SETTINGS", "SHARES_GROUND", "choosing", "colours", "held", "main", "prepare", "ways"]

SETTINGS: Final = Path(__file__).parent / "dubai_cover.yaml"
SHARES_GROUND: Final = ("tile1_part001",)
"""Pictures of ``train/`` that show ground of ``val/``."""
COARSER: Final = 2
"""Pixels of a picture along one of the network's."""


def prepare(data: Path, work: Path) -> None:
    """Pictures as scenes, to train on in ``work/train`` and to score in ``work/val``, where they are not there yet."""
    for part, coarser in (("train", COARSER), ("val", 1)):
        # a training goes on with the very files that it began with
        if not (work / part).is_dir():
            with tempfile.TemporaryDirectory(dir=made(work)) as aside:
                scenes(_chosen(data / part), Path(aside) / part, coarser=coarser)
                (Path(aside) / part).rename(work / part)


def _chosen(folder: Path) -> list[Picture]:
    return [p for p in pictures(folder) if p.name not in SHARES_GROUND]


def choosing(data: Path, work: Path) -> Path:
    """The pictures that choose the epoch as scenes of full size, in ``work/choose``."""
    validation = load_training(SETTINGS, {}, folder=Path.cwd()).spec.split.val
    assert isinstance(validation, tuple)
    if not (work / "choose").is_dir():
        with tempfile.TemporaryDirectory(dir=made(work)) as aside:
            scenes([p for p in pictures(data / "train") if p.name in validation], Path(aside) / "choose")
            (Path(aside) / "choose").rename(work / "choose")
    return work / "choose"


def colours(pixels: Floats) -> Floats:
    """Eight numbers of each pixel's colour: bands, their mean, differences, and the excess of green."""
    red, green, blue = pixels
    return np.stack(
        [red, green, blue, pixels.mean(axis=0), red - green, red - blue, blue - green, 2 * green - red - blue]
    )


def ways(data: Path, *, pixels: int = PIXELS, trees: int = TREES) -> Iterator[tuple[str, Way]]:
    """The simple ways, taught by the pictures of ``train/``; see `training.ways.simple_ways`."""
    read: list[tuple[Classes, Classes]] = []
    for picture in _chosen(data / "train"):
        bands, classes = picture.read()
        read.append((averaged(bands, COARSER), most(classes, COARSER)))
    return simple_ways(read, thresholds_on=colours, pixels=pixels, trees=trees)


def held(work: Path) -> Held:
    """The pictures of ``val/``, where `prepare` was."""
    images = tuple(sorted((work / "val" / "images").glob("*.tif")))
    return Held(images=images, labels=work / "val" / "labels", coarser=COARSER)


def main() -> int:
    """Read the command line; 1 if it cannot be trained or scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what lies between")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; one that is there is scored only")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the scenes beside labels and maps")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    data, work, out = options.data, options.work, options.out
    try:
        prepare(data, work)
        if not (out / CARD).is_file():
            images, labels = work / "train" / "images", work / "train" / "labels"
            ship(trained(SETTINGS, [images], labels, work / "model", threads=options.threads), out)
            chose = choosing(data, work)
            print(f"temperature {calibrate(out, sorted((chose / 'images').glob('*.tif')), chose / 'labels'):.4f}")
        found: dict[str, Margins] = compare(ways(data), held(work), out, work / "maps")
        print(table(found, CLASSES))
        for name, gain in gains(found, OURS).items():
            print(f"mean IoU above {name}: {gain}")
        if options.pictures is not None:
            draw(held(work), out, work / "maps", options.pictures)
    except GeosegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
