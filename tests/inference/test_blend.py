"""Shares are a running mean: the weighted mean of all windows, and exact where they agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.inference.blend import BLENDS, shares, weights
from geoseg.inference.lattice import Axis


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    window = draw(st.integers(1, 40))
    return Axis(length=draw(st.integers(1, 150)), window=window, stride=draw(st.integers(1, window)))


def running(axis: Axis, blend: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running mean over windows (window, pixel of the window), as the stream computes it."""
    mean = np.zeros(max(axis.length, axis.window))
    for start, share, value in zip(axis.starts, shares(axis, blend), values, strict=True):
        here = mean[start : start + axis.window]
        here += share * (value - here)
    return mean[: axis.length]


def plain(axis: Axis, blend: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted sum over the sum of weights; for ``centre`` the window in which a pixel is most central."""
    weight = weights(blend, axis.window)
    each = np.zeros((len(values), max(axis.length, axis.window)))
    what = np.zeros_like(each)
    for i, start in enumerate(axis.starts):
        each[i, start : start + axis.window] = weight
        what[i, start : start + axis.window] = values[i]
    if blend == "centre":
        each = (np.arange(len(each))[:, None] == each.argmax(axis=0)).astype(float)
    mean: NDArray[np.float64] = (each * what).sum(axis=0) / each.sum(axis=0)
    return mean[: axis.length]


@given(axes(), st.sampled_from(BLENDS), st.integers(0, 9))
def test_shares_give_the_weighted_mean(axis: Axis, blend: str, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(len(axis.starts), axis.window))
    np.testing.assert_allclose(running(axis, blend, values), plain(axis, blend, values), atol=1e-5)


@given(axes(), st.sampled_from(BLENDS), st.integers(0, 9))
def test_windows_that_agree_give_their_value_exactly(axis: Axis, blend: str, seed: int) -> None:
    scene = np.random.default_rng(seed).normal(size=max(axis.length, axis.window)) * 1e3
    values = np.stack([scene[s : s + axis.window] for s in axis.starts])
    np.testing.assert_array_equal(running(axis, blend, values), scene[: axis.length])


@given(axes(), st.sampled_from(BLENDS))
def test_the_first_window_of_a_pixel_takes_all_and_none_more(axis: Axis, blend: str) -> None:
    covered = np.zeros(max(axis.length, axis.window), bool)
    for start, share in zip(axis.starts, shares(axis, blend), strict=True):
        here = covered[start : start + axis.window]
        assert (share[~here] == 1).all()
        assert ((share >= 0) & (share <= 1)).all()
        here[:] = True


@given(st.integers(1, 600), st.sampled_from(BLENDS))
def test_weights_are_above_zero_symmetric_and_highest_in_the_middle(window: int, blend: str) -> None:
    weight = weights(blend, window)
    assert weight.shape == (window,)
    assert (weight > 0).all()
    np.testing.assert_allclose(weight, weight[::-1])
    assert (np.diff(weight[: (window + 1) // 2]) >= 0).all()


def test_weights_are_the_published_ones() -> None:
    hann = [0.03806023, 0.3086583, 0.6913417, 0.9619398]
    np.testing.assert_allclose(weights("hann", 8)[:4], hann, rtol=1e-6)
    np.testing.assert_allclose(weights("linear", 8)[:4], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(weights("gaussian", 256)[[0, -1]], 3.57e-4, rtol=2e-3)


@pytest.mark.parametrize("blend", ["hann", "linear"])
def test_half_sample_windows_sum_to_one_at_half_overlap(blend: str) -> None:
    weight = weights(blend, 16)
    np.testing.assert_allclose(weight[:8] + weight[8:], 1)


def test_centre_crops_the_halo() -> None:
    crop = shares(Axis(length=12, window=8, stride=4), "centre")
    assert crop[1].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_an_unknown_shape_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="'cosine' is not known: choose one of gaussian, hann"):
        weights("cosine", 8)
