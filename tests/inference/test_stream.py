"""The rolling strip: exact where windows agree, the same whatever the cut, every source pixel read once."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from geoseg.errors import ModelError
from geoseg.inference.blend import BLENDS, weights
from geoseg.inference.engine import Engine
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block, Lattice, blocks
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stream import stream

CPU = torch.device("cpu")


@dataclass
class ArrayReader:
    """Reads from memory and remembers what was asked for, and by which thread."""

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    asked: NDArray[np.int64] = field(init=False)
    edges: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    closed: int = 0

    def __post_init__(self) -> None:
        self.asked = np.zeros(self.valid.shape, np.int64)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        assert min(row, col) >= 0 < min(height, width)
        assert row + height <= self.valid.shape[0]
        assert col + width <= self.valid.shape[1]
        inside = np.s_[row : row + height, col : col + width]
        self.asked[inside] += 1
        self.edges.append(row + height)
        self.threads.add(threading.get_ident())
        return self.pixels[:, *inside].copy(), self.valid[inside].copy()

    def close(self) -> None:
        self.closed += 1
        self.threads.add(threading.get_ident())


class Counting(nn.Module):
    """A network that counts the windows it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen = 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen += len(windows)
        logits: torch.Tensor = self.network(windows)
        return logits


def convolutions(bands: int = 2, classes: int = 3) -> nn.Module:
    """A small network that looks around each pixel, with padding: windows disagree near their borders."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(bands, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, classes, 1)
    )


def constant(classes: int) -> nn.Module:
    network = nn.Conv2d(2, classes, 1)
    nn.init.zeros_(network.weight)
    return network


def run(
    network: nn.Module,
    reader: ArrayReader,
    lattice: Lattice,
    block: Block | None = None,
    *,
    n_classes: int,
    batch_size: int = 1,
    **options: Any,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits (class, row, col) and validity of a block, put together from its rows."""
    block = block or whole(reader.valid.shape)
    engine = Engine(network=network, device=CPU, batch_size=batch_size)
    bands = len(reader.pixels)
    normalise = Normalisation(gain=(1.0,) * bands, bias=(0.0,) * bands)
    logits, valid, row = [], [], block.row_off
    for rows in stream(reader, engine, lattice, block, normalise=normalise, n_classes=n_classes, **options):
        assert rows.row_off == row
        row += rows.valid.shape[0]
        logits.append(rows.logits.numpy().copy())  # the memory is used again
        valid.append(rows.valid.copy())
    together = np.concatenate(logits, axis=1)
    assert row == block.row_end
    assert together.shape == (n_classes, block.height, block.width)
    return together, np.concatenate(valid)


def whole(shape: Sequence[int]) -> Block:
    return Block(row_off=0, col_off=0, height=shape[0], width=shape[1])


def scene_of(height: int, width: int, *, share_valid: float = 1.0, seed: int = 0) -> ArrayReader:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 100, (2, height, width)).astype(np.float32)
    return ArrayReader(pixels, rng.random((height, width)) < share_valid)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Lattice, Block, dict[str, Any]]:
    """A scene from one pixel to several windows, its lattice, any block of it, and ways to run it."""
    window = draw(st.integers(1, 16))
    size = st.one_of(st.integers(1, 50), st.sampled_from([window, window + 1, max(window - 1, 1)]))
    height, width = draw(size), draw(size)
    lattice = Lattice.cover(
        height,
        width,
        window=window,
        overlap=draw(st.sampled_from([0.0, 0.25, 0.5, 0.7])),
        output_stride=draw(st.sampled_from([1, 4])),
    )
    row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    down, across = draw(st.integers(1, height - row)), draw(st.integers(1, width - col))
    block = Block(row_off=row, col_off=col, height=down, width=across)
    options = {
        "blend": draw(st.sampled_from(BLENDS)),
        "batch_size": draw(st.integers(1, 5)),
        "align": draw(st.sampled_from([1, 2, 7, 16, 2000])),
    }
    return lattice, block, options


def inside(block: Block) -> tuple[slice, slice]:
    return slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)


@settings(max_examples=60)
@given(cuts(), st.sampled_from([1.0, 0.6, 0.02]))
def test_a_model_that_returns_its_input_gives_it_back_bit_for_bit(
    cut: tuple[Lattice, Block, dict[str, Any]], share_valid: float
) -> None:
    lattice, block, options = cut
    reader = scene_of(lattice.rows.length, lattice.cols.length, share_valid=share_valid)
    logits, valid = run(nn.Identity(), reader, lattice, block, n_classes=2, **options)
    np.testing.assert_array_equal(valid, reader.valid[inside(block)])
    np.testing.assert_array_equal(logits[:, valid], reader.pixels[:, *inside(block)][:, valid])


