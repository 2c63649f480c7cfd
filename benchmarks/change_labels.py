"""Change between two class maps against labels: ``python -m benchmarks.change_labels BEFORE AFTER LABELS.tif``.

Labels are a raster on the grid of the first map: 0 where nothing changed, 1 where something did, its nodata value where
nobody looked. Plain differencing and the rules of ``geoseg change``: the percent of labelled pixels that change, and
precision, recall and F1 of change. With ``--to CLASS`` only a change to that class counts (for labels of urban growth).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.windows import Window

import geoseg
from geoseg.change.comparison import Rules
from geoseg.change.detect import Change
from geoseg.errors import GeosegError, ParameterError
from geoseg.scene.class_raster import ClassRaster, open_class_raster
from geoseg.vector.min_area import MinArea

__all__ = ["RULES", "Score", "main", "score_labels"]

RULES: Final[dict[str, tuple[Rules, MinArea | None]]] = {
    "plain differencing": (Rules(), None),
    "--tolerance 1": (Rules(tolerance=1), None),
    "--tolerance 1 --min-area 9px": (Rules(tolerance=1), MinArea(kind="px", amount=9)),
    "--tolerance 1 --align --min-area 9px": (Rules(tolerance=1, align=True), MinArea(kind="px", amount=9)),
}
"""What is compared: by the options of the command line."""

Score = tuple[float, float, float, float]
"""Percent of the labelled pixels that change, precision, recall and F1; NaN where there is nothing to divide by."""


def score_labels(before: Path, after: Path, labels: Path, *, to: Sequence[str] = ()) -> dict[str, Score]:
    """For each rule its score.

    Args:
        before: Class map of the first date.
        after: Of the second.
        labels: Raster on the grid of the first: 0, 1, and nodata.
        to: Classes; only changes to them count. All by default.

    Raises:
        ParameterError: If a class is not in the maps, or the labels lie on another grid than the first map.
        GeosegError: If maps or labels cannot be used.
    """
    rasters = [open_class_raster(path) for path in (before, after)]
    arrays = [_array(raster) for raster in rasters]
    found = {}
    for name, (rules, min_area) in RULES.items():
        change = geoseg.detect_change(
            arrays[0],
            arrays[1],
            legend=rasters[0].legend,
            after_legend=rasters[1].legend,
            rules=rules,
            min_area=min_area,
        )
        found[name] = _score(_changed(change, to), *_labels(labels, change.codes.odc.geobox))
    return found


def _array(raster: ClassRaster) -> Any:
    height, width = (int(n) for n in raster.geobox.shape)
    return wrap_xr(raster.read(0, 0, height, width), raster.geobox, nodata=raster.legend.nodata)


def _changed(change: Change, to: Sequence[str]) -> NDArray[np.float32]:
    """1 where something changed, to one of these classes, 0 where not, NaN where that is not known."""
    names = [n.casefold() for n in change.legend.names]
    unknown = [t for t in to if t.casefold() not in names]
    if unknown:
        raise ParameterError(f"no class {unknown[0]!r} in the maps: choose of {', '.join(change.legend.names)}")
    wanted = [names.index(t.casefold()) for t in to] or list(range(len(names)))
    counts = np.zeros(len(change.change_codes) + 1, dtype=np.float32)
    counts[1:] = np.isin(change.change_codes.pairs[:, 1], wanted)
    codes = change.codes.to_numpy()
    known = codes != change.change_codes.nodata
    return np.where(known, counts[np.where(known, codes, 0)], np.float32("nan"))


def _labels(path: Path, grid: GeoBox) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where labels say that something changed, and where they say anything, on a grid that is a part of theirs."""
    with rasterio.open(path) as dataset:
        corner = ~dataset.transform @ grid.affine
        col, row = round(corner.c), round(corner.f)
        if not corner.almost_equals(type(corner).translation(col, row), precision=0.01):
            raise ParameterError(f"{path} is not on the grid of the first map: give labels on it")
        pixels = dataset.read(1, window=Window(col, row, int(grid.shape[1]), int(grid.shape[0])))
        known = np.ones(pixels.shape, np.bool_) if dataset.nodata is None else pixels != dataset.nodata
    return pixels == 1, known


def _score(changed: NDArray[np.float32], real: NDArray[np.bool_], labelled: NDArray[np.bool_]) -> Score:
    compared = labelled & np.isfinite(changed)
    found, meant = changed[compared] == 1, real[compared]
    right, wrong, missed = int((found & meant).sum()), int((found & ~meant).sum()), int((~found & meant).sum())
    return (
        100 * _share(right + wrong, found.size),
        _share(right, right + wrong),
        _share(right, right + missed),
        _share(2 * right, 2 * right + wrong + missed),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def main() -> int:
    """Score and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="class map of the first date")
    parser.add_argument("after", type=Path, help="class map of the second date")
    parser.add_argument("labels", type=Path, help="raster of labels on the grid of the first: 0, 1 and nodata")
    parser.add_argument("--to", action="append", default=[], help="a class; only changes to it count; several times")
    args = parser.parse_args()
    try:
        found = score_labels(args.before, args.after, args.labels, to=args.to)
    except GeosegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'':38}{'percent':>9}{'precision':>11}{'recall':>8}{'F1':>7}")
    for name, (percent, precision, recall, f1) in found.items():
        print(f"{name:38}{percent:9.1f}{precision:11.2f}{recall:8.2f}{f1:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
