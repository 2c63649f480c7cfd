"""The contenders of the vectorization benchmark. Each runs alone: ``python -m benchmarks.vectorize_contenders``.

A contender prints ``ready`` when everything is imported and compiled, waits for a line on stdin, works, prints its
seconds, and then, with the clock and the memory meter stopped, what came of it: polygons, validity, areas, as JSON.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from benchmarks.masks import CRS, KINDS, N_CLASSES, NODATA, TRANSFORM, make_mask

__all__ = ["FRAME", "TO_FILE", "main"]

_LAYER = "landcover"
_COMMAND = sys.executable, "-c", "from geoseg.cli.main import main; main()", "vectorize"


class NotHereError(Exception):
    """A contender that is not installed."""


def _pixels(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as dataset:
        classes: NDArray[np.uint8] = dataset.read(1)
    return classes


def _data_array(path: Path) -> Any:
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    classes = _pixels(path)
    return wrap_xr(classes, GeoBox(classes.shape, TRANSFORM, CRS), nodata=NODATA)


def geoseg_frame(mask: Path) -> Callable[[Path], Any]:
    """``geoseg.vectorize``: true areas and geodesic perimeters included, which no other contender has."""
    import geoseg

    array = _data_array(mask)
    return lambda _: geoseg.vectorize(array)


def rasterio_frame(mask: Path) -> Callable[[Path], Any]:
    """What everyone writes: ``rasterio.features.shapes``, a shape each, a GeoDataFrame."""
    import geopandas as gpd
    from rasterio.features import shapes
    from shapely.geometry import shape

    classes = _pixels(mask)

    def work(_: Path) -> Any:
        found = list(shapes(classes, mask=classes != NODATA, transform=TRANSFORM))
        return gpd.GeoDataFrame(
            {"class_id": [int(value) for _, value in found]},
            geometry=[shape(geometry) for geometry, _ in found],
            crs=CRS,
        )

    return work


def opencv_frame(mask: Path) -> Callable[[Path], Any]:
    """OpenCV's contours class by class, shells with holes; they run through pixel centres, so areas are smaller."""
    try:
        import cv2
    except ImportError as error:
        raise NotHereError("opencv is not installed") from error
    import geopandas as gpd
    import shapely

    classes = _pixels(mask)

    def work(_: Path) -> Any:
        geometry, class_id = [], []
        for value in range(1, N_CLASSES + 1):
            rings, tree = cv2.findContours((classes == value).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            steps, corner = (TRANSFORM.a, TRANSFORM.e), (TRANSFORM.c, TRANSFORM.f)
            corners = [corner + (r[:, 0] + 0.5) * steps for r in rings]
            for i, (_, _, hole, parent) in enumerate(tree[0] if rings else ()):
                if parent >= 0 or len(corners[i]) < 3:  # a hole, or a speck that is a point or a line
                    continue
                holes = []
                while hole >= 0:
                    holes += [corners[hole]] if len(corners[hole]) >= 3 else []
                    hole = tree[0][hole][0]
                geometry.append(shapely.Polygon(corners[i], holes))
                class_id.append(value)
        return gpd.GeoDataFrame({"class_id": class_id}, geometry=geometry, crs=CRS)

    return work


def xrspatial_frame(mask: Path) -> Callable[[Path], Any]:
    """xarray-spatial's polygonize, compiled by numba as geoseg's is."""
    try:
        from xrspatial.experimental import polygonize
    except ImportError:
        try:
            from xrspatial import polygonize
        except ImportError as error:
            raise NotHereError("xarray-spatial is not installed") from error

    array = _data_array(mask)
    affine = np.asarray(TRANSFORM[:6])

    def work(_: Path) -> Any:
        frame = polygonize(array, transform=affine, column_name="class_id", return_type="geopandas")
        return frame.set_crs(CRS, allow_override=True)

    return work


def limit_file(mask: Path) -> Callable[[Path], Any]:
    """What cannot be avoided: read the mask once, write the same polygons once with pyogrio and Arrow.

    The polygons were made by another process: this one, as geoseg's, has not yet had memory for as many.
    """
    import geopandas as gpd

    polygons = mask.with_suffix(".parquet")
    subprocess.run([*_COMMAND, str(mask), "-o", str(polygons), "--overwrite", "-q"], check=True)
    frame = gpd.read_parquet(polygons)

    def work(output: Path) -> None:
        _pixels(mask)
        frame.to_file(output, layer=_LAYER, engine="pyogrio", use_arrow=True)

    return work


def geoseg_file(mask: Path) -> Callable[[Path], Any]:
    """What ``geoseg vectorize`` does, as a function in this process: styled, read back and compared."""
    from geoseg.jobs.vectorize import HELD_PX, vectorize_raster
    from geoseg.scene.class_raster import open_class_raster
    from geoseg.vector.vectorizer import Outlines

    def work(output: Path) -> None:
        vectorize_raster(open_class_raster(mask, hold_px=HELD_PX), (output,), outlines=Outlines())

    return work


def geoseg_command(mask: Path) -> Callable[[Path], Any]:
    """``geoseg vectorize`` as a command of its own, its start included."""

    def work(output: Path) -> None:
        subprocess.run([*_COMMAND, str(mask), "-o", str(output), "--overwrite"], check=True, capture_output=True)

    return work


def gdal_file(mask: Path) -> Callable[[Path], Any]:
    """``gdal_polygonize.py`` of the system's GDAL to a GeoPackage, its start included."""
    program = shutil.which("gdal_polygonize.py") or shutil.which("gdal_polygonize")
    if program is None:
        raise NotHereError("gdal_polygonize is not installed (Debian: gdal-bin)")

    def work(output: Path) -> None:
        subprocess.run([program, "-q", str(mask), "-f", "GPKG", str(output), _LAYER, "class_id"], check=True)

    return work


Maker = Callable[[Path], Callable[[Path], Any]]
FRAME: dict[str, Maker] = {
    "rasterio": rasterio_frame,
    "geoseg": geoseg_frame,
    "opencv": opencv_frame,
    "xrspatial": xrspatial_frame,
}
"""To a GeoDataFrame in memory; the first is what the others are measured by."""
TO_FILE: dict[str, Maker] = {
    "limit": limit_file,
    "geoseg-gpkg": geoseg_file,
    "geoseg-command": geoseg_command,
    "gdal": gdal_file,
}
"""From file to GeoPackage; the first is what the others are measured by."""


def stream(kind: str, side: int, output: Path) -> int:
    """Vectorize a mask that is never whole, in memory or on disk, into FlatGeobuf or GeoParquet; its polygons."""
    from concurrent.futures import ThreadPoolExecutor

    import pyogrio
    from odc.geo.geobox import GeoBox

    from geoseg.area.pixel_area import PixelAreas
    from geoseg.inference.lattice import Block
    from geoseg.legend import Legend
    from geoseg.outputs.vectors import write_polygons
    from geoseg.vector.measure import Pixels
    from geoseg.vector.vectorizer import Vectorizer, blocks_over

    mask, geobox = KINDS[kind], GeoBox((side, side), TRANSFORM, CRS)
    areas, legend = PixelAreas.of(geobox), Legend.unnamed(tuple(range(1, N_CLASSES + 1)))

    def read(block: Block) -> Pixels:
        return Pixels(classes=mask.window(block.row_off, block.col_off, block.height, block.width), areas=areas)

    grid = blocks_over(side, side)
    vectorizer = Vectorizer(geobox=geobox, legend=legend, grid=grid, read=read, areas=areas)
    with ThreadPoolExecutor(2, "geoseg-vector") as pool:
        features = vectorizer.features(pool, at_once=2)
        write_polygons(features, output, format=output.suffix[1:], legend=legend)
    if output.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.ParquetFile(output).metadata.num_rows)
    return int(pyogrio.read_info(output)["features"])


