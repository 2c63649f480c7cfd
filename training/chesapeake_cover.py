"""Train `chesapeake-cover` and hold it against simpler ways.

``python -m training.chesapeake_cover DATA --work WORK --out MODEL``: DATA holds patches of the Chesapeake land cover
dataset on NAIP imagery, as GeoTIFFs ``NAME_image.tif`` with ``NAME_label.tif``: eight of one quadrangle in ``train/``,
three of another one in ``val/``. WORK gets them as scenes in a place that is made up (`training.chesapeake_scenes`) and
all that lies between; a training that was killed goes on from there.

The patches in ``train/`` train the model. One of them, which is all forest, and the lower half of another one choose
its epoch: only that one has impervious ground worth the name, so that its upper half has to train. What lies in
``val/`` is met by nothing before it is scored.

Labels call much leafless wood low vegetation, where the National Land Cover Database has forest. Such labels are left
out of the training, not of what chooses or is scored.

What is compared are the `training.ways`. They learn from pixels of all eight patches, those that choose the epoch
included, once with all labels and once with those that the network has (``undisputed``). All maps are scored on all
labels. Intervals are 95 % bootstrap intervals over blocks of 64 x 64 px of the three patches, which are too narrow:
three places are no sample of a landscape.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from geoseg.errors import GeosegError
from geoseg.evaluate.scores import Margins
from geoseg.outputs.model_folder import CARD
from geoseg.train.config import load_training
from training.blocks import in_blocks
from training.chesapeake_scenes import CLASSES, patches, scenes
from training.held import OURS, Held, compare, draw
from training.shipping import calibrate, made, ship, trained
from training.table import gains, table
from training.ways import Way, simple_ways

__all__ = ["BLOCK_PX", "CUT", "PIXELS", "SETTINGS", "TREES", "blocks", "choosing", "held", "main", "prepare", "ways"]

SETTINGS: Final = Path(__file__).parent / "chesapeake_cover.yaml"
CUT: Final = ("m_3708020_sw_17_0",)
"""Patches of ``train/`` of which one half trains and the other one chooses."""
BLOCK_PX: Final = 64
PIXELS: Final = 100_000
"""That a simple way learns from, of some 520,000."""
TREES: Final = 100
"""Of a forest."""


def prepare(data: Path, work: Path) -> None:
    """Patches as scenes, to train on in ``work/train`` and to score in ``work/val``, where they are not there yet."""
    for part in ("train", "val"):
        # a training goes on with the very files that it began with
        if not (work / part).is_dir():
            with tempfile.TemporaryDirectory(dir=made(work)) as aside:
                # what chooses and what is scored has all its labels
                whole = (lambda _: True) if part == "val" else _chooses
                scenes(patches(data / part, cut=CUT), Path(aside) / part, disputed=whole)
                (Path(aside) / part).rename(work / part)


def _chooses(name: str) -> bool:
    return name in _choosing()


def _choosing() -> tuple[str, ...]:
    names = load_training(SETTINGS, {}, folder=Path.cwd()).spec.split.val
    assert isinstance(names, tuple)
    return names


def choosing(work: Path) -> list[Path]:
    """The images that choose the epoch, where `prepare` was."""
    return [work / "train" / "images" / f"{name}.tif" for name in _choosing()]


def ways(data: Path, *, pixels: int = PIXELS, trees: int = TREES) -> Iterator[tuple[str, Way]]:
    """The simple ways, taught by the patches of ``train/``; see `training.ways.simple_ways`."""
    for disputed, said in ((True, ""), (False, ", undisputed")):
        read = [patch.read(disputed=disputed) for patch in patches(data / "train")]
        for name, way in simple_ways(read, pixels=pixels, trees=trees):
            if disputed or name != "majority":  # of both it is the same
                yield name + said, way


def held(work: Path) -> Held:
    """The patches of ``val/``, where `prepare` was."""
    return Held(images=tuple(sorted((work / "val" / "images").glob("*.tif"))), labels=work / "val" / "labels")


def blocks(names: Mapping[str, Margins], work: Path) -> dict[str, Margins]:
    """The margins (block, class) of the maps of each way that `compare` left in ``work/maps``."""
    found, scored = {}, held(work)
    for name in names:
        folder = work / "maps" / name.replace(", ", "-").replace(" ", "-")
        pairs = []
        for image in scored.images:
            ours = folder / image.stem / f"{image.stem}_classes.tif"
            pairs.append((ours if name == OURS else folder / image.name, scored.label_of(image)))
        found[name] = in_blocks(pairs, tuple(CLASSES), side=BLOCK_PX)
    return found


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
            print(f"temperature {calibrate(out, choosing(work), labels):.4f}")
        found = blocks(compare(ways(data), held(work), out, work / "maps"), work)
        print(table(found, tuple(CLASSES.values())))
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