@settings(max_examples=40)
@given(cuts())
def test_a_constant_model_gives_a_constant_map_bit_for_bit(cut: tuple[Lattice, Block, dict[str, Any]]) -> None:
    lattice, block, options = cut
    reader = scene_of(lattice.rows.length, lattice.cols.length)
    network = constant(3)
    logits, _ = run(network, reader, lattice, block, n_classes=3, **options)
    expected = network.state_dict()["bias"].numpy()
    np.testing.assert_array_equal(logits, np.broadcast_to(expected[:, None, None], logits.shape))


@settings(max_examples=60)
@given(cuts(), st.sampled_from([1.0, 0.02]))
def test_each_source_pixel_is_read_once_by_one_thread_that_closes_the_reader(
    cut: tuple[Lattice, Block, dict[str, Any]], share_valid: float
) -> None:
    lattice, block, options = cut
    reader = scene_of(lattice.rows.length, lattice.cols.length, share_valid=share_valid)
    run(nn.Identity(), reader, lattice, block, n_classes=2, **options)
    assert reader.asked.max() == 1
    assert (reader.asked[inside(block)] == 1).all()
    assert reader.closed == 1
    assert len(reader.threads) == 1
    assert threading.get_ident() not in reader.threads
    if options["align"] <= 16:
        assert all(edge % options["align"] == 0 for edge in reader.edges[:-1])


@settings(max_examples=40)
@given(cuts(), st.integers(0, 99))
def test_windows_without_an_observation_are_not_computed(cut: tuple[Lattice, Block, dict[str, Any]], seed: int) -> None:
    lattice, block, options = cut
    reader = scene_of(lattice.rows.length, lattice.cols.length, share_valid=0.02, seed=seed)
    network = Counting(nn.Identity())
    run(network, reader, lattice, block, n_classes=2, **options)
    window = lattice.rows.window
    needed = 0
    for i in lattice.rows.touching(block.row_off, block.row_end):
        for j in lattice.cols.touching(block.col_off, block.col_end):
            top, left = lattice.rows.starts[i], lattice.cols.starts[j]
            needed += bool(reader.valid[top : top + window, left : left + window].any())
    batch = options["batch_size"]
    assert network.seen % batch == 0  # on the CPU a short batch is filled up
    assert needed <= network.seen <= needed * batch
    if batch == 1:
        assert network.seen == needed


