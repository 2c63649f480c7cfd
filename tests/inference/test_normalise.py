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


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(DTYPES), st.integers(0, 999), st.integers(1, 50), st.sampled_from([0.0, -2.5]))
def test_network_input_is_gain_times_stored_plus_bias(dtype: str, seed: int, cols: int, fill: float) -> None:
    pixels = stored(dtype, seed, cols=cols)
    valid = np.random.default_rng(seed).random(pixels.shape[1:]) < 0.7
    normalised = Normalisation(gain=GAIN, bias=BIAS, fill=fill)(pixels, valid, CPU)
    assert normalised.dtype == torch.float32
    np.testing.assert_array_equal(normalised.numpy(), plain(pixels, valid, fill))


def test_what_is_not_observed_never_reaches_the_network() -> None:
    pixels = stored("float64", 0)
    pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 2, 2] = np.nan, np.inf, -1.7976931348623157e308
    valid = np.ones(pixels.shape[1:], bool)
    valid[[0, 1, 2], [0, 1, 2]] = False
    assert torch.isfinite(Normalisation(gain=GAIN, bias=BIAS)(pixels, valid, CPU)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_accelerator_normalises_like_the_cpu(dtype: str) -> None:
    pixels = stored(dtype, 3)
    valid = np.random.default_rng(0).random(pixels.shape[1:]) < 0.7
    normalise = Normalisation(gain=GAIN, bias=BIAS, fill=-1.0)
    there = normalise(pixels, valid, torch.device("cuda")).cpu().numpy()
    np.testing.assert_allclose(there, normalise(pixels, valid, CPU).numpy(), rtol=1e-6, atol=1e-6)
