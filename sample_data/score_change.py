"""Score change between the sample scenes against truth: ``python -m sample_data.score_change OUT_FOLDER``.

The folder is that of ``geoseg run --probabilities``. Plain differencing of two class maps against the rules of ``geoseg
change``, by F1 of change (harmonic mean of user's and producer's accuracy of changed pixels). Then a scene against
itself, resampled half a pixel down and to the right: all change there is false.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy import ndimage

import geoseg
from geoseg.change.comparison import Rules
from geoseg.change.detect import Change
from geoseg.change.posterior_rule import PosteriorRule
from geoseg.errors import GeosegError, InputError
from geoseg.vector.min_area import MinArea
from sample_data.classes import LEGEND
from sample_data.score import SCENES, TRUTH

__all__ = ["RULES", "f1", "false_change", "main", "score_change"]

PLACES: Final = ("valley_west", "valley_centre", "valley_east")
DATES: Final = ("20190617", "20230908")
RULES: Final[dict[str, tuple[Rules, MinArea | None]]] = {
    "plain differencing": (Rules(), None),
    "--tolerance 1": (Rules(tolerance=1), None),
    "--tolerance 2": (Rules(tolerance=2), None),
    "--tolerance 1 --min-area 9px": (Rules(tolerance=1), MinArea(kind="px", amount=9)),
    "--tolerance 1 --min-area 25px": (Rules(tolerance=1), MinArea(kind="px", amount=25)),
    "--tolerance 2 --min-area 25px": (Rules(tolerance=2), MinArea(kind="px", amount=25)),
    "--probabilities": (Rules(posterior=PosteriorRule()), None),
    "--probabilities --prior 0.01": (Rules(posterior=PosteriorRule(prior=0.01)), None),
    "--probabilities --prior 0.2": (Rules(posterior=PosteriorRule(prior=0.2)), None),
    "--probabilities --tolerance 1": (Rules(posterior=PosteriorRule(), tolerance=1), None),
    "--probabilities --min-area 25px": (Rules(posterior=PosteriorRule()), MinArea(kind="px", amount=25)),
}
"""What is compared: by the options of the command line."""

Counts = NDArray[np.int64]


def f1(counts: Counts) -> float:
    """From pixels that are rightly changed, wrongly changed, and missed; NaN where there is none of them.

    Example:
        >>> f1(np.array([6, 2, 2]))
        0.75
    """
    right, wrong, missed = counts.tolist()
    return 2 * right / (2 * right + wrong + missed) if right + wrong + missed else float("nan")


def score_change(out: Path, truth: Path = TRUTH) -> dict[str, Counts]:
    """For each rule the pixels that are rightly changed, wrongly changed, and missed, over all places.

    Counted where truth and maps are observed on both dates.

    Raises:
        InputError: If a map is missing.
    """
    totals = {name: np.zeros(3, dtype=np.int64) for name in RULES}
    for place in PLACES:
        known = [_read(truth / f"{place}_{date}.tif") for date in DATES]
        maps = [_map(out / f"{place}_{date}" / f"{place}_{date}_classes.tif") for date in DATES]
        shares = [_shares(out / f"{place}_{date}" / f"{place}_{date}_probabilities.tif") for date in DATES]
        real = known[0] != known[1]
        observed = (known[0] != LEGEND.nodata) & (known[1] != LEGEND.nodata)
        for name, (rules, min_area) in RULES.items():
            change = _change(maps, shares, rules, min_area)
            codes = change.codes.to_numpy()
            compared = observed & (codes != change.change_codes.nodata)
            found, meant = (codes > 0)[compared], real[compared]
            totals[name] += np.array([(found & meant).sum(), (found & ~meant).sum(), (~found & meant).sum()])
    return totals


def false_change(scene: Path, model: str = "landcover-unet") -> dict[str, float]:
    """For each rule the percent of a scene that changes against itself, resampled half a pixel down and right."""
    loaded = geoseg.load_model(model)
    with tempfile.TemporaryDirectory() as folder, rasterio.open(scene) as source:
        profile, pixels, scales = source.profile, source.read(), source.scales
        profile.update(driver="GTiff")
        valid = (pixels != source.nodata).all(axis=0)
        moved = np.stack([ndimage.shift(b.astype(np.float32), 0.5, order=1, mode="nearest") for b in pixels])
        # of a pixel that is resampled from one without an observation nothing is known
        whole = ndimage.shift(valid.astype(np.float32), 0.5, order=1, mode="nearest") > 0.999
        moved = np.where(whole, np.rint(moved), source.nodata).astype(pixels.dtype)
        path = Path(folder) / scene.name
        with rasterio.open(path, "w", **profile) as target:
            target.write(moved)
            target.descriptions, target.scales = source.descriptions, scales
        mapped = [geoseg.segment(geoseg.open_scene(p), loaded, probabilities=True).compute() for p in (scene, path)]
    found = {}
    for name, (rules, min_area) in RULES.items():
        change = _change([m.classes for m in mapped], [m.probabilities for m in mapped], rules, min_area)
        found[name] = 100 * change.counts.n_changed / change.counts.n_compared
    return found


def _change(maps: Sequence[Any], shares: Sequence[Any], rules: Rules, min_area: MinArea | None) -> Change:
    decide = None if rules.posterior is None else (shares[0], shares[1])
    return geoseg.detect_change(maps[0], maps[1], legend=LEGEND, probabilities=decide, rules=rules, min_area=min_area)


def _shares(path: Path) -> Any:
    _check(path)
    with rasterio.open(path) as dataset:
        return xr.DataArray(dataset.read(), dims=("class", "y", "x"), coords={"class": list(dataset.descriptions)})


def _check(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing: map all scenes of {SCENES} with geoseg run --probabilities first")


def _read(path: Path) -> NDArray[np.uint8]:
    _check(path)
    with rasterio.open(path) as dataset:
        pixels: NDArray[np.uint8] = dataset.read(1)
    return pixels


def _map(path: Path) -> Any:
    pixels = _read(path)
    with rasterio.open(path) as dataset:
        geobox = GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())
    return wrap_xr(pixels, geobox, nodata=LEGEND.nodata)


def main() -> int:
    """Read the command line; 1 if the maps cannot be scored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "out", type=Path, help="folder with a folder per scene, as geoseg run --probabilities writes it"
    )
    options = parser.parse_args()
    try:
        totals = score_change(options.out)
        false = false_change(SCENES / f"{PLACES[1]}_{DATES[0]}.tif")
    except GeosegError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'':<32}{'F1':>8}{'right':>10}{'wrong':>10}{'missed':>10}{'half a pixel':>15}")
    for name, counts in totals.items():
        right, wrong, missed = counts.tolist()
        print(f"{name:<32}{f1(counts):>8.3f}{right:>10}{wrong:>10}{missed:>10}{false[name]:>13.3f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
