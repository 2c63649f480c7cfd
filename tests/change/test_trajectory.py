"""Histories of pixels: against the rule read aloud, and together with the hidden Markov model."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.change.hidden import decode_sequence
from geoseg.change.history import believed_ends, decide_history
from geoseg.change.index import NONE
from geoseg.change.posterior_rule import PairNumber
from geoseg.change.temporal import (
    ClassShare,
    TemporalModel,
    TemporalRule,
    interval_transitions,
    temporal_model,
)
from geoseg.change.trajectory import MOST_DATES, trajectory
from geoseg.errors import ParameterError
from geoseg.legend import NODATA, Legend
from tests.change.conftest import CLASSES, maps

LEGEND = Legend.unnamed((1, 2, 3))


@st.composite
def series(draw: Any) -> Any:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return np.stack([draw(maps(shape)) for _ in range(draw(st.integers(1, 5)))])


@settings(max_examples=50)
@given(series())
def test_each_pixel_is_what_its_list_of_classes_says(places: Any) -> None:
    found = trajectory(places)
    for at in np.ndindex(places.shape[1:]):
        seen = [(t, int(p[at])) for t, p in enumerate(places) if p[at] != NONE]
        changes = [t for (_, was), (t, now) in itertools.pairwise(seen) if was != now]
        got = tuple(int(m[at]) for m in (found.first, found.last, found.count, found.final))
        last = seen[-1][1] if seen else NONE
        if len(seen) < 2:
            assert got == (255, 255, 255, last)
        else:
            assert got == (*((changes[0], changes[-1]) if changes else (0, 0)), len(changes), last)


def test_more_dates_than_a_task_can_hold_are_refused() -> None:
    with pytest.raises(ParameterError, match="101 dates: give at most 100"):
        trajectory(np.zeros((MOST_DATES + 1, 1, 1), np.uint8))


@st.composite
def evidence(draw: Any) -> Any:
    """Places and probabilities of some dates, some without an observation."""
    places = draw(series())
    shares = draw(hnp.arrays(np.uint8, (len(places), CLASSES, *places.shape[1:]), elements=st.integers(0, 254)))
    none = np.broadcast_to((places == NONE)[:, None], shares.shape)
    shares[none] = NODATA
    return places, shares


def model_of(n_dates: int, **changes: Any) -> TemporalModel:
    return temporal_model(LEGEND, TemporalRule(**changes), [1.0] * (n_dates - 1))


def joint(model: TemporalModel, emission: Any, steps: tuple[int, ...]) -> float:
    """Probability of a path and of what was seen on it."""
    moves = [model.transitions[t][a, b] for t, (a, b) in enumerate(itertools.pairwise(steps))]
    return float(model.initial[steps[0]] * np.prod(moves) * np.prod(emission[np.arange(len(steps)), steps]))


_TIE = (np.array([0, NONE, 1], np.uint8).reshape(3, 1, 1), np.zeros((3, CLASSES, 1, 1), np.uint8))


@settings(max_examples=40)
@example(_TIE, "marginal", True, True)
@example(_TIE, "path", True, True)
@given(evidence(), st.sampled_from(["path", "marginal"]), st.booleans(), st.booleans())
def test_each_pixel_is_decided_by_the_model_of_its_own_sequence(
    both: Any, decode: Any, fill: bool, by_class: bool
) -> None:
    seen, shares = both
    training = () if by_class else (ClassShare(name="1", share=2.0), ClassShare(name="*", share=1.0))
    model = model_of(len(seen), decode=decode, fill=fill, accuracy=0.8 if by_class else None, training=training[::-1])
    found = decide_history(seen, None if by_class else shares, model)
    for at in np.ndindex(seen.shape[1:]):
        places = seen[(slice(None), *at)]
        known = places != NONE
        emission = np.ones((len(seen), CLASSES))
        for t in np.flatnonzero(known):
            if by_class:
                emission[t] = np.where(np.arange(CLASSES) == places[t], 0.8, 0.1)
            else:
                emission[t] = np.maximum(shares[(t, slice(None), *at)], 0.5) / 254 / np.array([1.5, 0.75, 0.75])
        want = decode_sequence(model.initial, model.transitions, emission)
        got = found.places[(slice(None), *at)]
        counted = (known | fill) & known.any()
        assert (got == NONE).tolist() == (~counted).tolist()
        # two classes, or two paths, may be as probable as each other but for the last bits
        if decode == "marginal":
            likely = want.smoothed[counted, got[counted]]
            np.testing.assert_allclose(likely, want.smoothed[counted].max(axis=1), rtol=1e-9)
        else:
            through = itertools.product(*([int(g)] if c else range(CLASSES) for g, c in zip(got, counted, strict=True)))
            best = max(joint(model, emission, steps) for steps in through)
            assert best == pytest.approx(np.exp(want.log_joint), rel=1e-9)
        posterior = found.posterior[(slice(None), slice(None), *at)]
        assert (posterior[~counted] == NODATA).all()
        assert (posterior[counted].sum(axis=1) == 254).all()
        np.testing.assert_allclose(posterior[counted] / 254, want.smoothed[counted], atol=1 / 254)
        if known.any() and decode == "path":
            share = np.exp(want.log_joint - want.log_likelihood)
            assert abs(int(found.confidence[at]) - 100 * share) <= 0.5 + 1e-6


def test_a_history_that_cannot_be_keeps_the_maps() -> None:
    never = tuple(PairNumber(source=str(i), target=str(i), number=1.0) for i in (1, 2, 3))
    model = model_of(3, accuracy=never, prior=never)
    seen = np.array([[[0, 0]], [[1, 0]], [[0, NONE]]], np.uint8)
    found = decide_history(seen, None, model)
    np.testing.assert_array_equal(found.places, seen)
    assert found.confidence.tolist() == [[255, 100]]
    assert found.posterior[1, :, 0, 0].tolist() == [0, 254, 0]


@pytest.mark.parametrize(("accuracy", "prior", "years"), [(0.88, 0.02, 1), (0.99, 0.05, 1), (0.9, 0.05, 4)])
def test_one_date_against_all_others_is_believed_where_a_change_is_likelier_than_a_mistake(
    accuracy: float, prior: float, years: float
) -> None:
    model = temporal_model(LEGEND, TemporalRule(accuracy=accuracy, prior=prior), [years] * 3)
    stays, changes = model.transitions[0, 0, :2]
    likely = changes * accuracy > stays * (1 - accuracy) / 2
    assert believed_ends(model) == (likely, likely)
    assert believed_ends(model_of(4)) == (True, True)


def test_the_share_of_a_class_in_training_counts_once_and_not_with_every_date() -> None:
    # a class that was 80 % of training gets 0.7 wherever nothing is known of a pixel: that is evidence against it
    shares = np.array([[178, 76, 0]] * 3, np.uint8)[:, :, None, None]
    seen = np.zeros((3, 1, 1), np.uint8)
    plain = decide_history(seen, shares, model_of(3))
    training = (ClassShare(name="*", share=0.1), ClassShare(name="1", share=0.8))
    divided = decide_history(seen, shares, model_of(3, training=training))
    assert plain.places.ravel().tolist() == [0, 0, 0]
    assert divided.places.ravel().tolist() == [1, 1, 1]


@settings(max_examples=30)
@given(
    hnp.arrays(np.float64, (3, 3), elements=st.floats(0.01, 1)), st.floats(0, 12), st.integers(0, 5), st.integers(0, 5)
)
def test_transitions_of_any_interval_are_probabilities_and_whole_years_follow_each_other(
    table: Any, years: float, one: int, two: int
) -> None:
    yearly = table / table.sum(axis=1, keepdims=True)
    step = interval_transitions(yearly, years)
    np.testing.assert_allclose(step.sum(axis=1), 1, rtol=1e-12)
    assert (step >= 0).all()
    both = interval_transitions(yearly, one) @ interval_transitions(yearly, two)
    np.testing.assert_allclose(interval_transitions(yearly, one + two), both, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_has_no_transition_however_long_the_interval() -> None:
    implausible = np.zeros((256, 256), np.bool_)
    implausible[0, 2] = True
    model = temporal_model(LEGEND, TemporalRule(), [0.5, 7.0], implausible)
    assert (model.transitions[:, 0, 2] == 0).all()
    np.testing.assert_allclose(model.transitions.sum(axis=2), 1, rtol=1e-12)
    assert (model.transitions[:, 2, 0] > 0).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"prior": 1.5}, "1.5 of the land changes in a year"),
        ({"accuracy": 0.0}, "0 of the pixels are right"),
        ({"accuracy": 0.9, "training": (ClassShare(name="1", share=1),)}, "go with probabilities"),
        ({"prior": (PairNumber(source="1", target="*", number=1),)}, "no share for 'class 2' before"),
        ({"accuracy": (PairNumber(source="*", target="9", number=1),)}, "names '9', which is no class"),
        ({"accuracy": (PairNumber(source="2", target="2", number=1),)}, "'class 1' as the truth"),
        ({"training": (ClassShare(name="3", share=1),)}, "has none for 'class 1'"),
        ({"decode": "both"}, "choose path or marginal"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_the_reason(changes: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        model_of(3, **changes)
