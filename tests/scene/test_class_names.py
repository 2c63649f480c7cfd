"""Names and colours that files state: category names, attribute tables, tags, colour tables."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geoseg.legend import Legend, LegendClass
from geoseg.outputs.style import pam_xml
from geoseg.scene.class_names import StatedClasses, stated_classes
from geoseg.scene.guard import open_raster

Write = Callable[..., Path]
MAP = np.array([[1, 1, 3], [3, 200, 0]], np.uint8)


def stated(path: Path) -> StatedClasses:
    with open_raster(str(path)) as dataset:
        return stated_classes(dataset, str(path), 1)


def with_pam(path: Path, band: str) -> Path:
    text = f'<PAMDataset><PAMRasterBand band="1">{band}</PAMRasterBand></PAMDataset>'
    path.with_name(f"{path.name}.aux.xml").write_text(text, "utf-8")
    return path


def attribute_table(
    columns: Iterable[tuple[str, int, int]], rows: Iterable[Iterable[object]], attributes: str = ""
) -> str:
    """GDAL's XML of a raster attribute table, written by hand: name, type and usage of columns, then rows."""
    fields = "".join(
        f'<FieldDefn index="{i}"><Name>{n}</Name><Type>{t}</Type><Usage>{u}</Usage></FieldDefn>'
        for i, (n, t, u) in enumerate(columns)
    )
    cells = "".join(
        f'<Row index="{i}">{"".join(f"<F>{escape(str(c))}</F>" for c in row)}</Row>' for i, row in enumerate(rows)
    )
    return f"<GDALRasterAttributeTable {attributes}>{fields}{cells}</GDALRasterAttributeTable>"


@pytest.mark.parametrize("driver", ["GTiff", "HFA"])
def test_names_beside_or_inside_a_raster_are_found(tmp_path: Path, write_raster: Write, driver: str) -> None:
    path = write_raster(tmp_path / {"GTiff": "a.tif", "HFA": "a.img"}[driver], MAP, driver=driver)
    classes = (
        LegendClass(value=1, name="Forêt <&>", color="#112233"),
        LegendClass(value=3, name="eau", color="#0000ff"),
    )
    path.with_name(f"{path.name}.aux.xml").write_text(pam_xml(Legend(classes=classes)), "utf-8")
    found = stated(path)
    assert found.names == {1: "Forêt <&>", 3: "eau"}
    if driver == "GTiff":  # of HFA, GDAL takes the table inside
        assert found.colors == {1: (17, 34, 51), 3: (0, 0, 255)}
    assert found.origin == "its category names"


def test_names_inside_an_hfa_file_that_gdal_wrote_are_found(tmp_path: Path, write_raster: Write) -> None:
    source = with_pam(
        write_raster(tmp_path / "a.tif", MAP),
        "<CategoryNames><Category/><Category>wood</Category><Category/><Category>sea</Category></CategoryNames>",
    )
    with rasterio.open(source) as dataset:
        rasterio.shutil.copy(dataset, tmp_path / "b.img", driver="HFA")
    found = stated(tmp_path / "b.img")
    assert (found.names, (tmp_path / "b.img.aux.xml").exists()) == ({1: "wood", 3: "sea"}, True)


@pytest.mark.parametrize(
    ("columns", "rows", "attributes", "names"),
    [
        # as ArcGIS writes it, without uses
        (
            [("OBJECTID", 0, 0), ("Value", 0, 0), ("Count", 1, 1), ("LABEL1", 2, 0), ("LABEL3", 2, 0)],
            [[0, 1, 9, "Forest", "Mixed forest"], [1, 3, 4, "Water", "Sea"]],
            "",
            {1: "Mixed forest", 3: "Sea"},
        ),
        # as HFA does, rows being bins, with more than one column of text
        (
            [("Histogram", 1, 1), ("Class_Names", 2, 2), ("Legend", 2, 0)],
            [[5, "", "x"], [6, "wood", "y"], [0, " ", "z"], [7, "sea", "w"]],
            'Row0Min="0" BinSize="1"',
            {1: "wood", 3: "sea"},
        ),
        # values that no class can have, and numbers that are none
        (
            [("Value", 1, 5), ("Name", 2, 2)],
            [["-1", "a"], ["256", "b"], ["1.5", "c"], ["nan", "d"], ["3.0", "f"], ["1e999", "g"]],
            "",
            {3: "f"},
        ),
        ([("Value", 0, 5), ("Count", 0, 1)], [[1, 2]], "", {}),
        ([("Class", 2, 2)], [["wood"]], "", {}),
        ([("Value", 0, 5), ("Code", 2, 0)], [[1, "wood"]], "", {}),
    ],
    ids=["arcgis", "bins", "values", "no text", "no values", "no name column"],
)
def test_attribute_tables_give_names(
    tmp_path: Path, write_raster: Write, columns: Any, rows: Any, attributes: str, names: dict[int, str]
) -> None:
    path = with_pam(write_raster(tmp_path / "a.tif", MAP), attribute_table(columns, rows, attributes))
    found = stated(path)
    assert found.names == names
    assert found.origin == ("its raster attribute table" if names else "")


