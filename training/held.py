"""Scenes that were held out, mapped by a network and by simpler ways: maps are scored alike, and can be looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from geoseg.evaluate.scores import Margins
from geoseg.jobs.cluster import connect
from geoseg.jobs.evaluate_model import LabelledScenes, evaluate_model
from geoseg.legend import Legend
from geoseg.models.load import load_model
from training.cells import averaged
from training.shipping import made
from training.table import margins_of, scored
from training.ways import NOT_LABELLED, Way

__all__ = ["OURS", "Held", "beside", "compare", "draw", "stretched"]

OURS = "geoseg"
"""What the network is called among the ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Scenes that neither training nor the choice of an epoch has met."""

    images: tuple[Path, ...]
    """GeoTIFFs, all bands of which are the model's."""
    labels: Path
    """Folder of label rasters: ``NAME.tif`` of an image ``NAME.tif``, ``NAME_label.tif`` of ``NAME_image.tif``."""
    coarser: int = 1
    """So many pixels along a side are one that a way sees; the network's engine sees to its own."""

    def label_of(self, image: Path) -> Path:
        """The label raster of an image."""
        return self.labels / image.name.replace("_image", "_label")


def compare(ways: Iterable[tuple[str, Way]], held: Held, model: Path, maps: Path) -> dict[str, Margins]:
    """The margins (unit, class) of each way, and of the network at last, by what `geoseg evaluate` runs.

    Units are scenes or, of a single one, the parts from which `geoseg evaluate` draws its intervals.

    Args:
        ways: See `training.ways.simple_ways`.
        held: What is mapped.
        model: Folder of the model; its class values are those of the labels.
        maps: Folder of the maps, one in it for each way.
    """
    loaded = load_model(model)
    found = {}
    for name, way in ways:
        print(f"mapping by {name}", flush=True)
        folder = made(maps / name.replace(", ", "-").replace(" ", "-"))
        for image in held.images:
            _map(image, way, folder / image.name, held.coarser, loaded.card.legend)
        found[name] = margins_of(scored(folder, held.labels), loaded.card.legend.names)
    tried = LabelledScenes(model=loaded, rasters=tuple(str(i) for i in held.images), labels=str(held.labels))
    with connect() as pool:
        result = evaluate_model(tried, pool=pool, maps=maps / OURS, output=None, listen=lambda _: None)
    found[OURS] = margins_of(result.evaluation, loaded.card.legend.names)
    known = result.evaluation.reliability
    if known is not None:
        print(f"confidence: expected calibration error {known.ece:.3f}, too high by {known.overconfidence:.3f}")
    return found


def _map(image: Path, way: Way, path: Path, coarser: int, legend: Legend) -> None:
    """The map of an image by a way, as a GeoTIFF with the names of the classes."""
    with rasterio.open(image) as file:
        pixels, crs = averaged(file.read(), coarser), file.crs
        transform = file.transform @ Affine.scale(coarser)
    rows, cols = pixels.shape[1:]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint8",
        count=1,
        height=rows,
        width=cols,
        crs=crs,
        transform=transform,
        nodata=NOT_LABELLED,
        compress="deflate",
    ) as file:
        file.write(way(pixels.astype(np.float32)), 1)
        file.update_tags(1, CLASSES=" ".join(f"{c.value}={c.name}" for c in legend))


def draw(held: Held, model: Path, maps: Path, folder: Path, *, rgb: Sequence[int] = (1, 2, 3)) -> None:
    """A picture of each scene in a folder: image, labels, and what the network says in the maps of `compare`.

    Args:
        held: What was mapped.
        model: Folder of the model.
        maps: As for `compare`.
        folder: Of the pictures, ``NAME.png``.
        rgb: Bands that are shown as red, green and blue, from 1.
    """
    colours = np.full((256, 3), 255, np.uint8)
    for c in load_model(model).card.legend:
        colours[c.value] = c.rgb
    for image in held.images:
        with rasterio.open(image) as file:
            shown = stretched(file.read(list(rgb)))
        with rasterio.open(held.label_of(image)) as file:
            labels = file.read(1)
        with rasterio.open(maps / OURS / image.stem / f"{image.stem}_classes.tif") as file:
            beside(shown, colours[labels], colours[file.read(1)]).save(made(folder) / f"{image.stem}.png")


def stretched(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Three bands (3, row, col) as a picture (row, col, 3): bytes as they are, other numbers from quantiles."""
    if pixels.dtype != np.uint8:
        low, high = np.quantile(pixels, (0.01, 0.99), axis=(1, 2), keepdims=True)
        pixels = np.clip((pixels - low) / np.maximum(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def beside(first: NDArray[np.uint8], *others: NDArray[np.uint8]) -> Image.Image:
    """Pictures (row, col, 3) side by side, the others in the size of the first."""
    rows, cols = first.shape[:2]
    whole = Image.new("RGB", ((len(others) + 1) * (cols + 4) - 4, rows), "white")
    for i, part in enumerate((first, *others)):
        whole.paste(Image.fromarray(part).resize((cols, rows), Image.Resampling.NEAREST), (i * (cols + 4), 0))
    return whole
