"""COGs: the parts' pixels, the scene's grid, names and colours; damage is seen."""

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rio_cogeo.cogeo import cog_validate

from geoseg.errors import OutputError, ParameterError
from geoseg.inference.lattice import Block
from geoseg.legend import Legend, LegendClass
from geoseg.outputs import cog
from geoseg.outputs.cog import write_class_cog, write_confidence_cog, write_probability_cog
from geoseg.outputs.cog_check import Expected, check_cog, kept_crs

_UTM = Affine(10, 0, 399960, 0, -10, 5000040)
_SITE = 'ENGCRS["site",EDATUM["post 7"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["metre",1]]'
_GRIDS = {
    "utm": ("EPSG:32633", _UTM),
    "south-up": ("EPSG:32633", Affine(10, 0, 399960, 0, 10, 5000040)),
    "rotated": ("EPSG:32633", Affine.translation(399960, 5000040) @ Affine.rotation(30) @ Affine.scale(10, -10)),
    "sheared": ("EPSG:32633", Affine(10, 1, 399960, 2, -10, 5000040)),
    "geographic": ("EPSG:4326", Affine(1e-4, 0, -0.05, 0, -1e-4, 51.3)),
    "axes north first": ("EPSG:3035", Affine(10, 0, 4321000, 0, -10, 3210000)),
    "web mercator": ("EPSG:3857", Affine(0.3, 0, 1e6, 0, -0.3, 6e6)),
    "feet": ("EPSG:2263", Affine(1, 0, 98e4, 0, -1, 2e5)),
    "ESRI": ("ESRI:54008", Affine(1000, 0, 0, 0, -1000, 0)),
    "GRIB sphere": ("+proj=longlat +a=6371229 +b=6371229 +no_defs", Affine(0.25, 0, -0.125, 0, -0.25, 90.125)),
    "GRIB cone": ("+proj=lcc +lat_1=25 +lat_0=25 +lon_0=265 +R=6371200 +units=m +no_defs", _UTM),
    "rotated pole": ("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +no_defs", _UTM),
    "geostationary": ("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80", _UTM),
    "not in GeoTIFF": ("+proj=isea", _UTM),
    "towgs84": (
        "+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7",
        _UTM,
    ),
    "site grid": (_SITE, _UTM),
}


@pytest.fixture
def parts(tmp_path: Path, rasters: Any, whole: Any, write_parts: Any) -> Any:
    return write_parts(tmp_path, rasters, [whole(rasters)])


def test_the_class_cog_shows_classes(tmp_path: Path, parts: Any, rasters: Any, geobox: GeoBox, legend: Legend) -> None:
    tags = {"geoseg_model": "m & <m> é", "geoseg_parameters": '{"overlap": 0.5}'}
    published = write_class_cog(tmp_path / "s_classes.tif", parts, geobox=geobox, legend=legend, metadata=tags)
    assert cog_validate(published.path, quiet=True)[:2] == (True, [])
    with rasterio.open(published.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), rasters[0])
        assert (dataset.crs.to_epsg(), dataset.transform, dataset.nodata) == (32633, geobox.affine, 255)
        assert (dataset.block_shapes, dataset.compression.name) == ([(512, 512)], "deflate")
        assert dataset.descriptions == ("land cover",)
        assert dataset.colorinterp[0].name == "palette"
        assert dataset.colormap(1)[7] == (0xB2, 0x18, 0x2B, 255)
        assert dataset.colormap(1)[255][3] == 0
        assert {k: v for k, v in dataset.tags().items() if k.startswith("geoseg")} == tags
    with rasterio.open(published.path, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {1, 2, 7, 255}
    assert sorted(p.name for p in published.sides) == ["s_classes.qml", "s_classes.tif.aux.xml"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "part0.tif",
        "s_classes.qml",
        "s_classes.tif",
        "s_classes.tif.aux.xml",
    ]


def test_class_names_are_beside_the_class_cog(tmp_path: Path, parts: Any, geobox: GeoBox, legend: Legend) -> None:
    write_class_cog(tmp_path / "s.tif", parts, geobox=geobox, legend=legend, metadata={})
    pam = ET.parse(tmp_path / "s.tif.aux.xml")
    assert [c.text or "" for c in pam.iter("Category")] == ["", legend.names[0], "水", "", "", "", "", "=SUM(A1)"]
    rows = [[f.text for f in row] for row in pam.iter("Row")]
    assert rows[1] == ["2", "水", "33", "102", "172", "255"]
    qml = ET.parse(tmp_path / "s.qml")
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in qml.iter("paletteEntry")] == [
        (str(c.value), c.name, c.color.lower()) for c in legend
    ]


