"""Two grids as one: shifted, cut, of other pixels, in another CRS, apart."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import Resampling, reproject
from scipy.ndimage import gaussian_filter

from geoseg.change.grids import align
from geoseg.change.maps import ArrayMap
from geoseg.change.sampling import Sampled, Shifted
from geoseg.errors import InputError
from geoseg.inference.lattice import Block, blocks

NODATA = 255


def grid(shape: tuple[int, int], *, pixel: float = 10, x: float = 0, y: float = 0, crs: str = "EPSG:32633") -> GeoBox:
    return GeoBox(shape, Affine(pixel, 0, 500_000 + x, 0, -pixel, 5_000_000 - y), crs)


def natural(shape: tuple[int, int], *, sigma: float = 3.0, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(4)]
    return np.asarray(np.argmax(fields, axis=0), dtype=np.uint8)


def whole(geobox: GeoBox) -> Block:
    return Block(row_off=0, col_off=0, height=int(geobox.shape[0]), width=int(geobox.shape[1]))


def taken(before: GeoBox, after: GeoBox, pixels: Any, confidence: Any = None) -> Any:
    found = align(before, after)
    return found, *found.after.take(whole(found.geobox), ArrayMap(classes=pixels, confidence=confidence), NODATA)


@given(st.integers(-12, 12), st.integers(-12, 12), st.integers(5, 14), st.integers(5, 14))
def test_the_same_grid_is_used_as_it_is_whatever_its_origin(down: int, across: int, height: int, width: int) -> None:
    before, after = grid((10, 11)), grid((height, width), x=10 * across, y=10 * down)
    rows = max(0, down), min(10, down + height)
    cols = max(0, across), min(11, across + width)
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        with pytest.raises(InputError, match="do not overlap"):
            align(before, after)
        return
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    found, classes, _ = taken(before, after, pixels)
    assert isinstance(found.after, Shifted)
    assert (found.row_off, found.col_off) == (rows[0], cols[0])
    assert found.geobox == before[rows[0] : rows[1], cols[0] : cols[1]]
    np.testing.assert_array_equal(classes, pixels[rows[0] - down : rows[1] - down, cols[0] - across : cols[1] - across])
    cut = found.geobox.shape != (10, 11) or (height, width) != (10, 11)
    said = [n for n in found.notes if "only the common area" in n]
    assert bool(said) == cut
    assert ("the second map has" in "".join(said)) == (found.geobox.shape != (height, width))


def test_pixels_that_differ_by_a_hair_are_the_same_only_where_that_adds_up_to_nothing() -> None:
    same, other = grid((1000, 1000), pixel=10 + 1e-9), grid((1000, 1000), pixel=10.001)
    assert isinstance(align(grid((1000, 1000)), same).after, Shifted)
    assert isinstance(align(grid((1000, 1000)), other).after, Sampled)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_finer_pixels_give_the_most_frequent_class(factor: int) -> None:
    fine = natural((40 * factor, 30 * factor), sigma=factor)
    fine[: 3 * factor, : 2 * factor] = NODATA
    percent = np.random.default_rng(1).integers(0, 101, fine.shape).astype(np.uint8)
    found, classes, conf = taken(grid((40, 30)), grid(fine.shape, pixel=10 / factor), fine, percent)
    assert found.after.points == factor
    assert f"most frequent of {factor} x {factor} points" in found.notes[0]
    cells = fine.reshape(40, factor, 30, factor).swapaxes(1, 2).reshape(40, 30, -1)
    cell_conf = percent.reshape(40, factor, 30, factor).swapaxes(1, 2).reshape(40, 30, -1)
    for at in np.ndindex(40, 30):
        counts = np.bincount(cells[at], minlength=256)
        if counts[NODATA] * 2 > factor**2:
            assert (classes[at], conf[at]) == (NODATA, 255)
            continue
        assert classes[at] == np.argmax(counts[:NODATA])
        assert abs(conf[at] - cell_conf[at][cells[at] == classes[at]].mean()) <= 0.5


def test_coarser_pixels_give_the_class_they_lie_in() -> None:
    coarse = natural((20, 15), sigma=1)
    found, classes, _ = taken(grid((40, 30)), grid((20, 15), pixel=20), coarse)
    assert found.after.points == 1
    np.testing.assert_array_equal(classes, coarse.repeat(2, axis=0).repeat(2, axis=1))


def test_a_grid_half_a_pixel_off_takes_one_neighbour_everywhere() -> None:
    pixels = natural((300, 200))
    found, classes, _ = taken(grid((300, 200)), grid((300, 200), x=5, y=5), pixels)
    assert isinstance(found.after, Sampled)
    # a centre that lies on the corner of four pixels belongs to the one below right; what is left of it is outside
    np.testing.assert_array_equal(classes, pixels)


@pytest.mark.parametrize(
    ("crs", "pixel"), [("EPSG:32632", 10), ("EPSG:3035", 10), ("EPSG:4326", 1e-4), ("EPSG:3857", 14)]
)
def test_another_crs_gives_the_class_at_each_pixel_centre(crs: str, pixel: float) -> None:
    before = grid((400, 300))
    centre = Transformer.from_crs(32633, crs, always_xy=True).transform(501_500, 4_998_000)
    after = GeoBox(
        (700, 800), Affine(pixel, 0, centre[0] - 400 * pixel, 0, -pixel, centre[1] + 350 * pixel), crs
    )  # fmt: skip
    pixels = natural((700, 800), sigma=6)
    found, classes, _ = taken(before, after, pixels)
    rows, cols = np.mgrid[0 : found.geobox.shape[0], 0 : found.geobox.shape[1]] + 0.5
    x, y = found.geobox.affine @ (cols, rows)
    x, y = Transformer.from_crs(32633, crs, always_xy=True).transform(x, y)
    col, row = ~after.affine @ (x, y)
    inside = (row >= 0) & (row < 700) & (col >= 0) & (col < 800)
    row, col = (np.clip(np.floor(n).astype(int), 0, m - 1) for n, m in ((row, 700), (col, 800)))
    expected = np.where(inside, pixels[row, col], NODATA)
    # positions are good to a fiftieth of a pixel: only centres that close to an edge may fall on its other side
    assert (classes != expected).mean() < 0.01
    assert inside.all() or "common area" in found.notes[-1]
    gdal = np.full(classes.shape, NODATA, np.uint8)
    reproject(
        pixels, gdal, src_transform=after.affine, src_crs=crs, dst_transform=found.geobox.affine,
        dst_crs="EPSG:32633", resampling=Resampling.nearest, dst_nodata=NODATA, tolerance=0,
    )  # fmt: skip
    assert (classes != gdal).mean() < 0.01


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:32633", 7.3), ("EPSG:32632", 12), ("EPSG:32632", 3)])
def test_what_is_taken_does_not_depend_on_the_cut(crs: str, pixel: float) -> None:
    before = grid((150, 170))
    shape = (int(3000 / pixel), int(3000 / pixel))
    x, y = Transformer.from_crs(32633, crs, always_xy=True).transform(499_500, 5_000_500)
    after = GeoBox(shape, Affine(pixel, 0, x, 0, -pixel, y), crs)
    pixels = natural(shape, sigma=4)
    percent = np.random.default_rng(2).integers(0, 101, shape).astype(np.uint8)
    found, classes, conf = taken(before, after, pixels, percent)
    read = ArrayMap(classes=pixels, confidence=percent)
    for side in (37, 64, 100):
        for block in blocks(*found.geobox.shape, block_height=side, block_width=side + 5):
            at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
            piece, piece_conf = found.after.take(block, read, NODATA)
            np.testing.assert_array_equal(piece, classes[at])
            np.testing.assert_array_equal(255 if piece_conf is None else piece_conf, conf[at])


def test_a_block_with_too_many_pixels_of_the_second_map_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = natural((400, 300), sigma=4)
    found, classes, _ = taken(grid((40, 30)), grid((400, 300), pixel=1), fine)
    monkeypatch.setattr("geoseg.change.sampling.MOST_PIXELS", 1000)
    sizes = []

    def read(block: Block) -> Any:
        sizes.append(block.height * block.width)
        return ArrayMap(classes=fine)(block)

    again, _ = found.after.take(whole(found.geobox), read, NODATA)
    np.testing.assert_array_equal(again, classes)
    assert max(sizes) <= 1000


@pytest.mark.parametrize(
    "after",
    [
        grid((10, 10), x=1000),
        grid((10, 10), pixel=7, x=1000),
        GeoBox((10, 10), Affine(1e-4, 0, 20, 0, -1e-4, 40), "EPSG:4326"),
        GeoBox((10, 10), Affine(1e-4, 0, 15.02, 0, -1e-4, 45.15), "EPSG:4326"),
    ],
    ids=["same grid", "other pixels", "far away", "beside it"],
)
def test_maps_apart_are_refused_with_where_they_lie(after: GeoBox) -> None:
    with pytest.raises(InputError, match=r"a\.tif and b\.tif do not overlap: the first covers 1\d\.\d+ to"):
        align(grid((10, 10)), after, names=("a.tif", "b.tif"))


@pytest.mark.parametrize(
    ("crs", "turn", "pixel"), [("EPSG:4326", 360.0, 0.25), ("EPSG:3857", 2 * np.pi * 6378137, 64.0)]
)
@pytest.mark.parametrize("finer", [1, 2])
def test_longitudes_may_be_counted_from_anywhere(crs: str, turn: float, pixel: float, finer: int) -> None:
    here = GeoBox((6, 8), Affine(pixel, 0, -turn / 2, 0, -pixel, 40 * pixel), crs)
    there = GeoBox((6 * finer, 8 * finer), Affine(pixel / finer, 0, turn / 2, 0, -pixel / finer, 40 * pixel), crs)
    coarse = natural((6, 8), sigma=1)
    fine = coarse.repeat(finer, 0).repeat(finer, 1)
    for before, after, pixels, expected in ((here, there, fine, coarse), (there, here, coarse, fine)):
        found, classes, _ = taken(before, after, pixels)
        assert found.geobox == before
        np.testing.assert_array_equal(classes, expected)
