"""Temperature scaling."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import InputError, ParameterError
from geoseg.evaluate.temperature import fit_temperature, mean_nll
from tests.evaluate.conftest import worked_example


def test_the_worked_example_with_a_closed_form() -> None:
    example = worked_example("decision_calibration", "temperature_closed_form")
    logits, labels = (np.array(example["inputs"][name]) for name in ("logits", "labels"))
    found, expected = fit_temperature(logits, labels), example["expected"]
    assert found.value == pytest.approx(expected["T"], rel=1e-6)
    assert found.nll_before == pytest.approx(expected["nll_before"], rel=1e-6)
    assert found.nll_after == pytest.approx(expected["nll_after"], rel=1e-6)
    assert found.n == 10


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0.3, 4))
def test_no_other_temperature_is_better_and_that_of_the_labels_is_found(seed: int, truth: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (4000, 4))
    p = torch.softmax(torch.from_numpy(logits / truth), dim=1)
    labels = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(seed)).numpy()[:, 0]
    found = fit_temperature(logits, labels)
    assert found.value == pytest.approx(truth, rel=0.15)
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits) / found.value, torch.from_numpy(labels))
    assert found.nll_after == pytest.approx(float(theirs), rel=1e-9)
    for other in (0.9, 0.99, 1.01, 1.1):
        assert mean_nll(logits, labels, found.value * other) > found.nll_after


def test_logits_that_are_always_right_or_worse_than_guessing_have_no_temperature() -> None:
    with pytest.raises(InputError, match="not trained on"):
        fit_temperature(np.array([[3.0, 1.0], [0.0, 2.0]]), np.array([0, 1]))
    with pytest.raises(InputError, match="less than guessing"):
        fit_temperature(np.array([[3.0, 1.0], [0.0, 2.0]]), np.array([1, 0]))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"give \(n, K\) and \(n,\)"):
        fit_temperature(np.zeros((3, 2)), np.zeros(2, int))
    with pytest.raises(ParameterError, match="one at least"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))


@pytest.mark.parametrize(
    ("logits", "labels"), [([[-np.inf, 1.0], [3.0, 0.0]], [0, 1]), ([[1.0, 2.0], [3.0, 0.0]], [0, 2])]
)
def test_logits_without_a_number_and_labels_of_no_class_are_refused(logits: list[Any], labels: list[int]) -> None:
    with pytest.raises(ParameterError, match="give finite logits, and labels from 0 to 1"):
        fit_temperature(np.array(logits), np.array(labels))
