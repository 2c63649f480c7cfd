"""Stored pixels become network input by one multiplication and one addition, and nodata becomes the fill."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.inference.normalise import Normalisation

DTYPES = ["uint8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
CPU = torch.device("cpu")
GAIN, BIAS = (0.0001, 1 / 64, -3.0), (-0.1, -2.0, 0.5)


def stored(dtype: str, seed: int, rows: int = 7, cols: int = 19) -> Any:
    rng = np.random.default_rng(seed)
    if dtype.startswith("f"):
        return rng.normal(0, 1e3, (3, rows, cols)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (3, rows, cols), dtype=dtype, endpoint=True)


def plain(pixels: Any, valid: Any, fill: float) -> Any:
    """The formula as it is written, (row, col, band)."""
    gain, bias = (np.array(v, np.float32) for v in (GAIN, BIAS))
    last = np.moveaxis(pixels, 0, -1).astype(np.float32)
    return np.where(valid[:, :, None], last * gain + bias, np.float32(fill))


def cut(normalise: Normalisation, pixels: Any, valid: Any, rows: slice, cols: slice) -> Any:
    """What `Normalisation.cut` writes into a larger array of -99."""
    held = normalise.hold(pixels)
    out = np.full((rows.stop - rows.start + 2, cols.stop - cols.start + 3, len(pixels)), -99, np.float32)
    normalise.cut(held, valid, rows, cols, out)
    return out


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DTYPES), st.integers(0, 999), st.integers(1, 600), st.sampled_from([0.0, -2.5]), st.data())
def test_network_input_is_gain_times_stored_plus_bias(
    dtype: str, seed: int, cols: int, fill: float, data: st.DataObject
) -> None:
    pixels = stored(dtype, seed, cols=cols)
    valid = np.random.default_rng(seed).random(pixels.shape[1:]) < 0.7
    (top, bottom), (left, right) = (
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in pixels.shape[1:]
    )
    found = cut(Normalisation(gain=GAIN, bias=BIAS, fill=fill), pixels, valid, slice(top, bottom), slice(left, right))
    expected = plain(pixels, valid, fill)[top:bottom, left:right]
    np.testing.assert_array_equal(found[: bottom - top, : right - left], expected)
    found[: bottom - top, : right - left] = -99
    assert (found == -99).all()


@pytest.mark.parametrize("n_bands", range(1, 8))
def test_every_number_of_bands_is_normalised(n_bands: int) -> None:
    pixels = np.random.default_rng(n_bands).integers(0, 999, (n_bands, 3, 300), dtype=np.uint16)
    gain, bias = (tuple(np.random.default_rng(i).random(n_bands).tolist()) for i in (1, 2))
    normalise = Normalisation(gain=gain, bias=bias)
    found = cut(normalise, pixels, np.ones((3, 300), bool), slice(0, 3), slice(0, 300))[:3, :300]
    expected = np.moveaxis(pixels, 0, -1).astype(np.float32) * np.array(gain, np.float32) + np.array(bias, np.float32)
    np.testing.assert_array_equal(found, expected)


def test_what_is_not_observed_never_reaches_the_network() -> None:
    pixels = stored("float64", 0)
    pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 2, 2] = np.nan, np.inf, -1.7976931348623157e308
    valid = np.ones(pixels.shape[1:], bool)
    valid[[0, 1, 2], [0, 1, 2]] = False
    normalise = Normalisation(gain=GAIN, bias=BIAS)
    assert np.isfinite(cut(normalise, pixels, valid, slice(0, 7), slice(0, 19))).all()
    assert torch.isfinite(normalise.on_device(normalise.hold(pixels), valid, CPU)).all()


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_normalises_like_the_compiled_kernel(dtype: str, device: str) -> None:
    pixels = stored(dtype, 3)
    valid = np.random.default_rng(0).random(pixels.shape[1:]) < 0.7
    normalise = Normalisation(gain=GAIN, bias=BIAS, fill=-1.0)
    there = normalise.on_device(normalise.hold(pixels), valid, torch.device(device)).cpu().numpy()
    here = cut(normalise, pixels, valid, slice(0, 7), slice(0, 19))[:7, :19]
    np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6)
