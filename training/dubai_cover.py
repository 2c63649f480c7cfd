"""Train `dubai-cover` and hold it against simpler ways.

``python -m training.dubai_cover DATA --work WORK --out MODEL``: DATA holds the set "Semantic segmentation of aerial
imagery" (Humans in the Loop), JPEG pictures ``tileT_partNNN.jpg`` with ``tileT_partNNN_label.png``, five tiles in
``train/`` and another one in ``val/``. WORK gets them as GeoTIFFs in a place that is made up (`training.dubai_scenes`)
and all that lies between; a training that was killed goes on from there.

The pictures in ``train/`` train the model, five of them held out choose its epoch; the tile in ``val/`` is met by
nothing before it is scored. One picture of ``train/`` is left out altogether: tile 1 part 1 shows ground that tile 3
part 9 in ``val/`` shows, too, from the same exposure. The network sees pixels of twice the size; ``val/`` stays as it
is, and the engine averages its pixels as it does for any scene of another pixel size than the model's.

What is compared, on the pixels that the network sees:

- ``majority``: the class that most training pixels have, everywhere.
- ``thresholds``: 15 thresholds on eight numbers of a pixel's colour (a tree of 16 leaves).
- ``random forest``: 200 trees on the band values of a pixel.
- ``forest, surroundings``: 200 trees on these and the means and standard deviations of each band in squares of 5, 15
  and 45 px around it.

The last three learn from 200,000 pixels drawn from all pictures that the network has, those that choose its epoch
included, once as they come and once ``balanced``, weighted so that all classes count alike. All maps are scored by what
`geoseg evaluate` runs, on all labels. Intervals are 95 % bootstrap intervals over the nine pictures of ``val/``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from geoseg.errors import GeosegError
from geoseg.evaluate.scores import Margins
from geoseg.jobs.cluster import connect
from geoseg.jobs.evaluate_model import LabelledScenes, evaluate_model, temperature_of
from geoseg.jobs.evaluate_model import write_card as write_calibrated
from geoseg.jobs.train import train
from geoseg.models.card import card_from_yaml
from geoseg.models.load import load_model
from geoseg.models.weights import check_weights, read_weights
from geoseg.outputs.model_folder import CARD, WEIGHTS, write_card, write_weights
from geoseg.train.config import load_training
from geoseg.train.machine import Machine
from training.dubai_scenes import CLASSES, NOT_LABELLED, Picture, averaged, most, pictures, scenes, write_classes
from training.table import gains, margins_of, scored, table

__all__ = [
    "COARSER",
    "SETTINGS",
    "SHARES_GROUND",
    "calibrate",
    "compare",
    "draw",
    "main",
    "prepare",
    "ship",
    "simple_ways",
    "train_model",
]

SETTINGS: Final = Path(__file__).parent / "dubai_cover.yaml"
SHARES_GROUND: Final = ("tile1_part001",)
"""Pictures of ``train/`` that show ground of ``val/``."""
COARSER: Final = 2
"""Pixels of a picture along one of the network's."""
_PIXELS: Final = 200_000
_TREES: Final = 200
_LEAVES: Final = 16
_SIDES: Final = (5, 15, 45)
_AT_ONCE: Final = 1 << 17
_SEED: Final = 0

Floats = NDArray[np.float32]
Classes = NDArray[np.uint8]
Way = Callable[[Floats], Classes]
"""From a picture's bands (band, row, col) to a class map (row, col)."""
Numbers = Callable[[Floats], Floats]
"""From a picture's bands (band, row, col) to numbers of each pixel (number, row, col)."""


def prepare(data: Path, work: Path) -> None:
    """Pictures as scenes, to train on in ``work/train`` and to score in ``work/val``, where they are not there yet."""
    for part, coarser in (("train", COARSER), ("val", 1)):
        # a training goes on with the very files that it began with
        if not (work / part).is_dir():
            with tempfile.TemporaryDirectory(dir=_made(work)) as aside:
                scenes(_chosen(data / part), Path(aside) / part, coarser=coarser)
                (Path(aside) / part).rename(work / part)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _chosen(folder: Path) -> list[Picture]:
    return [p for p in pictures(folder) if p.name not in SHARES_GROUND]