@pytest.mark.parametrize(
    ("kind", "rows", "colors"),
    [
        (0, [[1, 17, 34, 51], [3, 0, 255, 1]], {1: (17, 34, 51), 3: (0, 255, 1)}),
        (1, [[1, 0.2, 0.4, 1], [3, 0, 0, 1]], {1: (51, 102, 255), 3: (0, 0, 255)}),
        (0, [[1, 256, 0, 0], [3, 1, -1, 0], [300, 1, 1, 1], [5, 7, 8, 9]], {5: (7, 8, 9)}),
    ],
    ids=["levels", "shares", "nonsense"],
)
def test_attribute_tables_give_colours(
    tmp_path: Path, write_raster: Write, kind: int, rows: Any, colors: dict[int, tuple[int, int, int]]
) -> None:
    columns = [("Value", 0, 0), ("Red", kind, 0), ("Green", kind, 0), ("Blue", kind, 0)]
    assert stated(with_pam(write_raster(tmp_path / "a.tif", MAP), attribute_table(columns, rows))).colors == colors


def test_the_colour_table_goes_before_the_colours_of_the_attribute_table(tmp_path: Path, write_raster: Write) -> None:
    columns = [("Value", 0, 5), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    path = write_raster(tmp_path / "a.tif", MAP)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {1: (1, 2, 3, 255), 3: (4, 5, 6, 255)})
    found = stated(with_pam(path, attribute_table(columns, [[1, 9, 9, 9]])))
    assert {v: found.colors[v] for v in (0, 1, 3)} == {0: (0, 0, 0), 1: (1, 2, 3), 3: (4, 5, 6)}


def test_the_dbase_table_beside_a_raster_gives_names_and_colours(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", MAP)
    table = pd.DataFrame(
        {
            "Value": [1, 3, 300],
            "Count": [2.0, 2.0, 1.0],
            "Class_Name": ["Wald", "Gewässer", "x"],
            "Red": [1, 2, 3],
            "Green": [4, 5, 6],
            "Blue": [7, 8, 9],
        }
    )
    pyogrio.write_dataframe(table, tmp_path / "a.dbf", driver="ESRI Shapefile")
    (tmp_path / "a.dbf").rename(tmp_path / "a.tif.vat.dbf")
    found = stated(path)
    assert found.names == {1: "Wald", 3: "Gewässer"}
    assert found.colors == {1: (1, 4, 7), 3: (2, 5, 8)}
    assert found.origin == "the .vat.dbf beside it"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
@example(b"", 1, 33, 1)
def test_a_broken_dbase_table_is_passed_over(
    tmp_path: Path, write_raster: Write, tail: bytes, rows: int, header: int, length: int
) -> None:
    path = tmp_path / "a.tif"
    if not path.exists():
        write_raster(path, MAP)
    (tmp_path / "a.tif.vat.dbf").write_bytes(b"\x03aaa" + struct.pack("<IHH", rows, header, length) + bytes(20) + tail)
    assert stated(path).names.keys() <= set(range(256))


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ({"CLASSES": "1=water 2=tree canopy 15=nodata"}, {1: "water", 2: "tree canopy", 15: "nodata"}),
        ({"CLASSES": "1=water, 2=a=b; 3 = (c)"}, {1: "water", 2: "a=b", 3: "(c)"}),
        ({"legend": "10: Tree cover\n20: Shrubland"}, {10: "Tree cover", 20: "Shrubland"}),
        ({"legend": "made at 12:30, see page 3"}, {}),
        ({"CLASSES": "6"}, {}),
        ({"CLASSES": "1= 2=b 300=c 999=d"}, {2: "b"}),
    ],
)
def test_a_tag_may_list_the_classes(
    tmp_path: Path, write_raster: Write, tags: dict[str, str], names: dict[int, str]
) -> None:
    found = stated(write_raster(tmp_path / "a.tif", MAP, tags=tags))
    assert found.names == names
    assert found.origin == (f"its tag {next(iter(tags))}" if names else "")


def test_names_are_of_one_line_and_bounded(tmp_path: Path, write_raster: Write) -> None:
    names = f"<Category> a\n\t b </Category><Category>{'x' * 100_000}</Category><Category> </Category>"
    found = stated(with_pam(write_raster(tmp_path / "a.tif", MAP), f"<CategoryNames>{names}</CategoryNames>"))
    assert found.names == {0: "a b", 1: "x" * 200}


def test_a_side_file_with_entities_gives_nothing(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", MAP)
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "lol"}">' for i in range(10))
    text = (
        f'<!DOCTYPE PAMDataset [{bomb}<!ENTITY f SYSTEM "file:///etc/passwd">]><PAMDataset><PAMRasterBand band="1">'
        "<CategoryNames><Category>&e9;</Category><Category>&f;</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    path.with_name("a.tif.aux.xml").write_text(text, "utf-8")
    assert all(len(n) <= 10 and "root" not in n for n in stated(path).names.values())


def test_a_file_without_any_says_nothing(tmp_path: Path, write_raster: Write) -> None:
    assert stated(write_raster(tmp_path / "a.tif", MAP)) == StatedClasses(names={}, colors={}, origin="")


def test_reading_names_leaves_nothing_beside_the_raster(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", MAP)
    stated(path)
    assert list(tmp_path.iterdir()) == [path]
