"""Confidence against accuracy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from geoseg.errors import ParameterError
from geoseg.evaluate.calibration import reliability
from tests.evaluate.conftest import worked_example


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([5, 10, 15]))
def test_errors_are_those_of_torchmetrics(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    p = torch.from_numpy(rng.dirichlet([1, 1, 1], size=80))
    truth = torch.from_numpy(rng.integers(0, 3, 80))
    confidence, chosen = (t.numpy() for t in p.max(dim=1))
    right = (chosen == truth.numpy()).astype(np.int64)
    found = reliability(confidence, 1 - right, right, bins=bins)
    for norm, value in (("l1", found.ece), ("l2", found.rms), ("max", found.largest)):
        expected = multiclass_calibration_error(p, truth, num_classes=3, n_bins=bins, norm=norm)  # type: ignore[arg-type]
        assert value == pytest.approx(float(expected), abs=1e-6)


def test_the_worked_example_of_two_bins() -> None:
    example = worked_example("decision_calibration", "ece_binary")
    given_, expected = example["inputs"], example["expected"]["left_closed"]
    right = np.array(given_["correct"])
    found = reliability(np.array(given_["confidence"], dtype=float), 1 - right, right, bins=given_["n_bins"])
    # left- and right-closed bins are one here: no value lies on an edge
    assert found.ece == pytest.approx(expected["l1"], rel=1e-9)
    assert found.rms == pytest.approx(expected["l2"], rel=1e-9)
    assert found.largest == pytest.approx(expected["max"], rel=1e-9)


def test_a_value_on_an_edge_belongs_to_the_bin_below() -> None:
    found = reliability(np.arange(11) / 10, np.zeros(11, np.int64), np.ones(11, np.int64), bins=10)
    assert found.pixels.tolist() == [2, *[1] * 9]


def test_what_is_calibrated_has_no_error_and_what_promises_too_much_is_above_nothing() -> None:
    percent = np.arange(0, 101) / 100
    n = np.full(101, 100)
    right = np.arange(0, 101)
    assert reliability(percent, n - right, right).ece == pytest.approx(0, abs=1e-12)
    assert reliability(np.array([0.9]), np.array([50]), np.array([50])).overconfidence == pytest.approx(0.4)
    assert np.isnan(reliability(percent, 0 * n, 0 * n).ece)


def test_confidence_that_is_no_share_is_refused() -> None:
    with pytest.raises(ParameterError, match="from 0 to 1"):
        reliability(np.array([90.0]), np.array([1]), np.array([1]))
