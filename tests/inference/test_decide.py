"""Class and confidence: the highest logit, the lowest class when equal, softmax in percent, nothing made up.

Probabilities: the softmax in steps of 1/254, by largest remainders.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from geoseg.errors import ModelError
from geoseg.inference.decide import _decide_device, _probabilities_device, decide

NODATA = 255
WIDTHS = st.integers(1, 70) | st.sampled_from([511, 512, 513, 1100])


def logits_of(seed: int, classes: int, rows: int = 5, cols: int = 37, spread: float = 4.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, spread, (classes, rows, cols)).astype(np.float32)


def decided(logits: NDArray[np.float32], valid: Any = None, **more: Any) -> tuple[Any, Any]:
    seen = np.ones(logits.shape[1:], bool) if valid is None else valid
    options: dict[str, Any] = {"values": range(1, len(logits) + 1), "nodata": NODATA} | more
    return decide(torch.from_numpy(logits), seen, **options)[:2]


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
    copy = view.clone(memory_format=torch.contiguous_format)
    for a, b in zip(
        decide(view, valid, values=range(4), nodata=NODATA, probabilities=True),
        decide(copy, valid, values=range(4), nodata=NODATA, probabilities=True),
        strict=True,
    ):
        assert a is not None
        np.testing.assert_array_equal(a, b)


def shares_of(logits: NDArray[np.float32], valid: Any = None, **more: Any) -> NDArray[Any]:
    """Probabilities (class, row, col), as int so that differences are differences."""
    seen = np.ones(logits.shape[1:], bool) if valid is None else valid
    options: dict[str, Any] = {"values": range(1, len(logits) + 1), "nodata": NODATA} | more
    shares = decide(torch.from_numpy(logits), seen, probabilities=True, **options)[2]
    assert shares is not None
    assert shares.dtype == np.uint8
    assert shares.shape == logits.shape
    return shares.astype(int)


def largest_remainders(quotas: NDArray[np.float64]) -> NDArray[Any]:
    """The textbook rule, pixel by pixel, in Python: the oracle. Quotas (class, pixel) add up to 254."""
    given_out = np.floor(quotas).astype(int)
    for pixel in range(quotas.shape[1]):
        left = 254 - given_out[:, pixel].sum()
        losses = quotas[:, pixel] - given_out[:, pixel]
        for k in sorted(range(len(losses)), key=lambda k: (-losses[k], k))[:left]:
            given_out[k, pixel] += 1
    return given_out


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    classes=st.integers(1, 12) | st.just(60),
    cols=WIDTHS,
    spread=st.sampled_from([0.01, 1.0, 10.0, 1e4, 1e30]),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_probabilities_are_the_softmax_by_largest_remainders(
    seed: int, classes: int, cols: int, spread: float, temperature: float
) -> None:
    logits = logits_of(seed, classes, rows=3, cols=cols, spread=spread)
    shares = shares_of(logits, temperature=temperature)
    assert (shares.sum(axis=0) == 254).all()
    quotas = 254 * softmax(logits.astype(np.float64) / temperature, axis=0)
    assert np.abs(shares - quotas).max() < 1 + 2e-3
    expected = largest_remainders(quotas.reshape(classes, -1)).reshape(logits.shape)
    # where two remainders are the same but for the rounding of float32, the last step may go to either
    losses = np.sort(quotas % 1, axis=0)
    close = (np.diff(losses, axis=0) < 4e-3).any(axis=0) | (losses[0] < 2e-3) | (losses[-1] > 1 - 2e-3)
    np.testing.assert_array_equal(shares[:, ~close], expected[:, ~close])
    winner, confidence = decided(logits, temperature=temperature)
    np.testing.assert_array_equal(np.take_along_axis(shares, winner[None].astype(int) - 1, 0)[0], shares.max(axis=0))
    assert np.abs(shares.max(axis=0) / 2.54 - confidence).max() <= 0.5 + 1 / 2.54 + 1e-2


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0], [254]),
        ([0.0, 0.0], [127, 127]),
        ([0.0, 0.0, 0.0], [85, 85, 84]),
        ([0.0, 0.0, 0.0, 0.0], [64, 64, 63, 63]),
        ([-np.inf, 0.0, 0.0], [0, 127, 127]),
        ([-100.0, 50.0, 0.0], [0, 254, 0]),
        (np.log([0.1, 0.2, 0.7]), [25, 51, 178]),  # 25.4, 50.8, 177.8
    ],
)
def test_probabilities_that_can_be_worked_out_by_hand(logits: Any, expected: list[int]) -> None:
    pixel = np.asarray(logits, np.float32)[:, None, None]
    assert shares_of(pixel)[:, 0, 0].tolist() == expected
    on_device = _probabilities_device(torch.from_numpy(pixel), 1.0, torch.ones(1, 1).bool())
    assert on_device[:, 0, 0].tolist() == expected


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(1, 12), cols=WIDTHS, ties=st.booleans())
def test_both_ways_to_share_out_agree_to_a_step(seed: int, classes: int, cols: int, ties: bool) -> None:
    logits = logits_of(seed, classes, cols=cols)
    if ties:
        logits = np.round(logits)
    valid = np.random.default_rng(seed).random(logits.shape[1:]) < 0.7
    shares = shares_of(logits, valid, temperature=2.0)
    also = _probabilities_device(torch.from_numpy(logits), 0.5, torch.from_numpy(valid)).numpy().astype(int)
    assert np.abs(shares - also).max() <= 1
    assert (also.sum(axis=0)[valid] == 254).all()
    # only where remainders are the same to the rounding of float32
    assert (shares != also).any(axis=0).mean() < 0.02 or ties
    for found in (shares, also):
        assert (found[:, ~valid] == 255).all()


def test_probabilities_have_their_own_nodata_and_no_number_is_no_probability() -> None:
    logits = logits_of(1, 3)
    valid = logits[0] > 0
    logits[1, ~valid] = np.nan
    shares = shares_of(logits, valid, values=[254, 0, 7], nodata=9)
    assert (shares[:, ~valid] == 255).all()
    assert (shares[:, valid].sum(axis=0) == 254).all()
    with pytest.raises(ModelError, match=r"give it -10000, not -inf"):
        shares_of(logits)


def test_what_was_not_asked_for_is_not_made_and_asking_changes_nothing_else() -> None:
    logits = torch.from_numpy(logits_of(5, 6, cols=700))
    valid = np.ones((5, 700), bool)
    plain = decide(logits, valid, values=range(6), nodata=NODATA)
    asked = decide(logits, valid, values=range(6), nodata=NODATA, probabilities=True)
    assert plain[2] is None
    assert asked[2] is not None
    for a, b in zip(plain[:2], asked[:2], strict=True):
        np.testing.assert_array_equal(a, b)