def test_averaged_confidence_does_not_see_nodata(tmp_path: Path, geobox: GeoBox, write_parts: Any, whole: Any) -> None:
    confidence = np.full(geobox.shape, 40, np.uint8)
    confidence[::2, 1::2] = 60
    confidence[1::2] = 255
    confidence[:, 600:] = 255
    parts = write_parts(tmp_path, (confidence, confidence), [whole((confidence,))])
    published = write_confidence_cog(tmp_path / "s_confidence.tif", parts, geobox=geobox, metadata={"a": "b"})
    assert cog_validate(published.path, quiet=True)[:2] == (True, [])
    with rasterio.open(published.path, overview_level=0) as overview:
        found = overview.read(1)
    assert (found[:, :300] == 50).all()
    assert (found[:, 300:] == 255).all()


def test_the_probability_cog_has_a_band_for_each_class(
    tmp_path: Path, rasters: Any, probabilities: Any, geobox: GeoBox, legend: Legend, whole: Any, write_parts: Any
) -> None:
    parts = write_parts(tmp_path, (*rasters, probabilities), [whole(rasters)])
    published = write_probability_cog(
        tmp_path / "s_probabilities.tif", parts, geobox=geobox, legend=legend, metadata={"a": "b"}
    )
    assert cog_validate(published.path, strict=True, quiet=True)[:2] == (True, [])
    with rasterio.open(published.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), probabilities)
        assert dataset.descriptions == legend.names
        assert (dataset.scales, dataset.offsets, dataset.nodatavals) == ((1 / 254,) * 3, (0.0,) * 3, (255.0,) * 3)
        assert (dataset.crs.to_epsg(), dataset.transform) == (32633, geobox.affine)
        assert {kind.name for kind in dataset.colorinterp} <= {"gray", "undefined"}
        assert dataset.tags()["a"] == "b"
    with rasterio.open(published.path, overview_level=0) as overview:
        found = overview.read().astype(int)
    # each band the rounded average of its own valid pixels
    blocks = np.ma.masked_equal(probabilities, 255).reshape(3, 350, 2, 550, 2).astype(float)
    mean = blocks.mean(axis=(2, 4))
    np.testing.assert_array_equal(found == 255, np.ma.getmaskarray(mean))
    assert np.abs(found - mean).max() <= 0.5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part0.tif", "s_probabilities.tif"]


@pytest.mark.parametrize("n_classes", [1, 2, 3, 4, 5, 30])
def test_no_number_of_classes_makes_colours_or_a_mask_of_probabilities(
    tmp_path: Path, n_classes: int, write_parts: Any, whole: Any
) -> None:
    pixels = np.full((40, 600), 1, np.uint8)
    shares = np.zeros((n_classes, 40, 600), np.uint8)
    shares[n_classes // 2] = 254
    parts = write_parts(tmp_path, (pixels, pixels, shares), [whole((pixels,))])
    odd = ("  led by blanks, followed by them  ", '<&>"', "]]>", "水", "=1+1", "x" * 300)
    names = (*odd, *(f"class {i}" for i in range(24)))[:n_classes]
    classes = tuple(LegendClass(value=i, name=name, color="#000000") for i, name in enumerate(names))
    published = write_probability_cog(
        tmp_path / "s.tif",
        parts,
        geobox=GeoBox(pixels.shape, _UTM, "EPSG:32633"),
        legend=Legend(classes=classes),
        metadata={},
    )
    with rasterio.open(published.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), shares)
        assert dataset.descriptions == tuple(name.strip() for name in names)
        assert all(flags == [MaskFlags.nodata] for flags in dataset.mask_flag_enums)


def test_probabilities_of_another_legend_or_of_none_are_refused(
    tmp_path: Path, parts: Any, geobox: GeoBox, legend: Legend
) -> None:
    with pytest.raises(ParameterError, match="holds the probabilities of 0 classes, the legend has 3"):
        write_probability_cog(tmp_path / "s.tif", parts, geobox=geobox, legend=legend, metadata={})
    assert not (tmp_path / "s.tif").exists()