def judged(frame: Any, classes: NDArray[np.uint8]) -> dict[str, object]:
    """Number of polygons, whether all are valid, and whether each class has the area of its pixels."""
    import shapely

    expected = np.bincount(classes.ravel(), minlength=256) * abs(TRANSFORM.determinant)
    expected[NODATA] = 0
    ids = np.asarray(frame["class_id"]).astype(np.int64)
    areas = np.bincount(ids, weights=shapely.area(frame.geometry.to_numpy()), minlength=256)
    return {
        "polygons": len(frame),
        "valid": bool(shapely.is_valid(frame.geometry.to_numpy()).all()),
        "areas_equal": bool(np.allclose(areas, expected, rtol=1e-9, atol=1e-6)),
    }


def main() -> None:
    """Run one contender once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=[*FRAME, *TO_FILE, "stream"])
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("side", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suffix", default=".fgb", choices=[".fgb", ".parquet"], help="of the stream's file")
    args = parser.parse_args()
    output = args.folder / f"{args.contender}{args.suffix if args.contender == 'stream' else '.gpkg'}"
    with contextlib.suppress(FileNotFoundError):
        output.unlink()  # of an earlier round
    if args.contender == "stream":
        stream(args.kind, 256, output)  # imports and compiled kernels
        work: Callable[[Path], Any] = lambda to: stream(args.kind, args.side, to)  # noqa: E731
    else:
        maker = (FRAME | TO_FILE)[args.contender]
        try:
            maker(make_mask(args.folder, args.kind, 256))(output)  # imports and compiled kernels
            work = maker(make_mask(args.folder, args.kind, args.side))
        except NotHereError as error:
            print(error, flush=True)
            return
    with contextlib.suppress(FileNotFoundError):
        output.unlink()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    found = work(output)
    print(time.perf_counter() - began, flush=True)
    if args.contender == "stream":
        print(json.dumps({"polygons": found}), flush=True)
        return
    if found is None:
        import geopandas as gpd

        found = gpd.read_file(output, layer=_LAYER, use_arrow=True)
    print(json.dumps(judged(found, _pixels(make_mask(args.folder, args.kind, args.side)))), flush=True)


if __name__ == "__main__":
    main()
