"""Class and confidence: the highest logit, the lowest class when equal, softmax in percent, nothing made up."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from geoseg.errors import ModelError
from geoseg.inference.decide import _decide_device, decide

NODATA = 255
WIDTHS = st.integers(1, 70) | st.sampled_from([511, 512, 513, 1100])


def logits_of(seed: int, classes: int, rows: int = 5, cols: int = 37, spread: float = 4.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, spread, (classes, rows, cols)).astype(np.float32)


def decided(logits: NDArray[np.float32], valid: Any = None, **more: Any) -> tuple[Any, Any]:
    seen = np.ones(logits.shape[1:], bool) if valid is None else valid
    options: dict[str, Any] = {"values": range(1, len(logits) + 1), "nodata": NODATA} | more
    return decide(torch.from_numpy(logits), seen, **options)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    classes=st.integers(1, 12),
    cols=WIDTHS,
    spread=st.sampled_from([0.01, 1.0, 10.0, 1e4, 1e30]),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_class_and_confidence_are_argmax_and_softmax(
    seed: int, classes: int, cols: int, spread: float, temperature: float
) -> None:
    logits = logits_of(seed, classes, cols=cols, spread=spread)
    found, confidence = decided(logits, temperature=temperature)
    np.testing.assert_array_equal(found, logits.argmax(axis=0) + 1)
    percent = 100 * softmax(logits.astype(np.float64) / temperature, axis=0).max(axis=0)
    assert np.abs(confidence - percent).max() <= 0.5 + 1e-3
    assert found.dtype == confidence.dtype == np.uint8


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(1, 12), cols=WIDTHS, ties=st.booleans())
def test_both_ways_to_decide_agree(seed: int, classes: int, cols: int, ties: bool) -> None:
    logits = logits_of(seed, classes, cols=cols)
    if ties:
        logits = np.round(logits)
    valid = np.random.default_rng(seed).random(logits.shape[1:]) < 0.7
    values = torch.arange(1, classes + 1, dtype=torch.uint8)
    found, confidence = decided(logits, valid, temperature=2.0)
    tensor = torch.from_numpy(logits)
    also, percent, good = _decide_device(tensor, values, 0.5, torch.from_numpy(valid), NODATA)
    np.testing.assert_array_equal(found, also.numpy())
    assert np.abs(confidence.astype(int) - percent.numpy().astype(int)).max() <= 1
    assert bool(good)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_equal_logits_give_the_lower_class(classes: int) -> None:
    logits = np.zeros((classes, 3, 21), np.float32)
    found, confidence = decided(logits, values=range(10, 10 + classes))
    assert (found == 10).all()
    assert (confidence == np.uint8(100 / classes + 0.5)).all()
    logits[0] -= 1
    assert (decided(logits, values=range(10, 10 + classes))[0] == 11).all()


def test_a_higher_temperature_changes_no_class_and_lowers_confidence() -> None:
    logits = logits_of(3, 5)
    cold, warm = (decided(logits, temperature=t) for t in (1.0, 4.0))
    np.testing.assert_array_equal(cold[0], warm[0])
    assert (warm[1] <= cold[1]).all()
    assert (warm[1] < cold[1]).any()


def test_class_values_are_the_legends_and_nodata_stays() -> None:
    logits = logits_of(1, 3)
    valid = logits[0] > 0
    found, confidence = decided(logits, valid, values=[254, 0, 7], nodata=9)
    np.testing.assert_array_equal(found, np.where(valid, np.array([254, 0, 7])[logits.argmax(axis=0)], 9))
    assert (confidence[~valid] == 9).all()
    assert confidence[valid].max() <= 100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("col", [0, 20, 36])
def test_a_logit_that_is_no_number_is_an_error_on_valid_pixels_only(bad: float, where: int, col: int) -> None:
    logits = logits_of(2, 3)
    logits[where, 4, col] = bad
    with pytest.raises(ModelError, match=r"not numbers .NaN or .*check its weights"):
        decided(logits)
    valid = np.ones(logits.shape[1:], bool)
    valid[4, col] = False
    found, confidence = decided(logits, valid)
    assert found[4, col] == confidence[4, col] == NODATA
    values = torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert not bool(_decide_device(torch.from_numpy(logits), values, 1.0, torch.ones(5, 37).bool(), NODATA)[2])


def test_all_logits_minus_infinity_are_an_error() -> None:
    with pytest.raises(ModelError, match="not numbers"):
        decided(np.full((3, 2, 2), -np.inf, np.float32))


def test_a_class_ruled_out_by_minus_infinity_is_no_error() -> None:
    logits = logits_of(2, 3)
    logits[1] = -np.inf
    found, _ = decided(logits)
    assert set(np.unique(found)) == {1, 3}


def test_another_number_of_classes_than_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match="3 outputs for 2 classes"):
        decided(logits_of(0, 3), values=[1, 2])


def test_a_view_of_a_longer_strip_is_decided_like_a_copy() -> None:
    logits = logits_of(7, 4, rows=30)
    view = torch.from_numpy(logits)[:, 10:20, 3:30]
    valid = np.ones((10, 27), bool)
    for a, b in zip(
        decide(view, valid, values=range(4), nodata=NODATA),
        decide(view.clone(memory_format=torch.contiguous_format), valid, values=range(4), nodata=NODATA),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
