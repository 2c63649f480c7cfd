"""Names that pyogrio would read as addresses."""

from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
from shapely.geometry import Point

from geoseg.errors import InputError
from geoseg.scene.ogr_path import ogr_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "p.shp"
    gpd.GeoDataFrame({"a": [1]}, geometry=[Point(1, 2)], crs=4326).to_file(path)
    return path


@pytest.mark.parametrize("folder", ["a!b", "a;b!c", "line\nbreak"])
def test_a_file_of_several_parts_in_a_folder_of_any_name_is_read(made: Path, tmp_path: Path, folder: str) -> None:
    moved = tmp_path / folder / "p.shp"
    moved.parent.mkdir()
    for part in made.parent.iterdir():
        (moved.parent / part.name).write_bytes(part.read_bytes())
    with ogr_path(moved) as name:
        assert pyogrio.read_dataframe(name).a.tolist() == [1]
    assert not Path(name).exists()  # the handle is closed


def test_an_ordinary_name_stays_what_it_is(made: Path) -> None:
    with ogr_path(made) as name:
        assert name == str(made)


@pytest.mark.parametrize("name", ["a!b.gpkg", "a;b.gpkg", "a\nb.gpkg"])
def test_a_file_that_is_called_so_itself_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(InputError, match=r"exclamation mark, semicolon or line break in a name .* rename it"),
        ogr_path(tmp_path / name),
    ):
        pass
