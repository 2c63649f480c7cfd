"""The hidden Markov model: the worked examples, every path enumerated, and what has to hold whatever the numbers."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.change.hidden import Decoded, decode_sequence
from geoseg.errors import ParameterError
from tests.change.conftest import examples


@pytest.mark.parametrize("example", examples("temporal_hmm"))
def test_a_worked_example(example: Any) -> None:
    given_, expected = example["inputs"], example["expected"]
    found = decode_sequence(*(np.array(given_[name]) for name in ("initial", "T", "emission")))
    np.testing.assert_allclose(found.filtered, expected["filtered"], rtol=1e-9)
    np.testing.assert_allclose(found.smoothed, expected["smoothed"], rtol=1e-9)
    assert found.path.tolist() == expected["viterbi"]
    assert np.exp(found.log_joint) == pytest.approx(expected["viterbi_joint"], rel=1e-9)
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], rel=1e-9)
    if "smoothed_argmax" in expected:
        assert found.smoothed.argmax(axis=1).tolist() == expected["smoothed_argmax"]


def enumerated(initial: Any, steps: Any, emission: Any) -> tuple[Any, Any, Any, float]:
    """Posterior by all dates, by this date and before, the largest joint probability, and the likelihood."""
    d, k = emission.shape

    def joint(path: Any) -> float:
        p = initial[path[0]] * emission[0, path[0]]
        for t in range(1, len(path)):
            p *= steps[t - 1, path[t - 1], path[t]] * emission[t, path[t]]
        return float(p)

    smoothed, filtered = np.zeros((d, k)), np.zeros((d, k))
    most, total = 0.0, 0.0
    for path in itertools.product(range(k), repeat=d):
        p = joint(path)
        most, total = max(most, p), total + p
        for t, state in enumerate(path):
            smoothed[t, state] += p
    for t in range(d):
        for path in itertools.product(range(k), repeat=t + 1):
            filtered[t, path[-1]] += joint(path)
    return smoothed / total, filtered / filtered.sum(axis=1, keepdims=True), most, total


@st.composite
def models(draw: Any) -> Any:
    d, k = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    share = st.floats(0.01, 1)
    initial = draw(hnp.arrays(np.float64, k, elements=share))
    steps = draw(hnp.arrays(np.float64, (d - 1, k, k), elements=share))
    emission = draw(hnp.arrays(np.float64, (d, k), elements=share))
    return initial / initial.sum(), steps / steps.sum(axis=2, keepdims=True), emission


@settings(max_examples=40)
@given(models())
def test_all_that_is_told_is_what_enumerating_every_path_gives(model: Any) -> None:
    found = decode_sequence(*model)
    smoothed, filtered, most, total = enumerated(*model)
    np.testing.assert_allclose(found.smoothed, smoothed, rtol=1e-9)
    np.testing.assert_allclose(found.filtered, filtered, rtol=1e-9)
    assert np.exp(found.log_joint) == pytest.approx(most, rel=1e-9)
    assert np.exp(found.log_likelihood) == pytest.approx(total, rel=1e-9)


@settings(max_examples=20)
@given(models(), st.floats(0.001, 1000))
def test_the_scale_of_the_likelihoods_of_a_date_changes_nothing(model: Any, scale: float) -> None:
    initial, steps, emission = model
    other = emission.copy()
    other[0] *= scale
    one, two = decode_sequence(initial, steps, emission), decode_sequence(initial, steps, other)
    np.testing.assert_allclose(one.smoothed, two.smoothed, rtol=1e-9)


def test_a_date_without_evidence_leaves_what_the_others_say() -> None:
    stay = np.array([[0.9, 0.1], [0.3, 0.7]])
    seen = np.array([[0.9, 0.1], [0.2, 0.8]])
    gap = np.array([[0.9, 0.1], [1.0, 1.0], [0.2, 0.8]])
    start = np.array([0.5, 0.5])
    without, through = decode_sequence(start, stay @ stay, seen), decode_sequence(start, stay, gap)
    np.testing.assert_allclose(through.smoothed[[0, 2]], without.smoothed, rtol=1e-12)
    np.testing.assert_allclose(through.log_likelihood, without.log_likelihood, rtol=1e-12)


def test_a_thousand_dates_neither_overflow_nor_vanish() -> None:
    rng = np.random.default_rng(0)
    found: Decoded = decode_sequence(
        np.full(5, 0.2), np.full((5, 5), 0.01) + 0.95 * np.eye(5), rng.uniform(1e-6, 1e-3, (1000, 5))
    )
    assert np.isfinite(found.log_joint)
    assert found.log_joint < found.log_likelihood
    np.testing.assert_allclose(found.smoothed.sum(axis=1), 1, rtol=1e-9)


def test_what_cannot_be_is_an_error_with_the_reason() -> None:
    never = np.eye(2)
    with pytest.raises(ParameterError, match="no sequence of states"):
        decode_sequence(np.array([0.5, 0.5]), never, np.array([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ParameterError, match=r"give \(2,\) and \(2, 2, 2\)"):
        decode_sequence(np.array([1.0]), never, np.ones((3, 2)))


def test_what_is_ruled_out_stays_so_however_probable_it_made_what_came_later() -> None:
    seen = np.array([[1.0, 0.0]] + 200 * [[1e-3, 1.0]])
    found = decode_sequence(np.array([0.5, 0.5]), np.array([[1.0, 0.0], [0.5, 0.5]]), seen)
    np.testing.assert_array_equal(found.smoothed, np.tile([1.0, 0.0], (201, 1)))
    assert found.log_joint == pytest.approx(np.log(0.5) + 200 * np.log(1e-3))


def test_a_sequence_may_be_less_probable_than_the_least_number() -> None:
    found = decode_sequence(np.array([0.5, 0.5]), np.full((2, 2), 0.5), np.ones((1100, 2)))
    assert found.log_joint == pytest.approx(1100 * np.log(0.5))
