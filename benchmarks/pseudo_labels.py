"""What pseudo-labels gain where labels are few: ``python -m benchmarks.pseudo_labels DATA``.

DATA holds labelled scenes as GeoTIFFs: ``train/NAME_image.tif`` and ``train/NAME_label.tif``, and ``val/`` likewise. Of
the labels of ``train`` few are kept: squares of 5 px at random places, or those of a few scenes. For each seed, which
draws the labels that are kept, the weights and the windows, three models are trained with the same settings:

- ``few``: on the labels that are kept.
- ``pseudo``: on these and on what ``few`` is sure of.
- ``all``: on all labels of ``train``, which is what there would be to gain.

Each maps the scenes of ``val``, which no training meets, by the engine that `geoseg run` uses, and is scored on all of
their labels.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

import geoseg
from geoseg.evaluate.scores import Margins, scores
from geoseg.inference.recipe import Choices
from geoseg.jobs.train import train
from geoseg.scene.class_raster import open_class_raster
from geoseg.train.config import load_training
from geoseg.train.machine import Machine

__all__ = ["main"]

_SIDE = 5
_ASKED: dict[str, Any] = {
    "architecture": {
        "name": "Unet",
        "encoder": "tu-resnet10t",
        "options": {"encoder_depth": 3, "decoder_channels": [32, 16, 16]},
    },
    "window": 96,
    "batch_size": 8,
    "learning_rate": 0.003,
    "augment": {"flip": 0.5, "turn": True, "scale": [0.8, 1.25]},
    "pictures": 0,
}


def _few(data: Path, folder: Path, *, squares: int, scenes: int | None, seed: int) -> int:
    """Write the labels that are kept, and say how many pixels they are."""
    rng = np.random.default_rng(seed)
    labels = sorted((data / "train").glob("*_label.tif"))
    kept = 0
    chosen = labels if scenes is None else [labels[i] for i in rng.choice(len(labels), scenes, replace=False)]
    for label in chosen:
        with rasterio.open(label) as file:
            classes, profile, nodata = file.read(1), file.profile, int(file.nodata)
        if scenes is None:
            classes = np.where(_squares(classes != nodata, squares, rng), classes, nodata).astype(np.uint8)
        kept += int((classes != nodata).sum())
        with rasterio.open(folder / label.name, "w", **profile) as file:
            file.write(classes, 1)
    return kept


def _squares(labelled: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    inside = np.zeros(labelled.shape, np.bool_)
    where = np.argwhere(labelled)
    for row, col in where[rng.choice(len(where), n, replace=False)].tolist():
        inside[max(0, row - _SIDE // 2) : row + _SIDE // 2 + 1, max(0, col - _SIDE // 2) : col + _SIDE // 2 + 1] = True
    return inside


def _score(data: Path, model: Path) -> tuple[float, float]:
    """Mean IoU and accuracy over all pixels of ``val``."""
    loaded = geoseg.load_model(model)
    n = len(loaded.legend)
    index = np.full(256, n, np.int64)
    index[list(loaded.legend.values)] = np.arange(n)
    counts = np.zeros((n + 1, n + 1), np.int64)
    for image in sorted((data / "val").glob("*_image.tif")):
        label = image.with_name(image.name.replace("_image", "_label"))
        truth = index[open_class_raster(str(label)).read(0, 0, *rasterio.open(label).shape)]
        mapped = geoseg.segment(geoseg.open_scene(image), loaded, choices=Choices(threads=1, force=True))
        pairs = truth.ravel() * (n + 1) + index[mapped.classes.to_numpy()].ravel()
        counts += np.bincount(pairs, minlength=(n + 1) ** 2).reshape(n + 1, n + 1)
    found = scores(Margins.of(counts[:n, :n]))
    return float(found.miou), float(found.accuracy)


def _trained(asked: dict[str, Any], output: Path) -> str:
    said: list[str] = []
    done = train(
        load_training(None, asked, folder=Path.cwd()),
        output,
        machine=Machine(threads=1),
        say=said.append,
        progress=lambda *_: None,
    )
    assert not done.was_there
    return next((line for line in said if "are labels, too" in line), "")


def _measured(data: Path, options: argparse.Namespace, seed: int, classes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few").mkdir()
        kept = _few(data, folder / "few", squares=options.squares, scenes=options.scenes, seed=seed)
        asked = _ASKED | {
            "images": [str(p) for p in sorted((data / "train").glob("*_image.tif"))],
            "labels": str(folder / "few"),
            "classes": list(classes),
            "split": {"by": options.split, "val": options.val, "block_px": 128, "seed": seed, "draw": "random"},
            "epochs": options.epochs,
            "batches": options.batches,
            "seed": seed,
        }
        _trained(asked, folder / "of-few")
        found: dict[str, Any] = {"kept": kept, "few": _score(data, folder / "of-few")}
        for confidence in options.confidence:
            first = {"pseudo_labels": str(folder / "of-few"), "pseudo_confidence": confidence}
            said = _trained(asked | first, folder / f"of-{confidence}")
            found[f"pseudo {confidence:g}"] = _score(data, folder / f"of-{confidence}")
            print(f"    {confidence:g}: {said}", flush=True)
        if options.all:
            _trained(asked | {"labels": str(data / "train")}, folder / "of-all")
            found["all"] = _score(data, folder / "of-all")
    return found


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train/ and val/")
    parser.add_argument("--squares", type=int, default=10, help="of 5 px that are kept in each scene")
    parser.add_argument("--scenes", type=int, help="that keep all their labels, while the others lose theirs")
    parser.add_argument("--split", choices=["scene", "block"], default="scene", help="of train, to choose the epoch")
    parser.add_argument("--val", type=float, default=0.2, help="share of it that chooses the epoch")
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.9])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--all", action="store_true", help="also train on all labels")
    options = parser.parse_args()
    labels = sorted((options.data / "train").glob("*_label.tif"))
    found = {c.value: c.name for label in labels for c in open_class_raster(str(label)).legend}
    classes = [{"value": value, "name": name} for value, name in sorted(found.items())]
    rows = []
    for seed in options.seeds:
        rows.append(_measured(options.data, options, seed, classes))
        print(f"seed {seed}, {rows[-1].pop('kept')} px kept (mean IoU, accuracy):", end="", flush=True)
        print("".join(f"  {name} {miou:.4f} {right:.4f}" for name, (miou, right) in rows[-1].items()), flush=True)
    for name in list(rows[0])[1:]:
        gains = [100 * (row[name][0] - row["few"][0]) for row in rows]
        print(
            f"{name} less few, points of mean IoU: mean {statistics.mean(gains):+.1f}, "
            f"{min(gains):+.1f} to {max(gains):+.1f} over {len(gains)} seeds"
        )


if __name__ == "__main__":
    main()
