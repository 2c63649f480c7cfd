"""The public names, used together as a user would."""

import importlib

import numpy as np
import pytest

import geoseg
from tests.conftest import Command, WriteScene, read


@pytest.mark.parametrize("name", [n for n in geoseg.__all__ if n != "__version__"])
def test_a_public_name_is_the_one_its_module_defines(name: str) -> None:
    value = getattr(geoseg, name)
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'segmnt'"):
        geoseg.segmnt  # noqa: B018  # type: ignore[attr-defined]


def test_the_five_lines_give_what_the_command_gives(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(shape=(150, 200), nodata=0)
    scene = geoseg.open_scene(path)
    maps = geoseg.segment(scene, geoseg.load_model("kmeans:3"), choices=geoseg.Choices(seed=1), block_size=64)
    polygons = geoseg.vectorize(maps.classes)
    areas = geoseg.class_areas(maps.classes)

    ended = geoseg_command("run", path, "-o", path.parent / "out", "-m", "kmeans:3", "--seed", 1)
    assert ended.code == 0
    folder = path.parent / "out" / "scene"
    np.testing.assert_array_equal(maps.classes.values, read(folder / "scene_classes.tif"))
    np.testing.assert_array_equal(maps.confidence.values, read(folder / "scene_confidence.tif"))
    import geopandas as gpd
    import pandas as pd

    assert len(polygons) == len(gpd.read_file(folder / "scene_polygons.gpkg", layer="landcover"))
    table = pd.read_csv(folder / "scene_areas.csv")
    assert areas["area_m2"].tolist() == table["area_m2"].tolist()
    assert maps.classes.odc.geobox == scene.geobox


def test_a_path_of_text_works_too(write_scene: WriteScene) -> None:
    path = write_scene()
    assert geoseg.open_scene(str(path)) == geoseg.open_scene(path)
