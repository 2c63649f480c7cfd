"""Polygons from a class map: one per 4-connected component, together a valid coverage."""

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.legend import NODATA
from geoseg.vector.label import find_runs
from geoseg.vector.rings import Rings, by_rank
from geoseg.vector.shapes import Shapes
from geoseg.vector.trace import trace

__all__ = ["Polygons", "polygonize"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polygons:
    """The polygons of a class map, in the row-major order of their first pixels."""

    geometry: NDArray[np.object_]
    """(n,) shapely polygons in the coordinates of the grid, shells counter-clockwise."""
    class_id: NDArray[np.uint8]
    """(n,) class value."""
    pixels: NDArray[np.int64]
    """(n,) number of pixels."""
    labels: NDArray[np.int32]
    """(rows, cols) polygon of each pixel, counted from 1; 0 where there is none. Sums per polygon are taken over it."""
    rings: Rings
    """The same rings as integer pixel corners."""

    def __len__(self) -> int:
        return len(self.class_id)


def polygonize(classes: NDArray[np.uint8], *, transform: Affine, nodata: int = NODATA) -> Polygons:
    """The polygons of the 4-connected components of equal class.

    They are OGC-valid, share their borders vertex by vertex (`shapely.coverage_is_valid`) and rasterize back to the
    class map; nodata stays empty. The same rings as GDAL's polygonize, plus a vertex wherever three regions meet.

    Memory: about 5 bytes per pixel, 40 bytes per vertex and the geometries themselves.

    Args:
        classes: (rows, cols) class values.
        transform: From (column, row) of pixel corners to coordinates; may be rotated, sheared or south-up.
        nodata: Class value that means "no observation".

    Raises:
        ParameterError: If the map is not a uint8 array with rows and columns, or the transform is degenerate.
        ResourceError: If there are too many components for 32-bit labels.

    Example:
        >>> polygons = polygonize(np.array([[7, 7, 255]], dtype=np.uint8), transform=Affine(10, 0, 500, 0, -10, 80))
        >>> polygons.geometry[0].wkt
        'POLYGON ((500 80, 500 70, 520 70, 520 80, 500 80))'
    """
    if transform.is_degenerate:
        raise ParameterError(
            f"the transform {tuple(transform)[:6]} maps pixels to a line or a point: give one whose pixels have an area"
        )
    runs = find_runs(classes, nodata=nodata)
    components = runs.painted()
    n = len(components)
    traced, _ = trace(classes, runs, nodata=nodata)
    rings = by_rank(traced, np.arange(-1, n), n)
    geometry = Shapes.of(rings).on_map(transform).geometries()
    return Polygons(
        geometry=geometry,
        class_id=components.class_id,
        pixels=components.pixels,
        labels=components.labels,
        rings=rings,
    )