@settings(max_examples=30)
@given(cuts(), st.data())
def test_the_cut_does_not_show_in_a_single_bit(cut: tuple[Lattice, Block, dict[str, Any]], data: st.DataObject) -> None:
    lattice, block, options = cut
    reader = scene_of(lattice.rows.length, lattice.cols.length, share_valid=0.8)
    network = convolutions()
    once, valid = run(network, reader, lattice, n_classes=3, **options)
    options["align"] = data.draw(st.integers(1, 20))
    part, seen = run(network, reader, lattice, block, n_classes=3, **options)
    np.testing.assert_array_equal(seen, valid[inside(block)])
    np.testing.assert_array_equal(part[:, seen], once[:, *inside(block)][:, seen])


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(5, 45), st.integers(5, 45)),
    window=st.integers(3, 16),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    blend=st.sampled_from(BLENDS),
)
def test_the_blend_is_the_weighted_mean_of_what_the_windows_say(
    size: tuple[int, int], window: int, overlap: float, blend: str
) -> None:
    height, width = (max(s, window) for s in size)
    lattice = Lattice.cover(height, width, window=window, overlap=overlap)
    reader = scene_of(height, width)
    network = convolutions().eval()
    logits, _ = run(network, reader, lattice, n_classes=3, blend=blend, batch_size=2)
    each = weights(blend, window)
    shape = (len(lattice.rows.starts), len(lattice.cols.starts), height, width)
    total, weight = np.zeros((*shape, 3)), np.zeros(shape)
    for i, top in enumerate(lattice.rows.starts):
        for j, left in enumerate(lattice.cols.starts):
            here = np.s_[top : top + window, left : left + window]
            with torch.inference_mode():
                said = network(torch.from_numpy(reader.pixels[None, :, *here]))[0].numpy()
            total[i, j, *here] = np.moveaxis(said, 0, -1)
            weight[i, j, *here] = np.outer(each, each)
    if blend == "centre":  # the most central window of each axis alone, the earlier when equal
        down, across = weight.max(axis=1, keepdims=True), weight.max(axis=0, keepdims=True)
        row = (np.arange(shape[0])[:, None] == down[:, 0].max(axis=2).argmax(axis=0))[:, None, :, None]
        col = (np.arange(shape[1])[:, None] == across[0].max(axis=1).argmax(axis=0))[None, :, None, :]
        weight = (row & col).astype(float)
    expected = (total * weight[..., None]).sum(axis=(0, 1)) / weight.sum(axis=(0, 1))[..., None]
    np.testing.assert_allclose(np.moveaxis(logits, 0, -1), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "window", "overlap", "mode"),
    [
        ((70, 90), 32, 0.25, "constant"),
        ((64, 97), 32, 0.5, "constant"),
        ((33, 32), 32, 0.0, "constant"),
        ((70, 90), 32, 0.25, "gaussian"),
        ((81, 100), 24, 0.5, "gaussian"),
    ],
)
def test_the_result_is_that_of_monai(size: tuple[int, int], window: int, overlap: float, mode: str) -> None:
    inferers = pytest.importorskip("monai.inferers")
    reader = scene_of(*size)
    reader.pixels /= 100
    lattice = Lattice.cover(*size, window=window, overlap=overlap)
    network = convolutions().eval()
    blend = {"constant": "flat", "gaussian": "gaussian"}[mode]
    logits, _ = run(network, reader, lattice, n_classes=3, blend=blend)
    inferer = inferers.SlidingWindowInferer((window, window), 1, overlap, mode=mode)
    with torch.inference_mode():
        expected = inferer(torch.from_numpy(reader.pixels[None]), network)[0].numpy()
    same = np.ones(size, bool)
    if mode == "gaussian":
        # MONAI raises weights below 0.001, so only pixels that no window weighs so little are comparable
        map_of_weights = np.outer(weights(blend, window), weights(blend, window))
        windows = np.zeros(size, int)
        for top in lattice.rows.starts:
            for left in lattice.cols.starts:
                here = np.s_[top : top + window, left : left + window]
                same[here] &= map_of_weights >= 1e-3
                windows[here] += 1
        same |= windows == 1
    assert same.mean() > 0.3
    np.testing.assert_allclose(logits[:, same], expected[:, same], atol=1e-4)


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    collar=st.tuples(*[st.integers(0, 20)] * 4),
    window=st.integers(1, 12),
    overlap=st.sampled_from([0.0, 0.3, 0.6]),
    blend=st.sampled_from(BLENDS),
)
def test_a_collar_of_nodata_changes_nothing_inside(
    size: tuple[int, int], collar: tuple[int, int, int, int], window: int, overlap: float, blend: str
) -> None:
    above, below, left, right = collar
    bare = scene_of(*size)
    pad = ((above, below), (left, right))
    framed = ArrayReader(
        np.pad(bare.pixels, ((0, 0), *pad), constant_values=np.float32(np.nan)), np.pad(bare.valid, pad)
    )
    found = []
    for reader in (bare, framed):
        lattice = Lattice.cover(*reader.valid.shape, window=window, overlap=overlap)
        pointwise = nn.Sequential(nn.Hardtanh(-50, 50), nn.LeakyReLU(0.3))
        logits, valid = run(pointwise, reader, lattice, n_classes=2, blend=blend)
        found.append(logits[:, valid])
    np.testing.assert_array_equal(found[0], found[1])


def test_a_scene_of_nodata_never_runs_the_network() -> None:
    reader = scene_of(40, 50, share_valid=0)
    network = Counting(nn.Identity())
    _, valid = run(network, reader, Lattice.cover(40, 50, window=16, overlap=0.25), n_classes=2)
    assert network.seen == 0
    assert not valid.any()


