"""The plan of a scene: blocks that lie on output tiles and cover each pixel once."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.errors import ParameterError
from geoseg.inference.lattice import TILE
from geoseg.inference.recipe import recipe_for
from geoseg.jobs.plan import ScenePlan, plan_blocks
from geoseg.models.load import load_model
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Band, Scene
from tests.conftest import UTM, WriteScene


def scene_of(height: int, width: int) -> Scene:
    return Scene(
        id="s",
        href="s.tif",
        geobox=GeoBox((height, width), UTM, "EPSG:32633"),
        bands=(Band(name="red", href="s.tif", index=1, dtype="uint8", scale=1.0, offset=0.0, nodata=None),),
        driver="GTiff",
        validity="values",
        block_shape=(256, 256),
        scaled=False,
    )


@given(
    height=st.integers(1, 200_000),
    width=st.integers(1, 200_000),
    at_once=st.integers(1, 64),
    block_size=st.none() | st.sampled_from([4096, 8192, 16384]),
)
def test_blocks_lie_on_tiles_and_cover_each_pixel_once(
    height: int, width: int, at_once: int, block_size: int | None
) -> None:
    blocks = plan_blocks(scene_of(height, width), block_size=block_size, at_once=at_once)
    assert sum(b.height * b.width for b in blocks) == height * width
    assert len({(b.row_off, b.col_off) for b in blocks}) == len(blocks)
    for b in blocks:
        assert b.row_off % TILE == 0
        assert b.col_off % TILE == 0
        assert b.row_end <= height
        assert b.col_end <= width
        assert b.width <= (block_size or 9 * TILE)
        assert b.height <= (block_size or 32 * TILE)


@given(at_once=st.integers(2, 16))
def test_a_big_scene_gives_every_worker_something_to_do(at_once: int) -> None:
    assert len(plan_blocks(scene_of(40_000, 5_000), at_once=at_once)) >= 2 * at_once


@pytest.mark.parametrize("block_size", [0, -512, 1, 511, 513, 1000])
def test_a_block_size_that_shares_tiles_is_refused(block_size: int) -> None:
    with pytest.raises(ParameterError, match="choose a multiple of 512"):
        plan_blocks(scene_of(100, 100), block_size=block_size)


def test_windows_on_borders_are_counted_for_each_block(write_scene: WriteScene) -> None:
    recipe = recipe_for(open_scene(write_scene(shape=(1024, 1024))), load_model("kmeans:2"))
    whole = ScenePlan(recipe=recipe, blocks=plan_blocks(recipe.scene))
    cut = replace(whole, blocks=plan_blocks(recipe.scene, block_size=512))
    assert whole.n_windows == whole.n_forward == cut.n_windows
    assert cut.n_forward >= whole.n_forward
    assert 0 < cut.memory_bytes(1) < whole.memory_bytes(1)
    assert whole.memory_bytes(2) > whole.memory_bytes(1)
    # three classes' worth of rows instead of two's
    three = replace(whole, recipe=recipe_for(recipe.scene, load_model("kmeans:3")))
    more = [plan.memory_bytes(1, probabilities=True) - plan.memory_bytes(1) for plan in (whole, three)]
    assert more[1] == 3 / 2 * more[0] > 0


def test_the_memory_of_a_block_does_not_grow_with_the_scene(tmp_path: Path, write_scene: WriteScene) -> None:
    recipe = recipe_for(open_scene(write_scene()), load_model("kmeans:2"))
    taken = []
    for side in (20_000, 100_000):
        scene = scene_of(side, side)
        big = replace(
            recipe,
            scene=scene,
            lattice=type(recipe.lattice).cover(side, side, window=512, overlap=0.0, output_stride=1),
        )
        taken.append(ScenePlan(recipe=big, blocks=plan_blocks(scene)).memory_bytes(8))
    assert taken[1] == pytest.approx(taken[0], rel=0.25)
