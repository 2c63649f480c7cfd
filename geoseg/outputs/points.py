"""Reference points on disk: a GeoPackage for those who label them, read back and compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.outputs.aside import Published, publish
from geoseg.scene.ogr_path import ogr_path

__all__ = ["write_points"]


def write_points(points: Any, path: Path, *, metadata: Mapping[str, str] | None = None) -> Published:
    """Points in a GeoPackage, in their order, in a layer that is named like the file.

    So named, the layer is the one that geopandas and others replace when they write the file again.

    Args:
        points: GeoDataFrame of points with a CRS. A column of texts may be empty throughout: it is there to fill in.
        path: Final name, ``.gpkg``.
        metadata: How they were drawn, kept as metadata of the layer.

    Returns:
        The published file. It was read back: same positions, CRS, columns and values.

    Raises:
        ParameterError: If the name does not end with ``.gpkg``.
        OutputError: If it cannot be written or does not read back.
    """
    import pyogrio
    import shapely

    if path.suffix != ".gpkg":
        raise ParameterError(f"points are written as GeoPackage: name {printable(path.name)} with .gpkg")
    table = points.drop(columns=points.geometry.name)
    code = points.crs.to_epsg(min_confidence=100)

    def write(tmp: Path) -> None:
        # not write_dataframe, which takes the CRS as WKT 1, which some CRSs do not have
        with ogr_path(tmp) as file:
            pyogrio.raw.write(
                file,
                shapely.to_wkb(points.geometry.array),
                [_field(table[name]) for name in table],
                list(table),
                driver="GPKG",
                layer=path.stem,
                geometry_type="Point",
                crs=f"EPSG:{code}" if code else points.crs.to_wkt(),
                encoding="UTF-8",
                layer_options={"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": "geom"},
                layer_metadata=dict(metadata or {}) or None,
            )

    def verify(tmp: Path) -> None:
        with ogr_path(tmp) as file:
            found = pyogrio.read_dataframe(file, layer=path.stem)
        if len(found) != len(points) or not (found.geometry.array == points.geometry.array).all():
            raise OutputError(f"the points of {printable(path.name)} read back otherwise")
        if not points.crs.equals(found.crs, ignore_axis_order=True):
            raise OutputError(f"the CRS of {printable(path.name)} reads back as {found.crs}")
        for name in table:
            same = name in found and (found[name].isna() == table[name].isna()).all()
            there = table[name].notna()
            if not same or not (found[name][there].to_numpy() == table[name][there].to_numpy()).all():
                raise OutputError(f"the column {name} of {printable(path.name)} reads back otherwise")

    return publish(path, write, verify)


def _field(column: Any) -> Any:
    """A column as numpy, texts as objects with None where they are missing."""
    if column.dtype.kind in "iufb":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), None).to_numpy()