def test_pixels_are_mirrored_where_a_scene_is_smaller_than_a_window() -> None:
    class Recording(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            self.window = windows[0].clone()
            return windows

    network = Recording()
    reader = scene_of(3, 5)
    run(network, reader, Lattice.cover(3, 5, window=16, overlap=0), n_classes=2)
    expected = np.pad(reader.pixels, ((0, 0), (0, 13), (0, 11)), mode="reflect")
    np.testing.assert_array_equal(network.window.numpy(), expected)


def test_a_reader_that_fails_is_closed_and_its_error_is_handed_on() -> None:
    reader = scene_of(60, 20)
    reader.valid = reader.valid[:40]  # the rows below cannot be read
    lattice = Lattice.cover(60, 20, window=16, overlap=0)
    with pytest.raises(AssertionError):
        run(nn.Identity(), reader, lattice, whole((60, 20)), n_classes=2)
    assert reader.closed == 1


def test_a_stream_that_is_left_early_closes_its_reader() -> None:
    reader = scene_of(200, 20)
    engine = Engine(network=nn.Identity(), device=CPU, batch_size=1)
    lattice = Lattice.cover(200, 20, window=16, overlap=0)
    normalise = Normalisation(gain=(1.0, 1.0), bias=(0.0, 0.0))
    rows = stream(reader, engine, lattice, whole((200, 20)), normalise=normalise, n_classes=2)
    next(iter(rows))
    rows.close()  # type: ignore[attr-defined]
    assert reader.closed == 1
    assert reader.asked[100:].max() == 0


def test_rows_are_finished_long_before_a_gap_of_nodata_ends() -> None:
    reader = scene_of(1000, 8)
    reader.valid[8:] = False
    engine = Engine(network=nn.Identity(), device=CPU, batch_size=4)
    lattice = Lattice.cover(1000, 8, window=8, overlap=0)
    normalise = Normalisation(gain=(1.0, 1.0), bias=(0.0, 0.0))
    rows = iter(stream(reader, engine, lattice, whole((1000, 8)), normalise=normalise, n_classes=2))
    np.testing.assert_array_equal(next(rows).logits.numpy(), reader.pixels[:, :8])
    assert reader.asked[100:].max() == 0
    assert sum(r.valid.shape[0] for r in rows) == 992


def test_a_model_of_another_resolution_is_refused() -> None:
    reader = scene_of(20, 20)
    with pytest.raises(ModelError, match="one value per class for every pixel"):
        run(nn.MaxPool2d(2), reader, Lattice.cover(20, 20, window=8, overlap=0), n_classes=2)


holes = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59), st.integers(1, 25), st.integers(1, 25)), max_size=3)


@settings(max_examples=12)
@given(boxes=holes.filter(bool), step=st.integers(8, 60), align=st.sampled_from([1, 16]))
def test_an_area_of_interest_changes_no_bit_inside_of_it_and_nothing_else_is_read(
    boxes: list[tuple[int, int, int, int]], step: int, align: int
) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (2, 60, 60), dtype=np.uint8)
    valid = rng.random((60, 60)) > 0.1
    lattice = Lattice.cover(60, 60, window=16, overlap=0.25)
    area = shapely.union_all([shapely.box(c, r, c + w, r + h) for r, c, h, w in boxes])
    asked = Inside(height=60, width=60, outline=shapely.to_wkb(area), digest="", label="")
    network, engine = whole_and_counting()
    how: dict[str, Any] = {
        "normalise": Normalisation(gain=(0.01, 0.02), bias=(-1.0, 0.5)),
        "n_classes": 3,
        "align": align,
    }
    whole, _ = gathered(stream(ArrayReader(pixels, valid), engine, lattice, block_of(60, 60), **how), 60, 60)
    mask = asked.mask(0, 0, 60, 60)
    seen_before = network.seen
    reader = ArrayReader(pixels, valid)
    result, wanted = np.zeros_like(whole), np.zeros((60, 60), np.bool_)
    for block in blocks(60, 60, block_height=step, block_width=60):
        part = stream(reader, engine, lattice, block, inside=asked, **how)
        result[:, block.row_off : block.row_end], wanted[block.row_off : block.row_end] = gathered(
            part, block.height, 60, block.row_off
        )
    np.testing.assert_array_equal(wanted, mask & valid)
    np.testing.assert_array_equal(result[:, wanted], whole[:, wanted])
    touched = asked.touched(lattice)
    needed = np.zeros((60, 60), np.bool_)
    for i, j in zip(*np.nonzero(touched), strict=True):
        row, col = lattice.rows.starts[i], lattice.cols.starts[j]
        needed[row : row + 16, col : col + 16] = True
    # reads come in whole rows of the pieces that lattice rows add, and end on rows of the file's blocks
    assert not reader.asked[:, ~needed.any(axis=0)].any()
    if step == 60:
        assert reader.asked.max() <= 1
        assert (reader.asked[needed] == 1).all()
        assert network.seen - seen_before <= touched.sum()


def whole_and_counting() -> tuple[Counting, Engine]:
    network = Counting(convolutions())
    return network, Engine(network=network, device=CPU, batch_size=1, precision="float32")


def block_of(height: int, width: int) -> Block:
    return Block(row_off=0, col_off=0, height=height, width=width)


def gathered(rows: Any, height: int, width: int, row_off: int = 0) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """All logits (class, row, col) of a block, 0 where not wanted, and where they are."""
    logits, valid = np.zeros((3, height, width), np.float32), np.zeros((height, width), np.bool_)
    for piece in rows:
        inside = slice(piece.row_off - row_off, piece.row_off - row_off + len(piece.valid))
        valid[inside] = piece.valid
        logits[:, inside] = np.where(piece.valid, piece.logits.numpy(), 0)
    return logits, valid