def train_model(work: Path, *, threads: int) -> Path:
    """The folder of the trained model, trained if it is not there."""
    asked = {
        "images": [str((work / "train" / "images").resolve())],
        "labels": str((work / "train" / "labels").resolve()),
    }
    return train(
        load_training(SETTINGS, asked, folder=Path.cwd()),
        work / "model",
        machine=Machine(threads=threads),
        say=print,
        progress=lambda _done, _total, epoch: None if epoch is None else print(epoch, flush=True),
    ).folder


def ship(trained: Path, out: Path) -> None:
    """The model with its weights in half precision, which takes half the room; they are computed with as ever."""
    weights = trained / WEIGHTS
    tensors = read_weights(weights, sha256=check_weights(weights))
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    written = write_weights(halves, _made(out) / WEIGHTS)
    write_card(card_from_yaml(trained / CARD).model_copy(update={"weights_sha256": written.sha256}), out / CARD)


def calibrate(data: Path, work: Path, out: Path) -> float:
    """Write the temperature into the card that makes confidence right on the pictures that chose the epoch."""
    validation = load_training(SETTINGS, {}, folder=Path.cwd()).spec.split.val
    assert isinstance(validation, tuple)
    if not (work / "choose").is_dir():
        with tempfile.TemporaryDirectory(dir=_made(work)) as aside:
            scenes([p for p in pictures(data / "train") if p.name in validation], Path(aside) / "choose")
            (Path(aside) / "choose").rename(work / "choose")
    model = load_model(out)
    tried = LabelledScenes(
        model=model,
        rasters=tuple(str(file) for file in sorted((work / "choose" / "images").glob("*.tif"))),
        labels=str(work / "choose" / "labels"),
    )
    fitted = temperature_of(tried, listen=lambda _: None)
    write_calibrated(model, fitted, out / CARD)
    return fitted.value


def _colours(pixels: Floats) -> Floats:
    """Eight numbers of each pixel's colour: bands, their mean, differences, and the excess of green."""
    red, green, blue = pixels
    return np.stack(
        [red, green, blue, pixels.mean(axis=0), red - green, red - blue, blue - green, 2 * green - red - blue]
    )


def _surroundings(pixels: Floats) -> Floats:
    """Bands, and their mean and standard deviation in squares around each pixel."""
    found = [pixels]
    for side in _SIDES:
        mean = uniform_filter(pixels, size=(0, side, side), mode="reflect")
        square = uniform_filter(pixels * pixels, size=(0, side, side), mode="reflect")
        found += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return np.concatenate(found)


def simple_ways(
    read: list[tuple[Classes, Classes]], *, pixels: int = _PIXELS, trees: int = _TREES
) -> Iterator[tuple[str, Way]]:
    """Each way by its name, one after the other: they are large.

    Args:
        read: Bands (band, row, col) and labels (row, col) of the pictures of training.
        pixels: At most so many of them are learnt from.
        trees: Of a forest.
    """
    known = np.concatenate([labels[labels != NOT_LABELLED] for _, labels in read])
    most_often = np.uint8(np.bincount(known).argmax())
    yield "majority", lambda pixels: np.full(pixels.shape[1:], most_often)

    rng = np.random.default_rng(_SEED)
    drawn = np.sort(rng.choice(len(known), min(pixels, len(known)), replace=False))
    for name, numbers in (
        ("thresholds", _colours),
        ("random forest", np.asarray),
        ("forest, surroundings", _surroundings),
    ):
        values = _drawn(read, numbers, drawn)
        for weight, said in ((None, ""), ("balanced", ", balanced")):
            learner = _tree(weight) if numbers is _colours else _forest(trees, weight)
            yield name + said, _by_pixel(learner.fit(values, known[drawn]), numbers)


def _drawn(read: list[tuple[Classes, Classes]], numbers: Numbers, drawn: NDArray[np.int64]) -> Floats:
    """Numbers (pixel, number) of some of the labelled pixels of all pictures, which are counted through."""
    found, first = [], 0
    for pixels, labels in read:
        known = labels != NOT_LABELLED
        mine = drawn[slice(*np.searchsorted(drawn, [first, first + known.sum()]))] - first
        found.append(numbers(pixels.astype(np.float32))[:, known].T[mine])
        first += int(known.sum())
    return np.concatenate(found)


def _tree(weight: str | None) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=_LEAVES, class_weight=weight, random_state=_SEED)


