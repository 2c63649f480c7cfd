"""Train `zion-cover` and hold it against simpler ways: ``python -m training.zion_cover DATA --work WORK --out MODEL``.

DATA holds Landsat 8 of Zion National Park and around it, blue, green, red and near infrared as digital numbers of Level
1, cut in three, with NLCD 2011 as labels: two scenes ``train/NAME_image.tif`` and ``train/NAME_label.tif``, another one
in ``val/``. WORK gets the labels in the classes of the model and all that lies between; a training that was killed goes
on from there.

The scenes in ``train/`` train the model, and squares of 128 px of them, held out, choose its epoch and its temperature;
the scene in ``val/`` is met by nothing before it is scored. What is compared are the `training.ways`, which learn from
all pixels of ``train/``, those squares included, and `spectral`, whose classes are called what is nearest to them (see
`RULES`). Thresholds are on bands, their mean and their normalised differences, surroundings are squares of 5, 15 and
45 px. All maps are scored by what `geoseg evaluate` runs; intervals are 95 % bootstrap intervals over square parts of
the one scene, which say nothing of other scenes.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

import geoseg
from geoseg.errors import GeosegError
from geoseg.outputs.model_folder import CARD
from geoseg.train.config import load_training
from geoseg.train.pairs import find_pairs
from geoseg.train.places import CELL, count_cells, split_places
from training.held import OURS, Held, compare, draw
from training.shipping import calibrate, made, ship, trained
from training.table import gains, of_classes, table
from training.ways import NOT_LABELLED, PIXELS, TREES, Classes, Way, simple_ways

__all__ = [
    "CLASSES",
    "RULES",
    "SCORED",
    "SETTINGS",
    "UNITED",
    "by_rules",
    "choosing",
    "held",
    "main",
    "prepare",
    "ways",
]

SETTINGS: Final = Path(__file__).parent / "zion_cover.yaml"
CLASSES: Final = {1: "water", 2: "developed", 3: "barren", 4: "forest", 5: "shrub and grass", 7: "crops and wetlands"}
UNITED: Final = {6: 5, 8: 7}
"""From values of the labels to those of the classes they are part of: herbaceous, and wetlands."""
SCORED: Final = ("developed", "barren", "forest", "shrub and grass")
"""Classes with more than 1000 labelled pixels in ``val/``: of the others, a share would be one of chance."""
RULES: Final = {1: 1, 2: 4, 3: 5, 4: 3, 5: 2, 6: 3, 7: 4, 8: 3}
"""From classes of `spectral` to ours: dense vegetation is forest, sparse is shrub, what has none is barren. Shadow lies
on forest mostly, as all does here."""
_TOA: Final = (0.00002, -0.1)
"""Scale and offset from Level 1 to reflectance at the top of the atmosphere, but for the height of the sun."""
_NAMED: Final = " ".join(f"{value}={name}" for value, name in CLASSES.items())


def prepare(data: Path, work: Path) -> None:
    """Labels in the classes of the model, in ``work/train`` and ``work/val``."""
    table = np.arange(256, dtype=np.uint8)
    table[list(UNITED)] = list(UNITED.values())
    for part in ("train", "val"):
        for file in sorted((data / part).glob("*_label.tif")):
            with rasterio.open(file) as labels:
                _write(made(work / part) / file.name, table[labels.read(1)], labels)


def _write(path: Path, labels: Classes, like: rasterio.DatasetReader) -> None:
    # a training goes on with the very files that it began with
    if path.exists():
        return
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": NOT_LABELLED, "compress": "deflate"}
    profile |= {"height": like.height, "width": like.width, "crs": like.crs, "transform": like.transform}
    with rasterio.open(path, "w", **profile) as file:
        file.write(labels, 1)
        file.update_tags(1, CLASSES=_NAMED)


def images(data: Path, part: str) -> tuple[Path, ...]:
    """The images of ``train/`` or ``val/``."""
    return tuple(sorted((data / part).glob("*_image.tif")))


def choosing(data: Path, work: Path) -> Path:
    """Folder of the labels of ``train/`` in the squares that choose the epoch, without any elsewhere."""
    asked = {"images": [str(i) for i in images(data, "train")], "labels": str(work / "train")}
    spec = load_training(SETTINGS, asked, folder=Path.cwd()).spec
    pairs = find_pairs(spec)
    places = split_places(pairs, [count_cells(p, pairs.legend, spec.ignore) for p in pairs.items], spec.split)
    for pair, held_out in zip(pairs.items, places.held_out, strict=True):
        file = work / "train" / f"{pair.scene.id.replace('_image', '_label')}.tif"
        with rasterio.open(file) as labels:
            apart = held_out.repeat(CELL, axis=0).repeat(CELL, axis=1)[: labels.height, : labels.width]
            _write(made(work / "choose") / file.name, np.where(apart, labels.read(1), np.uint8(NOT_LABELLED)), labels)
    return work / "choose"


def held(data: Path, work: Path) -> Held:
    """The scene of ``val/``, where `prepare` was."""
    return Held(images=images(data, "val"), labels=work / "val")


def ways(data: Path, work: Path, *, pixels: int = PIXELS, trees: int = TREES) -> Iterator[tuple[str, Way]]:
    """The simple ways, taught by ``train/``, and rules; see `training.ways.simple_ways`."""
    yield "spectral, renamed", by_rules(images(data, "val")[0])
    read: list[tuple[NDArray[np.uint16], Classes]] = []
    for image in images(data, "train"):
        with rasterio.open(image) as file, rasterio.open(Held(images=(), labels=work / "train").label_of(image)) as has:
            read.append((file.read(), has.read(1)))
    yield from simple_ways(read, pixels=pixels, trees=trees)


def by_rules(image: Path) -> Way:
    """The map of an image by `spectral`, in the classes that are nearest to its own."""
    table = np.full(256, NOT_LABELLED, np.uint8)
    table[list(RULES)] = list(RULES.values())
    scale, offset = _TOA
    scene = geoseg.open_scene(image, scale=scale, offset=offset)
    mapped = table[geoseg.segment(scene, geoseg.load_model("spectral")).classes.to_numpy()]
    return lambda _pixels: mapped


def main() -> int:
    """Read the command line; 1 if it cannot be trained or scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what lies between")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; one that is there is scored only")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of the scene beside labels and map")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    data, work, out = options.data, options.work, options.out
    try:
        prepare(data, work)
        if not (out / CARD).is_file():
            learnt_from = images(data, "train")
            ship(trained(SETTINGS, learnt_from, work / "train", work / "model", threads=options.threads), out)
            print(f"temperature {calibrate(out, learnt_from, choosing(data, work)):.4f}")
        found = compare(ways(data, work), held(data, work), out, work / "maps")
        names = tuple(CLASSES.values())
        print(table(found, names))
        scored = {name: of_classes(units, [names.index(c) for c in SCORED]) for name, units in found.items()}
        print(f"\nof {', '.join(SCORED)}, from {len(scored[OURS].agreed)} parts:")
        print(table(scored, SCORED))
        for name, gain in gains(scored, OURS).items():
            print(f"mean IoU above {name}: {gain}")
        if options.pictures is not None:
            draw(held(data, work), out, work / "maps", options.pictures, rgb=(3, 2, 1))
    except GeosegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
