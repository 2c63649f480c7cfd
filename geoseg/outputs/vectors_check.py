"""Whether polygons read back are the polygons that were meant, whatever the order a format keeps them in."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import OutputError

__all__ = ["check_features", "geometry_hashes"]


def check_features(meant: Any, found: Any, *, float_tolerance: float, crs: bool) -> None:
    """Compare two GeoDataFrames feature by feature.

    Features are matched by a hash of their vertices, because FlatGeobuf sorts them along a curve.

    Args:
        meant: What was to be written.
        found: What was read.
        float_tolerance: Largest relative difference of numbers.
        crs: Whether the CRS must be the same one.

    Raises:
        OutputError: With the first difference.
    """
    if len(meant) != len(found):
        raise OutputError(f"{len(found)} of {len(meant)} features read back")
    if crs and meant.crs != found.crs and not (meant.crs and meant.crs.equals(found.crs, ignore_axis_order=True)):
        raise OutputError(f"the CRS read back as {found.crs}")
    if len(meant) == 0:
        return
    meant_hashes, found_hashes = (geometry_hashes(g.geometry.array) for g in (meant, found))
    ids = "class_id" if {"class_id"} <= set(meant) & set(found) else None
    meant_order, found_order = (
        np.lexsort((frame[ids].to_numpy(), hashes) if ids else (hashes,))
        for frame, hashes in ((meant, meant_hashes), (found, found_hashes))
    )
    if not np.array_equal(meant_hashes[meant_order], found_hashes[found_order]):
        raise OutputError("the outlines of some features read back otherwise")
    for name in meant.columns.drop(meant.geometry.name):
        if name not in found:
            raise OutputError(f"the column {name} did not read back")
        wanted, got = meant[name].to_numpy()[meant_order], found[name].to_numpy()[found_order]
        if not _equal(wanted, got, float_tolerance):
            raise OutputError(f"values of the column {name} read back otherwise")


def geometry_hashes(geometries: Any) -> NDArray[np.uint64]:
    """One number per polygon from its vertices to the last bit, alike for any direction and order of its rings.

    Formats turn rings round and list them in another order; the vertex a ring begins and ends with they keep.
    """
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(xy + 0.0).view(np.uint64)  # + 0.0: minus zero becomes zero
        mixed = _mix(_mix(bits[:, 0]) + bits[:, 1])
        # sums over each polygon's run of vertices, modulo 2**64
        running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        edges = np.searchsorted(owner, np.arange(len(geometries) + 1))
        return _mix(running[edges[1:]] - running[edges[:-1]] + np.diff(edges).astype(np.uint64))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): each bit of the input moves half of the output's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _equal(wanted: NDArray[Any], got: NDArray[Any], tolerance: float) -> bool:
    if wanted.dtype.kind in "iufb" and got.dtype.kind in "iufb":
        if tolerance and wanted.dtype.kind == "f":
            return bool(np.allclose(got, wanted, rtol=tolerance, atol=tolerance, equal_nan=True))
        return bool(np.array_equal(got, wanted, equal_nan=wanted.dtype.kind == "f"))
    # formats return an empty text as missing
    return [_text(v) for v in wanted] == [_text(v) for v in got]


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value)