def _forest(trees: int, weight: str | None) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, min_samples_leaf=5, class_weight=weight, random_state=_SEED)


def _by_pixel(fitted: Any, numbers: Numbers) -> Way:
    def way(pixels: Floats) -> Classes:
        flat = numbers(pixels).reshape(-1, pixels.shape[1] * pixels.shape[2]).T
        parts = [fitted.predict(flat[i : i + _AT_ONCE]) for i in range(0, len(flat), _AT_ONCE)]
        found: Classes = np.concatenate(parts).astype(np.uint8).reshape(pixels.shape[1:])
        return found

    return way


def compare(data: Path, work: Path, model: Path, *, pixels: int = _PIXELS, trees: int = _TREES) -> dict[str, Margins]:
    """The margins (picture, class) of each way on the pictures of ``val/``; their maps stay in ``work/maps``.

    Args:
        data: The set.
        work: Where `prepare` was.
        model: Folder of the model.
        pixels: See `simple_ways`.
        trees: See `simple_ways`.
    """
    labels = work / "val" / "labels"
    read = []
    for picture in _chosen(data / "train"):
        bands, classes = picture.read()
        read.append((averaged(bands, COARSER), most(classes, COARSER)))
    held = pictures(data / "val")
    found = {}
    for name, way in simple_ways(read, pixels=pixels, trees=trees):
        print(f"mapping by {name}", flush=True)
        folder = _made(work / "maps" / name.replace(", ", "-").replace(" ", "-"))
        for picture in held:
            mapped = way(averaged(picture.read()[0], COARSER).astype(np.float32))
            write_classes(folder / f"{picture.name}.tif", picture, mapped, coarser=COARSER)
        found[name] = margins_of(scored(folder, labels))
    tried = LabelledScenes(
        model=load_model(model),
        rasters=tuple(str(work / "val" / "images" / f"{p.name}.tif") for p in held),
        labels=str(labels),
    )
    with connect() as pool:
        result = evaluate_model(tried, pool=pool, maps=work / "maps" / "geoseg", output=None, listen=lambda _: None)
    found["geoseg"] = margins_of(result.evaluation)
    known = result.evaluation.reliability
    if known is not None:
        print(f"confidence: expected calibration error {known.ece:.3f}, too high by {known.overconfidence:.3f}")
    return found


def picture_of(picture: Picture, mapped: Classes, colours: NDArray[np.uint8]) -> Image.Image:
    """Picture, labels and map side by side; what has no label is white.

    Args:
        picture: Of the set.
        mapped: Class numbers (row, col), of the picture's size or coarser.
        colours: (256, 3) of the class numbers.
    """
    pixels, labels = picture.read()
    size = labels.shape[::-1]
    parts = [
        Image.fromarray(pixels.transpose(1, 2, 0)),
        Image.fromarray(colours[labels]),
        Image.fromarray(colours[mapped]).resize(size, Image.Resampling.NEAREST),
    ]
    beside = Image.new("RGB", (3 * size[0] + 8, size[1]), "white")
    for i, part in enumerate(parts):
        beside.paste(part, (i * (size[0] + 4), 0))
    return beside


def draw(data: Path, work: Path, model: Path, folder: Path) -> None:
    """A picture of each scene of ``val/`` in a folder: image, labels, and what the network says."""
    colours = np.full((256, 3), 255, np.uint8)
    for c in card_from_yaml(model / CARD).legend:
        colours[c.value] = c.rgb
    for picture in pictures(data / "val"):
        with rasterio.open(work / "maps" / "geoseg" / picture.name / f"{picture.name}_classes.tif") as file:
            picture_of(picture, file.read(1), colours).save(_made(folder) / f"{picture.name}.png")


def main() -> int:
    """Read the command line; 1 if it cannot be trained or scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what lies between")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; one that is there is scored only")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the scenes beside labels and maps")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    try:
        prepare(options.data, options.work)
        if not (options.out / CARD).is_file():
            ship(train_model(options.work, threads=options.threads), options.out)
            print(f"temperature {calibrate(options.data, options.work, options.out):.4f}")
        ways = compare(options.data, options.work, options.out)
        print(table(ways, CLASSES))
        for name, gain in gains(ways, "geoseg").items():
            print(f"mean IoU above {name}: {gain}")
        if options.pictures is not None:
            draw(options.data, options.work, options.out, options.pictures)
    except GeosegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
