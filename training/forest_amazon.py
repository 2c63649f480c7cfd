"""Train `forest-amazon` and hold it against simpler ways: ``python -m training.forest_amazon DATA --out MODEL``.

DATA holds the Amazon Rainforest dataset as GeoTIFFs of 512 px: ``train/NAME_image.tif`` and ``train/NAME_label.tif``
(1 forest, 2 non-forest, 0 no label), and ``val/`` likewise. The training tiles train the model and, three of them held
out, choose its epoch; the tiles in ``val`` are met by nothing before they are scored. What is compared:

- ``majority``: the class that most training pixels have, everywhere.
- ``rule``: forest where one number of a pixel is below a threshold; which of eight numbers (bands, their mean,
  differences and the excess of green), and which threshold, is right most often on the training pixels.
- ``random forest``: 100 trees on the band values of a pixel (scikit-learn), from 200,000 training pixels.
- ``geoseg``: the network, by the engine that `geoseg run` uses, on whole tiles.

Intervals are 95 % bootstrap intervals over the tiles of ``val``: there are five, so they are wide.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

import geoseg
from geoseg.errors import GeosegError
from geoseg.evaluate.scores import Margins
from geoseg.jobs.train import train
from geoseg.train.config import load_training
from geoseg.train.machine import Machine
from training.table import gains, table

__all__ = ["compare", "main"]

SETTINGS: Final = Path(__file__).parent / "forest_amazon.yaml"
_VALUES: Final = (1, 2)
_PIXELS: Final = 200_000
_SEED: Final = 0

Pixels = NDArray[np.float32]
Classes = NDArray[np.uint8]
Way = Callable[[Path, Pixels], Classes]
"""From a tile's file and its pixels (band, row, col) to a class map (row, col)."""


def _tiles(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_image.tif"))


def _read(image: Path) -> tuple[Pixels, Classes]:
    label = image.with_name(image.name.replace("_image", "_label"))
    with rasterio.open(image) as pixels, rasterio.open(label) as classes:
        return pixels.read().astype(np.float32), classes.read(1)


def _numbers(pixels: Pixels) -> Pixels:
    """Eight numbers of each pixel, of which the rule chooses one."""
    red, green, blue = pixels
    return np.stack(
        [red, green, blue, pixels.mean(axis=0), red - green, red - blue, blue - green, red + blue - 2 * green]
    )


def _majority(labels: Classes) -> Way:
    most = np.uint8(np.bincount(labels, minlength=3)[1:].argmax() + 1)
    return lambda _file, pixels: np.full(pixels.shape[1:], most)


def _rule(values: Pixels, labels: Classes) -> tuple[Way, str]:
    """The threshold on one number that is right most often: forest below it."""
    best = (0.0, 0, 0.0)
    numbers = _numbers(values.T[:, :, None])[:, :, 0]
    for i, number in enumerate(numbers):
        for threshold in np.unique(np.quantile(number, np.linspace(0, 1, 257))):
            right = float((np.where(number < threshold, 1, 2) == labels).mean())
            best = max(best, (right, i, float(threshold)))
    _, chosen, threshold = best
    names = ("red", "green", "blue", "mean", "red - green", "red - blue", "blue - green", "red + blue - 2 green")

    def way(_file: Path, pixels: Pixels) -> Classes:
        return np.where(_numbers(pixels)[chosen] < threshold, 1, 2).astype(np.uint8)

    return way, f"{names[chosen]} < {threshold:g}"


def _random_forest(values: Pixels, labels: Classes) -> Way:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(100, min_samples_leaf=10, random_state=_SEED).fit(values, labels)

    def way(_file: Path, pixels: Pixels) -> Classes:
        flat = pixels.reshape(len(pixels), -1).T
        # 8 bit pixels repeat: each colour is asked for once
        colours, which = np.unique(flat, axis=0, return_inverse=True)
        found: Classes = forest.predict(colours).astype(np.uint8)[which.reshape(-1)].reshape(pixels.shape[1:])
        return found

    return way


def _network(folder: Path) -> Way:
    model = geoseg.load_model(folder)

    def way(file: Path, _pixels: Pixels) -> Classes:
        mapped: Classes = geoseg.segment(geoseg.open_scene(file), model).classes.to_numpy()
        return mapped

    return way


def compare(data: Path, model: Path) -> str:
    """The table: each way's accuracy and mean IoU on the tiles of ``val``, with intervals."""
    read = [_read(tile) for tile in _tiles(data / "train")]
    values = np.concatenate([pixels[:, labels > 0].T for pixels, labels in read])
    labels = np.concatenate([labels[labels > 0] for _, labels in read])
    chosen = np.random.default_rng(_SEED).choice(len(labels), min(_PIXELS, len(labels)), replace=False)
    rule, as_words = _rule(values[chosen], labels[chosen])
    ways = {
        "majority": _majority(labels),
        f"rule ({as_words})": rule,
        "random forest": _random_forest(values[chosen], labels[chosen]),
        "geoseg": _network(model),
    }
    held = [(tile, *_read(tile)) for tile in _tiles(data / "val")]
    margins = {}
    for name, way in ways.items():
        counts = [_confusion(truth, way(tile, pixels)) for tile, pixels, truth in held]
        margins[name] = Margins.of(np.stack(counts))
    above = (f"mean IoU above {name}: {gain}" for name, gain in gains(margins, "geoseg").items())
    return "\n".join([table(margins, ("forest", "non-forest")), "", *above])


def _confusion(truth: Classes, mapped: Classes) -> NDArray[np.int64]:
    """Pixels per pair of classes, rows the labels; what has no label is left out."""
    seen = truth > 0
    pairs = (truth[seen].astype(np.int64) - 1) * 2 + (mapped[seen] - 1)
    return np.bincount(pairs, minlength=4).reshape(2, 2)


def main() -> int:
    """Read the command line; 1 if it cannot be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; one that is there is scored only")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    try:
        if not (options.out / "card.yaml").is_file():
            folder = str(options.data / "train")
            train(
                load_training(SETTINGS, {"images": [folder], "labels": folder}, folder=Path.cwd()),
                options.out,
                machine=Machine(threads=options.threads),
                say=print,
                progress=lambda _done, _total, epoch: None if epoch is None else print(epoch, flush=True),
            )
        print(compare(options.data, options.out))
    except GeosegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
