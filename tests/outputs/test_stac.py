"""STAC items: valid, where the scene is, with every file's checksum."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.errors import ParameterError
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.footprint import footprint
from geoseg.outputs.records import write_text
from geoseg.outputs.stac import ItemInfo, write_item

_DONE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_SITE = 'ENGCRS["site",EDATUM["p"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["metre",1]]'


@pytest.fixture
def files(tmp_path: Path) -> dict[Any, Published]:
    names = {
        "classes": "s_classes.tif",
        "confidence": "s_confidence.tif",
        "polygons": "s_polygons.gpkg",
        "areas": "s_areas.csv",
    }
    return {kind: write_text(tmp_path / name, kind) for kind, name in names.items()}


def validate(item: dict[str, Any]) -> None:
    """Against the core schema, which is bundled; those of extensions are on the web."""
    pytest.importorskip("jsonschema", reason="pystac validates with jsonschema")
    pystac.Item.from_dict({**item, "stac_extensions": []}).validate()


def test_an_item_describes_the_files(tmp_path: Path, files: Any, geobox: GeoBox, legend: Legend) -> None:
    info = ItemInfo(
        id="s",
        geobox=geobox,
        legend=legend,
        processed=_DONE,
        acquired=datetime(2023, 6, 15, 12, tzinfo=timezone(timedelta(hours=2))),
        model="landcover 1.0",
        software={"geoseg": "0.1"},
        parameters={"overlap": 0.5},
        source="https://user@host/a/S2B.SAFE?token=secret",
    )
    write_item(tmp_path / "s.json", files, info)
    text = (tmp_path / "s.json").read_text("utf-8")
    item = json.loads(text)
    validate(item)
    properties = item["properties"]
    assert (item["stac_version"], properties["datetime"]) == ("1.1.0", "2023-06-15T10:00:00Z")
    assert (properties["proj:code"], properties["proj:shape"]) == ("EPSG:32633", [700, 1100])
    assert properties["proj:transform"] == [10, 0, 399960, 0, -10, 5000040]
    assert (properties["geoseg:model"], properties["geoseg:parameters"]) == ("landcover 1.0", {"overlap": 0.5})
    assert (properties["processing:software"], properties["geoseg:source"]) == ({"geoseg": "0.1"}, "S2B.SAFE")
    assert "secret" not in text
    classes = item["assets"]["classes"]
    assert (classes["href"], classes["roles"], classes["file:size"]) == ("./s_classes.tif", ["data"], 7)
    assert classes["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert classes["file:checksum"] == "1220" + hashlib.sha256(b"classes").hexdigest()
    assert [(c["value"], c["name"], c["title"], c["color_hint"]) for c in classes["classification:classes"]] == [
        (1, "Wald____Wiese___alt", 'Wald & <Wiese> "alt"', "1B7837"),
        (2, "class_2", "水", "2166AC"),
        (7, "SUM_A1", "=SUM(A1)", "B2182B"),
    ]
    assert item["assets"]["areas"]["type"] == "text/csv"


def test_probabilities_have_a_band_per_class_and_a_scale(
    tmp_path: Path, files: Any, geobox: GeoBox, legend: Legend
) -> None:
    info = ItemInfo(id="s", geobox=geobox, legend=legend, processed=_DONE)
    write_item(tmp_path / "plain.json", files, info)
    plain = json.loads((tmp_path / "plain.json").read_text("utf-8"))
    assert not [name for name in plain["stac_extensions"] if "raster" in name]
    write_item(
        tmp_path / "s.json", {**files, "probabilities": write_text(tmp_path / "s_probabilities.tif", "probable")}, info
    )
    item = json.loads((tmp_path / "s.json").read_text("utf-8"))
    validate(item)
    assert item["stac_extensions"][-1] == "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
    asset = item["assets"]["probabilities"]
    assert [band["name"] for band in asset["bands"]] == list(legend.names)
    assert (asset["data_type"], asset["nodata"], asset["raster:scale"] * 254) == ("uint8", 255, 1)
    assert (asset["type"], asset["file:size"]) == ("image/tiff; application=geotiff; profile=cloud-optimized", 8)


def test_several_files_of_a_kind_are_told_apart(tmp_path: Path, files: Any, geobox: GeoBox, legend: Legend) -> None:
    info = ItemInfo(id="s", geobox=geobox, legend=legend, processed=_DONE)
    second = write_text(tmp_path / "s_polygons.parquet", "")
    write_item(tmp_path / "s.json", {**files, "polygons_parquet": second}, info)
    assets = json.loads((tmp_path / "s.json").read_text())["assets"]
    assert assets["polygons_parquet"]["type"] == "application/vnd.apache.parquet"
    assert assets["polygons"]["type"] == "application/geopackage+sqlite3"
    with pytest.raises(ParameterError, match="no asset of kind 'map': use classes, confidence, polygons, areas"):
        write_item(tmp_path / "s.json", {"map": second}, info)


def test_an_unknown_acquisition_is_an_interval_that_surely_holds(
    tmp_path: Path, files: Any, geobox: GeoBox, legend: Legend
) -> None:
    write_item(tmp_path / "s.json", files, ItemInfo(id="s", geobox=geobox, legend=legend, processed=_DONE))
    item = json.loads((tmp_path / "s.json").read_text())
    validate(item)
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "1970-01-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    "crs", ["ESRI:54008", "+proj=lcc +lat_1=25 +lat_0=25 +lon_0=265 +R=6371200 +units=m +no_defs", _SITE]
)
def test_a_crs_without_epsg_code(tmp_path: Path, files: Any, legend: Legend, crs: str) -> None:
    geobox = GeoBox((10, 10), Affine(10, 0, 1000, 0, -10, 2000), crs)
    write_item(tmp_path / "s.json", files, ItemInfo(id="s", geobox=geobox, legend=legend, processed=_DONE))
    item = json.loads((tmp_path / "s.json").read_text())
    validate(item)
    assert item["properties"]["proj:code"] == ("ESRI:54008" if crs.startswith("ESRI") else None)
    assert ("proj:wkt2" in item["properties"]) == (not crs.startswith("ESRI"))
    assert (item["geometry"] is None) == (crs == _SITE)
    assert ("bbox" in item) == (crs != _SITE)


@pytest.mark.parametrize(
    ("crs", "transform", "shape", "bbox", "kind"),
    [
        ("EPSG:4326", (0.1, 0, 10, 0, -0.1, 50), (10, 20), (10, 49, 12, 50), "Polygon"),
        ("EPSG:4326", (0.1, 0, 10, 0, 0.1, 49), (10, 20), (10, 49, 12, 50), "Polygon"),
        ("EPSG:4326", (0.1, 0, 179, 0, -0.1, 50), (10, 20), (179, 49, -179, 50), "MultiPolygon"),
        ("EPSG:4326", (1, 0, 190, 0, -1, 50), (10, 20), (-170, 40, -150, 50), "Polygon"),
        ("EPSG:4326", (0.5, 0, -180.25, 0, -0.5, 90.25), (361, 721), (-180, -90, 180, 90), "Polygon"),
        ("EPSG:4326", (1, 0, 0, 0, -1, 90), (180, 360), (-180, -90, 180, 90), "Polygon"),
        ("EPSG:32601", (1000, 0, 200000, 0, -1000, 7000000), (100, 100), (177.0, 62.1, 179.2, 63.1), "Polygon"),
        ("EPSG:32601", (1000, 0, 0, 0, -1000, 7000000), (300, 500), (173.2, 60.2, -177.0, 63.2), "MultiPolygon"),
        ("EPSG:3995", (50000, 0, -1e6, 0, -50000, 1e6), (40, 40), (-180, 77.1, 180, 90), "Polygon"),
        ("EPSG:3031", (50000, 0, -1e6, 0, -50000, 1e6), (40, 40), (-180, -90, 180, -77.1), "Polygon"),
    ],
)
def test_footprints(crs: str, transform: Any, shape: Any, bbox: Any, kind: str) -> None:
    where = footprint(GeoBox(shape, Affine(*transform), crs))
    assert where is not None
    assert where.bbox == pytest.approx(bbox, abs=0.6 if crs == "EPSG:32601" else 0.1)
    geometry = shapely.geometry.shape(where.geometry)
    assert geometry.is_valid
    assert geometry.geom_type == kind
    west, south, east, north = geometry.bounds
    assert (west >= -180, south >= -90, east <= 180, north <= 90) == (True,) * 4


def test_a_polar_footprint_holds_the_pole_and_no_more() -> None:
    where = footprint(GeoBox((40, 40), Affine(50000, 0, -1e6, 0, -50000, 1e6), "EPSG:3995"))
    assert where is not None
    shape = shapely.geometry.shape(where.geometry)
    assert shape.contains(shapely.Point(45, 89.9))
    assert not shape.contains(shapely.Point(45, 70))


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_a_footprint_round_a_pole_has_the_area_of_the_grid(crs: str, pole: int) -> None:
    where = footprint(GeoBox((300, 300), Affine(1000, 0, -150_000, 0, -1000, 150_000), crs))
    assert where is not None

    def area(shape: Any, own: str) -> float:
        equal = Transformer.from_crs(own, f"+proj=laea +lat_0={pole} +datum=WGS84", always_xy=True)
        there = shapely.transform(shape, lambda xy: np.column_stack(equal.transform(*xy.T)))
        return float(there.area)

    expected = area(shapely.segmentize(shapely.box(-150_000, -150_000, 150_000, 150_000), 500), crs)
    assert area(shapely.segmentize(shapely.geometry.shape(where.geometry), 0.05), "OGC:CRS84") == pytest.approx(
        expected, rel=1e-3
    )


def test_a_grid_beyond_the_disc_has_the_outline_that_can_be_placed_or_none() -> None:
    disc = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80"
    assert footprint(GeoBox((100, 100), Affine(1.2e5, 0, -6e6, 0, -1.2e5, 6e6), disc)) is None
    assert footprint(GeoBox((10, 10), Affine(1e4, 0, 0, 0, -1e4, 0), disc)) is not None
    assert footprint(GeoBox((10, 10), Affine(1, 0, 0, 0, -1, 0), None)) is None
