"""Parts: any block, any portions of rows, damage is seen."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import OutputError, ParameterError
from geoseg.inference.lattice import Block
from geoseg.outputs.parts import Part, PartWriter, check_part, iter_strips


@pytest.fixture
def part(tmp_path: Path, rasters: Any, whole: Any, write_parts: Any) -> Part:
    written: list[Part] = write_parts(tmp_path, rasters, [whole(rasters)])
    return written[0]


def test_a_part_holds_both_rasters(part: Part, rasters: Any) -> None:
    with rasterio.open(part.path) as dataset:
        assert (dataset.block_shapes[0], dataset.compression.name) == ((512, 512), "zstd")
        np.testing.assert_array_equal(dataset.read(), np.stack(rasters))
    assert part.size == part.path.stat().st_size
    assert [len(c) for c in part.crcs] == [2 * 3, 2 * 3]


def test_a_part_holds_probabilities_when_it_is_to(
    tmp_path: Path, rasters: Any, probabilities: Any, whole: Any, write_parts: Any
) -> None:
    part: Part = write_parts(tmp_path, (*rasters, probabilities), [whole(rasters)])[0]
    with rasterio.open(part.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), np.concatenate([np.stack(rasters), probabilities]))
        assert not {kind.name for kind in dataset.colorinterp} & {"red", "alpha"}
    assert [len(c) for c in part.crcs] == [2 * 3] * 5
    assert (part.n_probabilities, part.bands_of("classes"), part.bands_of("probabilities")) == (3, (1,), (3, 4, 5))
    assert pickle.loads(pickle.dumps(part)) == part
    assert Part.from_dict(json.loads(json.dumps(part.to_dict()))) == part
    strips = dict(iter_strips(part, "probabilities"))
    assert {row: s.shape for row, s in strips.items()} == {0: (3, 512, 1100), 512: (3, 188, 1100)}
    np.testing.assert_array_equal(np.concatenate(list(strips.values()), axis=1), probabilities)


def test_a_part_without_probabilities_has_none_to_give(part: Part) -> None:
    assert (part.n_probabilities, part.bands_of("probabilities")) == (0, ())
    with pytest.raises(ParameterError, match="has no probabilities: compute it with them"):
        next(iter_strips(part, "probabilities"))


@pytest.mark.parametrize("band", range(5))
def test_damage_to_any_band_is_seen(
    tmp_path: Path, rasters: Any, probabilities: Any, whole: Any, write_parts: Any, band: int
) -> None:
    everything = (*rasters, probabilities)
    part = write_parts(tmp_path, everything, [whole(rasters)])[0]
    (tmp_path / "other").mkdir()
    changed = [raster.copy() for raster in everything]
    (changed[band] if band < 2 else changed[2][band - 2])[600, 1000] ^= 1
    other = write_parts(tmp_path / "other", changed, [whole(rasters)])[0]
    other.path.replace(part.path)
    with pytest.raises(OutputError, match="does not hold what was written to it"):
        check_part(part)


def test_a_part_travels_to_workers_and_into_the_journal(part: Part) -> None:
    assert pickle.loads(pickle.dumps(part)) == part
    assert Part.from_dict(part.to_dict()) == part


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), height=st.integers(1, 1100), width=st.integers(1, 600))
def test_rows_may_come_in_any_portions(data: st.DataObject, height: int, width: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(height * width)
    n = data.draw(st.integers(0, 4))
    classes, confidence, *shares = rng.integers(0, 256, (2 + n, height, width), dtype=np.uint8)
    probabilities = np.reshape(shares, (n, height, width)).astype(np.uint8)
    block = Block(
        row_off=data.draw(st.integers(0, 5000)), col_off=data.draw(st.integers(0, 5000)), height=height, width=width
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, height), max_size=6)))
    with PartWriter(tmp_path / "p.tif", block=block, n_probabilities=n) as writer:
        for first, end in zip([0, *cuts], [*cuts, height], strict=True):
            writer.write_rows(classes[first:end], confidence[first:end], probabilities[:, first:end] if n else None)
        part = writer.finish()
    check_part(part)
    check_part(part, quick=True)
    for kind, pixels in (("classes", classes), ("confidence", confidence)):
        np.testing.assert_array_equal(np.vstack([s for _, s in iter_strips(part, kind)]), pixels)  # type: ignore[arg-type]
    if n:
        found = np.concatenate([s for _, s in iter_strips(part, "probabilities")], axis=1)
        np.testing.assert_array_equal(found, probabilities)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "other"])
def test_damage_is_seen(
    part: Part, damage: str, quick: bool, tmp_path: Path, rasters: Any, whole: Any, write_parts: Any
) -> None:
    data = bytearray(part.path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x10
        part.path.write_bytes(data)
    elif damage == "cut":
        part.path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        part.path.write_bytes(b"")
    elif damage == "gone":
        part.path.unlink()
    else:
        (tmp_path / "other").mkdir()
        other = write_parts(tmp_path / "other", (rasters[0][::-1], rasters[1]), [whole(rasters)])[0]
        other.path.replace(part.path)
    with pytest.raises(OutputError, match=r"part .* does not hold what was written to it: remove it, then run again"):
        check_part(part, quick=quick)


def test_a_writer_left_early_leaves_nothing(tmp_path: Path) -> None:
    block = Block(row_off=0, col_off=0, height=600, width=10)
    rows = np.zeros((513, 10), np.uint8)
    with PartWriter(tmp_path / "p.tif", block=block) as writer:
        writer.write_rows(rows, rows)
        with pytest.raises(ParameterError, match="only 513 of 600 rows"):
            writer.finish()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.zeros((2, 9), np.uint8), r"do not fit a block 10 px wide"),
        (np.zeros((2, 10), np.int16), r"int16 .* do not fit"),
        (np.zeros((7, 10), np.uint8), r"7 more rows do not fit: the block has 6 of 6 left"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: Any, match: str) -> None:
    block = Block(row_off=0, col_off=0, height=6, width=10)
    with PartWriter(tmp_path / "p.tif", block=block) as writer, pytest.raises(ParameterError, match=match):
        writer.write_rows(rows, rows)


@pytest.mark.parametrize(
    ("n_probabilities", "given"),
    [(0, np.zeros((1, 2, 10), np.uint8)), (2, None), (2, np.zeros((3, 2, 10), np.uint8)), (2, np.zeros((2, 2, 10)))],
)
def test_probabilities_that_do_not_fit_are_refused(tmp_path: Path, n_probabilities: int, given: Any) -> None:
    block = Block(row_off=0, col_off=0, height=6, width=10)
    rows = np.zeros((2, 10), np.uint8)
    with (
        PartWriter(tmp_path / "p.tif", block=block, n_probabilities=n_probabilities) as writer,
        pytest.raises(ParameterError, match=rf"do not fit this part: give uint8 of shape \({n_probabilities}, 2, 10\)"),
    ):
        writer.write_rows(rows, rows, given)


def test_a_part_is_checked_against_what_was_given_not_what_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = Block(row_off=0, col_off=0, height=600, width=10)
    rows = np.ones((600, 10), np.uint8)
    with PartWriter(tmp_path / "p.tif", block=block) as writer:
        monkeypatch.setattr(writer, "_dataset", _Forgetful(writer._dataset))
        writer.write_rows(rows, rows)
        with pytest.raises(OutputError, match="does not hold what was written"):
            writer.finish()
    assert not list(tmp_path.iterdir())


class _Forgetful:
    """A dataset that loses its second write and says nothing, as rasterio's does on a full disk."""

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._writes = dataset, 0

    def write(self, *args: Any, **kwargs: Any) -> None:
        self._writes += 1
        if self._writes != 2:
            self._dataset.write(*args, **kwargs)

    def close(self) -> None:
        self._dataset.close()
