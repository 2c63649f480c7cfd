"""Make the sample data: ``python -m sample_data.make --seed 7 --out sample_data``."""

import argparse
import os
from pathlib import Path
from typing import Final

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.scene.class_names import names_tag
from sample_data.classes import BANDS, LEGEND
from sample_data.place import CRS, NO_TRUTH, Place, View, make_place, quads
from sample_data.vectors import DRAWN, reference_points, zones

__all__ = ["SEED", "SIZE", "main", "write", "write_scene", "write_truth"]

SEED: Final = 7
SIZE: Final = 1000
"""Of the committed data."""
_WAVELENGTH_NM: Final = {"blue": 490, "green": 560, "red": 665, "nir": 842, "swir16": 1610}
# Tiles of 256: DEFLATE starts anew in each, so smaller ones would grow the files.
_PROFILE: Final = {
    "driver": "GTiff",
    "crs": CRS,
    "tiled": True,
    "blockxsize": 256,
    "blockysize": 256,
    "compress": "deflate",
    "zlevel": 9,
}


def _tag_time(date: str) -> dict[str, str]:
    """When the scene was taken, in TIFF's own spelling and as ISO 8601."""
    year, month, day = date[:4], date[4:6], date[6:]
    return {
        "TIFFTAG_DATETIME": f"{year}:{month}:{day} 10:30:31",
        "ACQUISITION_DATE": f"{year}-{month}-{day}T10:30:31Z",
        "TIFFTAG_IMAGEDESCRIPTION": "geoseg sample data: constructed, not real",
    }


def write_scene(path: Path, pixels: NDArray[np.uint16], transform: Affine, date: str) -> None:
    """A scene: reflectance x 10000 (band, row, col), 0 for no observation; ``date`` is ``YYYYMMDD``."""
    count, height, width = pixels.shape
    profile = {**_PROFILE, "count": count, "height": height, "width": width, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", transform=transform, predictor=2, interleave="band", **profile) as out:
        out.write(pixels)
        out.descriptions = BANDS
        out.scales = (0.0001,) * count
        out.offsets = (0.0,) * count
        out.update_tags(**_tag_time(date))
        for index, band in enumerate(BANDS, start=1):
            out.update_tags(index, wavelength_nm=_WAVELENGTH_NM[band])


def write_truth(path: Path, truth: NDArray[np.uint8], transform: Affine, date: str) -> None:
    """The classes of a scene (row, col), 255 for no observation."""
    height, width = truth.shape
    profile = {**_PROFILE, "count": 1, "height": height, "width": width, "dtype": "uint8", "nodata": NO_TRUTH}
    with rasterio.open(path, "w", transform=transform, photometric="palette", **profile) as out:
        out.write(truth, 1)
        out.descriptions = ("land cover",)
        out.write_colormap(1, {c.value: (*c.rgb, 255) for c in LEGEND} | {NO_TRUTH: (0, 0, 0, 0)})
        out.update_tags(**_tag_time(date), CLASSES=names_tag({c.value: c.name for c in LEGEND}))


def _write_layer(path: Path, layer: str, table: gpd.GeoDataFrame, about: str) -> None:
    path.unlink(missing_ok=True)
    metadata = {"description": about, "origin": "geoseg sample data: constructed, not real"}
    table.to_file(path, layer=layer, driver="GPKG", engine="pyogrio", layer_metadata=metadata)


def _write_view(out: Path, place: Place, view: View, size: int) -> None:
    for name, left in quads(size).items():
        part = (..., slice(0, size), slice(left, left + size))
        transform = place.transform @ Affine.translation(left, 0)
        stem = f"valley_{name}_{view.date}"
        write_scene(out / "scenes" / f"{stem}.tif", view.pixels[part], transform, view.date)
        write_truth(out / "truth" / f"{stem}.tif", view.truth[part], transform, view.date)


def write(out: Path, *, seed: int, size: int) -> None:
    """Write scenes, truth, zones and reference points of a place into a folder."""
    for folder in ("scenes", "truth"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    # GDAL stamps the time of writing into a GeoPackage; a fixed one keeps the file the same from run to run.
    os.environ["OGR_CURRENT_DATE"] = "2024-01-01T00:00:00Z"
    place = make_place(seed, size)
    for view in place.views:
        _write_view(out, place, view, size)
    about = "Districts of the constructed place, around its largest settlements."
    _write_layer(out / "zones.gpkg", "zones", zones(place), about)
    _write_layer(out / "reference_points.gpkg", "reference_points", reference_points(place), DRAWN)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed is another place")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels along a side of a scene")
    parser.add_argument("--out", type=Path, required=True, help="folder for scenes/, truth/ and the two .gpkg")
    options = parser.parse_args()
    write(options.out, seed=options.seed, size=options.size)
    total = sum(path.stat().st_size for path in options.out.rglob("*") if path.suffix in (".tif", ".gpkg"))
    print(f"{options.out}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
