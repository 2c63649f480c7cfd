"""Any categorical raster opens with its classes, or is refused with the reason and the mend."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geoseg.errors import ParameterError, SceneError
from geoseg.legend import Legend, LegendClass, default_color
from geoseg.legends import WELL_KNOWN, well_known
from geoseg.outputs.style import pam_xml
from geoseg.scene.class_raster import ClassRaster, ClassReader, open_class_raster

Write = Callable[..., Path]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LEGEND = Legend(
    classes=(
        LegendClass(value=1, name="water", color="#0000ff"),
        LegendClass(value=2, name="wood", color="#006400"),
        LegendClass(value=9, name="rock", color="#999999"),
    )
)
MAP = np.array([[1, 1, 2], [2, 9, 255]], np.uint8)
MASK = np.array([[255, 255, 255], [0, 255, 255]], np.uint8)
KEPT = np.array([[1, 1, 2], [0, 9, 3]], np.uint8)


def read(raster: ClassRaster) -> Any:
    return raster.read(0, 0, *raster.geobox.shape)


def write_named(write: Write, path: Path, pixels: Any = MAP, *, legend: Legend = LEGEND, **profile: Any) -> Path:
    """As geoseg leaves its own maps: a colour table in the file, names beside it."""
    write(path, pixels, nodata=legend.nodata, **profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {c.value: (*c.rgb, 255) for c in legend})
    path.with_name(f"{path.name}.aux.xml").write_text(pam_xml(legend), "utf-8")
    return path


def test_a_map_with_names_and_nodata_opens_as_it_was_written(tmp_path: Path, write_raster: Write) -> None:
    path = write_named(write_raster, tmp_path / "a.tif")
    raster = open_class_raster(path)
    assert raster.legend == LEGEND
    assert (raster.named, raster.band, raster.masked, raster.notes) == (
        True, 1, False, ("class names from its category names",),
    )  # fmt: skip
    assert raster.geobox.shape == (2, 3)
    assert raster.geobox.crs == "EPSG:32633"
    np.testing.assert_array_equal(read(raster), MAP)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(raster)).read(1, 1, 1, 2), [[9, 255]])


def test_such_a_map_is_not_read_when_it_is_opened(tmp_path: Path, write_raster: Write) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.choice([1, 2, 9], (400, 400)).astype(np.uint8)
    path = write_named(write_raster, tmp_path / "a.tif", pixels, compress="DEFLATE")
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    path.write_bytes(content)
    raster = open_class_raster(path)
    assert raster.legend == LEGEND
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read at row 0, column 0: .*download it again"):
        read(raster)


def test_values_that_a_named_map_does_not_name_are_added_when_they_are_met(tmp_path: Path, write_raster: Write) -> None:
    raster = open_class_raster(write_named(write_raster, tmp_path / "a.tif", MAP + (MAP == 1) * np.uint8(5)))
    assert set(raster.legend.values) == {1, 2, 9}
    legend = raster.legend_of(np.unique(read(raster)))
    assert {c.value: c.name for c in legend} == {1: "water", 2: "wood", 6: "class 6", 9: "rock"}
    assert legend.nodata == 255
    assert raster.legend_of([1, 255]) is raster.legend


def test_a_raster_without_names_gets_the_values_that_occur(tmp_path: Path, write_raster: Write) -> None:
    raster = open_class_raster(write_raster(tmp_path / "a.tif", MAP, nodata=255))
    assert {c.value: (c.name, c.color) for c in raster.legend} == {
        v: (f"class {v}", default_color(i)) for i, v in enumerate((1, 2, 9))
    }
    assert (raster.named, raster.legend.nodata, raster.notes) == (False, 255, ())


def test_a_colour_table_gives_colours_and_black_of_several_classes_is_none(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[0, 1, 2, 3]], np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 0), 1: (10, 20, 30, 255)})  # GDAL fills the rest with black
    colors = {c.value: c.color for c in open_class_raster(path).legend}
    assert colors == {0: default_color(0), 1: "#0a141e", 2: default_color(2), 3: default_color(3)}
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {i: (i, 0, 0, 255) for i in range(4)})
    assert open_class_raster(path).legend.classes[0].color == "#000000"


@pytest.mark.parametrize(
    ("values", "nodata"),
    [([1, 2], 255), ([0, 255], 254), ([0, 253, 254, 255], 252), ([*range(1, 256)], 0), ([254], 255)],
)
def test_without_nodata_a_value_that_does_not_occur_is_chosen(
    tmp_path: Path, write_raster: Write, values: list[int], nodata: int
) -> None:
    pixels = np.array([values], np.uint8)
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels))
    assert (raster.legend.nodata, raster.legend.values) == (nodata, tuple(values))
    assert "no nodata value and no mask: every pixel is an observation" in raster.notes
    np.testing.assert_array_equal(read(raster), pixels)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("int8", -128), ("int16", -32768), ("uint16", 65535), ("int32", -1), ("uint32", 4294967295), ("int64", -9999),
        ("int16", 9), ("uint16", 0), ("int8", None),
    ],
)  # fmt: skip
def test_integers_of_any_kind_become_bytes(tmp_path: Path, write_raster: Write, dtype: str, nodata: int | None) -> None:
    pixels = np.array([[1, 44, 2], [9, 0, 1]]).astype(dtype)
    hidden = np.zeros(pixels.shape, bool)
    if nodata is not None:
        pixels[0, 0] = nodata
        hidden = pixels == nodata
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels, nodata=nodata))
    classes = read(raster)
    assert (raster.dtype, classes.dtype) == (dtype, np.uint8)
    np.testing.assert_array_equal(classes == raster.legend.nodata, hidden)
    np.testing.assert_array_equal(classes[~hidden], pixels[~hidden])
    assert raster.legend.nodata == 255
    assert set(raster.legend.values) == set(pixels[~hidden].tolist())
    if nodata is not None:
        assert f"no observation: {nodata}; becomes 255" in raster.notes


@pytest.mark.parametrize("how", ["internal", "beside", "alpha"])
def test_masks_and_alpha_are_respected(tmp_path: Path, write_raster: Write, how: str) -> None:
    if how == "alpha":
        path = write_raster(
            tmp_path / "a.tif", np.stack([KEPT, MASK]), colors=(ColorInterp.gray, ColorInterp.alpha), nodata=3
        )
    else:
        path = write_raster(tmp_path / "a.tif", KEPT, mask=MASK, internal_mask=how == "internal")
    raster = open_class_raster(path)
    expected = KEPT.copy()
    expected[1, 0] = raster.legend.nodata
    np.testing.assert_array_equal(read(raster), expected)
    assert raster.masked
    assert set(raster.legend.values) == ({1, 2, 9} if how == "alpha" else {1, 2, 3, 9})
    assert raster.legend.nodata == (3 if how == "alpha" else 255)
    assert any("mask or alpha" in note for note in raster.notes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reading_gives_the_file_s_values_and_nodata_nowhere_else(
    tmp_path: Path, write_raster: Write, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]))
    most = min(255, int(np.iinfo(dtype).max))
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pixels = data.draw(arrays(dtype, shape, elements=st.integers(max(0, most - 4), most)))
    declared = data.draw(st.none() | st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)))
    mask = data.draw(st.none() | arrays(np.uint8, shape, elements=st.sampled_from([0, 255])))
    if mask is not None:
        declared = None  # GDAL keeps one or the other
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16} if data.draw(st.booleans()) else {}
    path = write_raster(tmp_path / "a.tif", pixels, nodata=declared, mask=mask, **tiles)
    hidden = np.zeros(shape, bool) if declared is None else pixels == declared
    hidden |= False if mask is None else mask == 0
    if hidden.all():
        with pytest.raises(SceneError, match="every pixel is nodata"):
            open_class_raster(path)
        return
    raster = open_class_raster(path)
    assert raster.legend.nodata not in set(pixels[~hidden].tolist())
    assert set(raster.legend.values) == set(pixels[~hidden].tolist())
    expected = np.where(hidden, raster.legend.nodata, pixels.astype(np.int64))
    row, col = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    with ClassReader(raster) as reader:
        np.testing.assert_array_equal(reader.read(0, 0, *shape), expected)
        part = reader.read(row, col, shape[0] - row, shape[1] - col)
    np.testing.assert_array_equal(part, expected[row:, col:])


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_a_published_palette_gives_the_published_names(tmp_path: Path, write_raster: Write, name: str) -> None:
    known = well_known(name)
    path = write_raster(tmp_path / "a.tif", np.array([[*known.values, known.nodata]], np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {c.value: (*c.rgb, 255) for c in known})
    raster = open_class_raster(path)
    assert raster.legend == known
    assert raster.named
    assert raster.notes[0] == f"class names of the legend {name!r}, whose colours the file has"


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", None), ("uint8", 0), ("int16", -1), ("uint8", 250)])
def test_a_published_legend_is_used_when_it_is_asked_for(
    tmp_path: Path, write_raster: Write, dtype: str, nodata: int | None
) -> None:
    pixels = np.array([[11, 95, 7]]).astype(dtype)
    if nodata is not None:
        pixels[0, 2] = nodata
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels, nodata=nodata), legend="NLCD")
    names = {c.value: c.name for c in raster.legend}
    assert (names[11], names[95]) == ("Open Water", "Emergent Herbaceous Wetlands")
    assert raster.named
    assert raster.legend.nodata == (250 if nodata == 250 else 0)
    if nodata is None:
        assert names[7] == "class 7"
        assert "values without a name, called 'class 7' and so on: 7" in raster.notes
    else:
        assert set(names) == set(well_known("nlcd").values)
        assert read(raster)[0, 2] == raster.legend.nodata


def test_the_colours_of_the_file_go_before_those_of_a_legend_asked_for_by_name(
    tmp_path: Path, write_raster: Write
) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[1, 2]], np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {1: (1, 2, 3, 255)})
    colors = {c.name: c.color for c in open_class_raster(path, legend="dynamic-world").legend}
    assert (colors["Trees"], colors["Crops"]) == ("#010203", "#e49635")


def test_nodata_of_the_file_goes_before_a_class_of_a_published_legend(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[0, 1, 8]], np.uint8), nodata=0)
    raster = open_class_raster(path, legend="dynamic-world")
    assert raster.legend.nodata == 0
    assert raster.legend.names == well_known("dynamic-world").names[1:]
    assert raster.notes[0] == "the file's nodata value 0 goes before the class 'Water' of the legend 'dynamic-world'"


def test_a_legend_of_the_caller_is_kept_as_it_is(tmp_path: Path, write_raster: Write) -> None:
    path = write_named(write_raster, tmp_path / "a.tif", np.array([[4, 4, 7], [5, 7, 9]], np.uint8))
    given_ = Legend(classes=Legend.unnamed((9, 4, 5)).classes, nodata=7)
    with pytest.raises(ParameterError, match=r"a\.tif: has the values 9, which the legend lacks: add them"):
        open_class_raster(path, legend=Legend.unnamed((4, 5), nodata=7))
    raster = open_class_raster(path, legend=given_)
    assert raster.legend is given_
    np.testing.assert_array_equal(read(raster), [[4, 4, 7], [5, 7, 9]])


def test_nodata_of_the_file_becomes_that_of_the_caller_s_legend(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[0, 1, 200, 2]], np.uint8), nodata=200)
    raster = open_class_raster(path, legend=Legend.unnamed((0, 1, 2)))
    np.testing.assert_array_equal(read(raster), [[0, 1, 255, 2]])
    with pytest.raises(ParameterError, match="nodata value 200 is the class 'class 200' of the legend"):
        open_class_raster(path, legend=Legend.unnamed((0, 1, 2, 200)))


def test_a_published_legend_that_does_not_fit_is_refused(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[51, 53]], np.uint8))
    with pytest.raises(ParameterError, match=r"none of its values \(51, 53\) is in the legend 'corine'"):
        open_class_raster(path, legend="corine")
    with pytest.raises(ParameterError, match="no legend is called 'urban atlas'"):
        open_class_raster(path, legend="urban atlas")


def test_names_that_several_classes_have_are_told_apart(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", MAP, nodata=255)
    names = "".join(f"<Category>{n}</Category>" for n in ("", "wood", "wood", "wood (1)", "class 9"))
    text = f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(text)
    raster = open_class_raster(path)
    assert len(set(raster.legend.names)) == 4
    assert all(str(c.value) in c.name for c in raster.legend if c.value in (1, 2))
    extended = raster.legend_of([9])
    assert len(set(extended.names)) == 5


def test_many_values_without_names_or_colours_are_pointed_out(tmp_path: Path, write_raster: Write) -> None:
    raster = open_class_raster(write_raster(tmp_path / "a.tif", np.arange(100, dtype=np.uint8)[None]))
    assert "100 values without names or colours: check that it is a class map, not an image" in raster.notes


@pytest.mark.parametrize(
    ("pixels", "profile", "message"),
    [
        (np.ones((2, 2), "float32"), {}, "pixels of float32, .* convert it with gdal_translate -ot Int16"),
        (np.ones((2, 2), "complex64"), {}, "pixels of complex64"),
        (np.ones((3, 2, 2), "uint8"), {}, r"has 3 bands, .* gdal_translate -b 1"),
        (np.ones((2, 2, 2), "uint8"), {}, "has 2 bands"),
        (np.arange(600, dtype="int16")[None], {}, "too many classes: more than 255 different values, from 0 to 599"),
        (np.arange(-9, 247, dtype="int16")[None], {}, "more than 255 different values, from -9 to 246"),
        (np.array([[3, 1 << 31]], "uint32"), {}, "its values go from 3 to 2147483648, .* 32 bits"),
        (np.arange(256, dtype="uint8")[None], {}, "too many classes: it has 256 values, from 0 to 255"),
        (np.full((2, 2), 7, "uint8"), {"nodata": 7}, "holds no class: every pixel is nodata"),
        (np.ones((2, 2), "uint8"), {"crs": None}, "has no CRS"),
        (np.ones((2, 2), "uint8"), {"transform": None}, "no geotransform"),
        (np.ones((2, 2), "uint8"), {"crs": "EPSG:4326"}, "latitudes from .* beyond the pole: .* gdal_edit.py -a_srs"),
    ],
)
def test_what_is_no_class_map_is_refused(
    tmp_path: Path, write_raster: Write, pixels: Any, profile: dict[str, Any], message: str
) -> None:
    path = write_raster(tmp_path / "a.tif", pixels, **profile)
    with pytest.raises(SceneError, match=rf"a\.tif: .*{message}"):
        open_class_raster(path)


def test_a_raster_with_control_points_only_is_refused(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", MAP, transform=None, crs=None)
    points = [GroundControlPoint(row=r, col=c, x=500000 + c, y=5000000 - r) for r, c in ((0, 0), (0, 3), (2, 0))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = (points, "EPSG:32633")
    with pytest.raises(SceneError, match="3 ground control points but no geotransform; warp it"):
        open_class_raster(path)


@pytest.mark.parametrize(
    "changed", [np.ones((3, 3), np.int16), np.ones((2, 3), np.uint8), np.full((2, 3), 300, np.int16)]
)
def test_a_raster_that_changed_is_not_read(tmp_path: Path, write_raster: Write, changed: Any) -> None:
    raster = open_class_raster(write_raster(tmp_path / "a.tif", np.ones((2, 3), np.int16)))
    write_raster(tmp_path / "a.tif", changed)
    with pytest.raises(SceneError, match="changed"):
        read(raster)


def test_a_scan_reads_along_the_blocks_and_sees_every_pixel(tmp_path: Path, write_raster: Write) -> None:
    pixels = np.full((2100, 2500), 7, np.uint8)
    pixels[[0, -1, 1000], [2499, 0, 1300]] = (1, 2, 3)
    path = write_raster(tmp_path / "a.tif", pixels, tiled=True, blockxsize=256, blockysize=512, compress="DEFLATE")
    raster = open_class_raster(path)
    assert (raster.legend.values, raster.block_shape) == ((1, 2, 3, 7), (512, 256))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_values_outside_of_a_byte_are_classes_like_any_other(tmp_path: Path, write_raster: Write, dtype: str) -> None:
    low, high = (-7, 120) if dtype == "int8" else (1, 523)
    pixels = np.array([[low, low, high], [high, 9, 4]], dtype)
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels, nodata=4))
    assert raster.legend.class_ids == (low, 9, high)
    assert raster.legend.names == (f"class {low}", "class 9", f"class {high}")
    assert (raster.legend.nodata, raster.legend.nodata_id) == (255, 4)
    assert "no observation: 4" in raster.notes
    numbers = {c.value: c.class_id for c in raster.legend} | {255: 4}
    np.testing.assert_array_equal(np.vectorize(numbers.get)(read(pickle.loads(pickle.dumps(raster)))), pixels)


@given(
    codes=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=255, unique=True),
    seed=st.integers(0, 99),
    masked=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_values_are_they_come_back_from_the_legend(
    tmp_path: Path, write_raster: Write, codes: list[int], seed: int, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.choice(np.array(codes, np.int16), (20, 20))
    pixels[0, : len(codes)] = codes[:20]
    nodata = codes[0] if masked and len(codes) > 1 else None
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels, nodata=nodata))
    found = read(raster)
    valid = np.ones(pixels.shape, bool) if nodata is None else pixels != nodata
    numbers = np.zeros(256, np.int64)
    numbers[list(raster.legend.values)] = raster.legend.class_ids
    np.testing.assert_array_equal(found != raster.legend.nodata, valid)
    np.testing.assert_array_equal(numbers[found[valid]], pixels[valid])
    assert set(raster.legend.class_ids) == set(pixels[valid].tolist())


@pytest.mark.parametrize(
    ("pixels", "numbers"),
    [
        (np.array([[1, 23, 44]], np.uint8), (1, 23, 44)),
        (np.array([[1, 23, 44]], np.int16), (1, 23, 44)),
        (np.array([[111, 311, 523]], np.int16), (111, 311, 523)),
        (np.array([[111, 211, 231]], np.uint8), (111, 211, 231)),  # the south of a country
        (np.array([[111, 311, 523, 999]], np.uint16), (111, 311, 523)),
    ],
)
def test_the_legend_of_corine_fits_both_of_its_numberings(
    tmp_path: Path, write_raster: Write, pixels: Any, numbers: tuple[int, ...]
) -> None:
    raster = open_class_raster(write_raster(tmp_path / "a.tif", pixels), legend="corine")
    names = {c.class_id: (c.name, c.color) for c in raster.legend}
    plain = {c.value: (c.name, c.color) for c in well_known("corine")}
    grid_codes = dict(zip(numbers, (1, 23, 44) if numbers[1] != 211 else (1, 12, 18), strict=True))
    assert {v: names[v] for v in numbers} == {v: plain[grid_codes[v]] for v in numbers}
    # of the codes a byte holds half
    assert len(raster.legend) == (22 if numbers[1] == 211 else 44) + (999 in pixels)
    values = {c.class_id: c.value for c in raster.legend}
    assert read(raster).tolist() == [[values[v] for v in pixels[0].tolist()]]


def test_names_of_a_table_reach_values_outside_of_a_byte(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[111, 311, 523]], np.int16), nodata=-1)
    rows = "".join(
        f'<Row index="{i}"><F>{v}</F><F>{n}</F></Row>'
        for i, (v, n) in enumerate(((311, "wood"), (523, "sea"), (700, "ice")))
    )
    fields = (
        "<FieldDefn><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>"
        "<FieldDefn><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>"
    )
    table = f"<GDALRasterAttributeTable>{fields}{rows}</GDALRasterAttributeTable>"
    text = f'<PAMDataset><PAMRasterBand band="1">{table}</PAMRasterBand></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(text)
    legend = open_class_raster(path).legend
    assert dict(zip(legend.class_ids, legend.names, strict=True)) == {
        111: "class 111", 311: "wood", 523: "sea", 700: "ice",
    }  # fmt: skip


def test_a_coded_map_that_changed_is_not_read(tmp_path: Path, write_raster: Write) -> None:
    raster = open_class_raster(write_raster(tmp_path / "a.tif", np.array([[111, 523]], np.int16)))
    write_raster(tmp_path / "a.tif", np.array([[111, 522]], np.int16))
    with pytest.raises(SceneError, match="has other values than before: it changed"):
        read(raster)


@pytest.mark.skipif(not DATA.exists(), reason="the folder of real data is not here")
@pytest.mark.parametrize(
    ("name", "n", "nodata", "some", "named"),
    [
        ("class-maps/usda_cdl_2021_30m_nw.tif", 133, 0, {1: "Corn", 24: "Winter Wheat", 176: "Grass/Pasture"}, True),
        ("class-maps/chesapeake_7class_1m.tif", 5, 15, {1: "class 1", 6: "class 6"}, False),
        ("zion-landsat8-nlcd/train/zion_north_label.tif", 8, 255, {4: "forest", 7: "cultivated"}, True),
        ("zion-landsat8-nlcd/nlcd_native_grid_north.tif", 8, 255, {1: "water", 8: "wetlands"}, True),
        ("brandenburg-s2l1c-osm/label_osm_10m.tif", 7, 0, {5: "meadow/grass", 7: "residential"}, True),
        ("amazon-s2rgb-forest/train/amazon_1110_25_label.tif", 2, 0, {1: "forest", 2: "non-forest"}, True),
        ("riotiler-fixtures/cog_cmap.tif", 11, 0, {1: "class 1"}, False),
    ],
)
def test_real_maps_open_with_their_classes(name: str, n: int, nodata: int, some: dict[int, str], named: bool) -> None:
    raster = open_class_raster(DATA / name)
    assert (len(raster.legend), raster.legend.nodata, raster.named) == (n, nodata, named)
    names = {c.value: c.name for c in raster.legend}
    assert {v: names[v] for v in some} == some
    height, width = (min(1000, n) for n in raster.geobox.shape)
    with rasterio.open(DATA / name) as dataset:
        stored = dataset.read(1, window=((0, height), (0, width)))
    classes = raster.read(0, 0, height, width)
    np.testing.assert_array_equal(classes, stored)
    assert set(np.unique(classes).tolist()) <= {*raster.legend.values, nodata}