@pytest.mark.parametrize("name", _GRIDS)
def test_the_grid_is_kept_exactly(tmp_path: Path, name: str, legend: Legend, write_parts: Any, whole: Any) -> None:
    crs, transform = _GRIDS[name]
    geobox = GeoBox((40, 600), transform, CRS(crs))
    pixels = np.full(geobox.shape, 2, np.uint8)
    parts = write_parts(tmp_path, (pixels, pixels), [whole((pixels,))])
    writers: tuple[tuple[Any, dict[str, Any]], ...] = (
        (write_class_cog, {"legend": legend}),
        (write_confidence_cog, {}),
    )
    for write, more in writers:
        published = write(tmp_path / "s.tif", parts, geobox=geobox, metadata={}, **more)
        with rasterio.open(published.path) as dataset:
            assert dataset.transform.almost_equals(transform, precision=1e-12)
            assert dataset.nodata == 255
        assert kept_crs(published.path, geobox)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.sets(st.integers(1, 699), max_size=3), cols=st.sets(st.integers(1, 1099), max_size=3), data=st.data())
def test_the_cut_into_parts_does_not_show(
    rows: set[int],
    cols: set[int],
    data: Any,
    rasters: Any,
    geobox: GeoBox,
    legend: Legend,
    write_parts: Any,
    probabilities: Any,
    digests: Any,
) -> None:
    r, c = [0, *sorted(rows), 700], [0, *sorted(cols), 1100]
    blocks = [
        Block(row_off=r0, col_off=c0, height=r1 - r0, width=c1 - c0)
        for r0, r1 in itertools.pairwise(r)
        for c0, c1 in itertools.pairwise(c)
    ]
    with tempfile.TemporaryDirectory() as folder:
        parts = write_parts(Path(folder), (*rasters, probabilities), data.draw(st.permutations(blocks)))
        assert _digests(Path(folder), parts, geobox, legend) == digests


def test_a_raster_too_large_for_raw_temporary_files_is_the_same(
    tmp_path: Path,
    rasters: Any,
    probabilities: Any,
    geobox: GeoBox,
    legend: Legend,
    whole: Any,
    write_parts: Any,
    digests: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []
    plain = cog._write_plain

    def watched(*args: Any) -> None:
        plain(*args)
        with rasterio.open(args[0]) as dataset:
            used.append(dataset.compression)

    monkeypatch.setattr(cog, "_RAW_UP_TO", 1)
    monkeypatch.setattr(cog, "_write_plain", watched)
    parts = write_parts(tmp_path, (*rasters, probabilities), [whole(rasters)])
    assert _digests(tmp_path, parts, geobox, legend) == digests
    assert {c.name for c in used} == {"zstd"}


@pytest.fixture(scope="module")
def digests(
    tmp_path_factory: pytest.TempPathFactory,
    rasters: Any,
    probabilities: Any,
    geobox: GeoBox,
    legend: Legend,
    whole: Any,
    write_parts: Any,
) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    return _digests(folder, write_parts(folder, (*rasters, probabilities), [whole(rasters)]), geobox, legend)


def _digests(folder: Path, parts: Any, geobox: GeoBox, legend: Legend) -> tuple[str, str, str]:
    return (
        write_class_cog(folder / "a.tif", parts, geobox=geobox, legend=legend, metadata={"x": "y"}).sha256,
        write_confidence_cog(folder / "b.tif", parts, geobox=geobox, metadata={"x": "y"}).sha256,
        write_probability_cog(folder / "c.tif", parts, geobox=geobox, legend=legend, metadata={"x": "y"}).sha256,
    )


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([(0, 0, 512, 1100)], "part at row 512, column 0 is missing"),
        ([(0, 0, 700, 1100), (512, 0, 188, 512)], "part at row 512, column 0 is there twice"),
        ([(0, 0, 701, 1100)], "reaches beyond the scene of 1100 x 700 px"),
        ([], "part at row 0, column 0 is missing"),
    ],
)
def test_parts_that_do_not_cover_the_scene_are_refused(
    tmp_path: Path, blocks: Any, match: str, geobox: GeoBox, legend: Legend, write_parts: Any
) -> None:
    zeros = np.zeros((701, 1100), np.uint8)
    parts = write_parts(
        tmp_path, (zeros, zeros), [Block(row_off=r, col_off=c, height=h, width=w) for r, c, h, w in blocks]
    )
    with pytest.raises(ParameterError, match=match):
        write_class_cog(tmp_path / "s.tif", parts, geobox=geobox, legend=legend, metadata={})
    assert not (tmp_path / "s.tif").exists()


