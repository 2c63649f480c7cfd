"""Windows and blocks cover every pixel, leave nothing out, and reach nowhere beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.inference.lattice import Axis, Block, Lattice, blocks, starts

lengths = st.integers(1, 300)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    window = draw(st.integers(1, 64))
    length = draw(st.one_of(lengths, st.sampled_from([max(window - 1, 1), window, window + 1])))
    return Axis(length=length, window=window, stride=draw(st.integers(1, window)))


@given(axes())
def test_windows_cover_every_pixel_none_lies_outside_and_none_comes_twice(axis: Axis) -> None:
    covered = np.zeros(axis.length, int)
    for start in axis.starts:
        assert start >= 0
        assert start + axis.window <= max(axis.length, axis.window)
        covered[start : start + axis.window] += 1
    assert (covered > 0).all()
    assert axis.starts[0] == 0
    steps = np.diff(axis.starts)
    assert ((steps > 0) & (steps <= axis.stride)).all()
    assert (steps[:-1] == axis.stride).all()  # only the last is moved back


@given(axes(), st.data())
def test_windows_that_touch_a_range_are_those_with_a_pixel_in_it(axis: Axis, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, axis.length - 1))
    end = data.draw(st.integers(first + 1, axis.length))
    inside = set(range(first, end))
    plain = [i for i, s in enumerate(axis.starts) if inside & set(range(s, s + axis.window))]
    assert list(axis.touching(first, end)) == plain
    assert plain == list(range(plain[0], plain[-1] + 1))


@pytest.mark.parametrize(("length", "expected"), [(7, (0,)), (8, (0,)), (9, (0, 1)), (14, (0, 6)), (15, (0, 6, 7))])
def test_one_pixel_more_or_less_than_a_window(length: int, expected: tuple[int, ...]) -> None:
    assert starts(length, window=8, stride=6) == expected


def test_starts_are_those_of_monai() -> None:
    assert starts(1000, window=256, stride=192) == (0, 192, 384, 576, 744)
    assert starts(1000, window=256, stride=128) == (0, 128, 256, 384, 512, 640, 744)


@pytest.mark.parametrize(("length", "window", "stride"), [(0, 8, 8), (-1, 8, 8), (10, 8, 9), (10, 8, 0), (10, 0, 0)])
def test_windows_that_cannot_cover_are_refused(length: int, window: int, stride: int) -> None:
    with pytest.raises(ParameterError, match=r"cannot be covered|leaves gaps: choose a stride"):
        starts(length, window=window, stride=stride)


@given(
    window=st.integers(1, 1024),
    overlap=st.floats(0, 1, exclude_max=True),
    output_stride=st.sampled_from([1, 2, 8, 32]),
)
def test_strides_keep_to_the_networks_grid_and_to_the_overlap(window: int, overlap: float, output_stride: int) -> None:
    lattice = Lattice.cover(3000, 2000, window=window, overlap=overlap, output_stride=output_stride)
    stride = lattice.rows.stride
    assert 1 <= stride <= max(1, round(window * (1 - overlap)))
    assert stride % output_stride == 0 or stride < output_stride
    assert lattice.cols.stride == stride


@pytest.mark.parametrize(("window", "overlap"), [(0, 0.5), (64, 1.0), (64, -0.1), (64, float("nan"))])
def test_a_lattice_that_cannot_be_is_refused(window: int, overlap: float) -> None:
    with pytest.raises(ParameterError, match="choose"):
        Lattice.cover(100, 100, window=window, overlap=overlap)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 80), st.integers(1, 80))
def test_blocks_cover_every_pixel_once(height: int, width: int, down: int, across: int) -> None:
    seen = np.zeros((height, width), int)
    for block in blocks(height, width, block_height=down, block_width=across):
        assert block.row_end <= height
        assert block.col_end <= width
        assert block.row_off % down == block.col_off % across == 0
        seen[block.row_off : block.row_end, block.col_off : block.col_end] += 1
    assert (seen == 1).all()


@given(lengths, lengths, st.integers(1, 64), st.floats(0, 0.9))
def test_the_windows_of_one_block_of_all_are_all_windows(height: int, width: int, window: int, overlap: float) -> None:
    lattice = Lattice.cover(height, width, window=window, overlap=overlap)
    whole = Block(row_off=0, col_off=0, height=height, width=width)
    assert lattice.n_windows_of(whole) == lattice.n_windows


@pytest.mark.parametrize("wrong", [{"height": 0}, {"width": 0}, {"row_off": -1}, {"col_off": -1}])
def test_a_block_without_pixels_or_outside_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match="a block"):
        Block(**({"row_off": 0, "col_off": 0, "height": 1, "width": 1} | wrong))


def test_blocks_of_no_size_are_refused() -> None:
    with pytest.raises(ParameterError, match="choose at least 1 x 1"):
        list(blocks(10, 10, block_height=0, block_width=5))