def test_a_damaged_part_is_named_and_nothing_is_written(
    tmp_path: Path, parts: Any, geobox: GeoBox, legend: Legend
) -> None:
    with rasterio.open(parts[0].path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(parts[0].path.read_bytes())
    data[offset + 1000] ^= 1
    parts[0].path.write_bytes(data)
    with pytest.raises(OutputError, match=r"part .*part0\.tif does not hold what was written"):
        write_class_cog(tmp_path / "s.tif", parts, geobox=geobox, legend=legend, metadata={})
    assert [p.name for p in tmp_path.iterdir()] == ["part0.tif"]


@pytest.mark.parametrize("kind", ["classes", "confidence", "probabilities"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_zeroed_tile_is_seen_at_every_level(
    tmp_path: Path, level: int, kind: Any, write_parts: Any, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(1, 90, (1100, 1501), dtype=np.uint8)
    geobox = GeoBox(pixels.shape, _UTM, "EPSG:32633")
    parts = write_parts(tmp_path, (pixels, pixels, np.stack([pixels] * 3)), [whole((pixels,))])
    names = ("land cover",) if kind != "probabilities" else ("forest", "water", "bare")
    expected = Expected(geobox=geobox, nodata=255, descriptions=names)
    cog._write_plain(tmp_path / "plain.tif", parts, kind, expected, {})
    how = cog._PROFILES[kind]["overview_resampling"]
    rasterio.shutil.copy(
        tmp_path / "plain.tif", tmp_path / "s.tif", driver="COG", compress="NONE", overview_resampling=how
    )
    check_cog(tmp_path / "s.tif", parts, kind, expected)
    with rasterio.open(tmp_path / "s.tif") as dataset:
        where = {} if level == 0 else {"ovr": level - 1}
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, **where))
    with (tmp_path / "s.tif").open("r+b") as file:
        file.seek(offset)
        # bands of a tile alternate pixel by pixel: the last one is lost
        lost = np.fromfile(tmp_path / "s.tif", np.uint8, 512 * 512 * len(names), offset=offset)
        lost[len(names) - 1 :: len(names)] = 0
        file.write(lost.tobytes())
    with pytest.raises(OutputError, match="rows 0 to 512" if level == 0 else f"overview {level} does not show"):
        check_cog(tmp_path / "s.tif", parts, kind, expected)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"nodata": 0}, "nodata value did not read back"),
        ({"descriptions": ("x",)}, "band description did not read back"),
        ({"tags": {"a": "c"}}, "tags did not read back"),
        ({"scale": 0.5}, "scale did not read back"),
        ({"colormap": {3: (1, 2, 3, 255)}}, "palette did not read back"),
        ({"geobox": GeoBox((700, 1100), _UTM, "EPSG:32634")}, "CRS did not read back"),
        ({"geobox": GeoBox((700, 1100), _UTM @ Affine.translation(1, 0), "EPSG:32633")}, "transform did not read back"),
        ({"geobox": GeoBox((1100, 700), _UTM, "EPSG:32633")}, "shape did not read back"),
    ],
)
def test_a_header_that_says_something_else_is_seen(
    tmp_path: Path, parts: Any, geobox: GeoBox, legend: Legend, change: Any, match: str
) -> None:
    published = write_class_cog(tmp_path / "s.tif", parts, geobox=geobox, legend=legend, metadata={"a": "b"})
    meant = Expected(geobox=geobox, nodata=255, descriptions=("land cover",), tags={"a": "b"})
    check_cog(published.path, parts, "classes", meant)
    with pytest.raises(OutputError, match=match):
        check_cog(published.path, parts, "classes", dataclasses.replace(meant, **change))


def test_a_tag_that_is_no_name_is_refused(tmp_path: Path, parts: Any, geobox: GeoBox) -> None:
    with pytest.raises(ParameterError, match="tag 'a=b' is not a name"):
        write_confidence_cog(tmp_path / "s.tif", parts, geobox=geobox, metadata={"a=b": ""})
