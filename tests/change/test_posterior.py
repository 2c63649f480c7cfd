"""Change by class probabilities: the worked examples, plain loops, and what has to hold whatever the numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.change.index import NONE
from geoseg.change.posterior import PairWeights, change_vector, decide_pairs, joint_posterior, prior_ratio
from geoseg.errors import ParameterError
from geoseg.legend import NODATA
from tests.change.conftest import CLASSES, examples

EQUAL = PairWeights(ratio=np.ones((CLASSES, CLASSES)), cost=np.ones((CLASSES, CLASSES)))
BANDS = np.arange(CLASSES, dtype=np.uint8), np.arange(CLASSES, dtype=np.uint8)


@pytest.mark.parametrize("example", examples("probability_change"))
def test_a_worked_example(example: Any) -> None:
    one, two = (np.array(example["inputs"][p]) for p in ("p1", "p2"))
    prior = np.array(example["inputs"]["joint_prior"])
    expected = example["expected"]
    vector, length = change_vector(one, two)
    np.testing.assert_allclose(vector, expected["cvaps_vector"], rtol=1e-9, atol=1e-12)
    assert length == pytest.approx(expected["cvaps_magnitude"], rel=1e-9)
    assert 1 - np.trace(joint_posterior(one, two)) == pytest.approx(expected["p_change_independent"], rel=1e-9)
    joint = joint_posterior(one, two, prior_ratio(prior))
    np.testing.assert_allclose(joint, expected["joint"], rtol=1e-9)
    assert 1 - np.trace(joint) == pytest.approx(expected["p_change_joint"], rel=1e-9)
    assert list(np.unravel_index(joint.argmax(), joint.shape)) == expected["joint_argmax"]
    # the same by the rule that makes maps: bytes of a pixel are divided by their sum, here 100
    shares = [(np.array(p) * 100).round().astype(np.uint8)[:, None, None] for p in (one, two)]
    plain = np.array(expected["post_classification"], np.uint8)[:, None, None]
    weights = PairWeights(ratio=prior_ratio(prior), cost=np.ones(prior.shape))
    decided = decide_pairs(plain[0], plain[1], (shares[0], shares[1]), BANDS, weights)
    assert [decided.before.item(), decided.after.item()] == expected["joint_argmax"]
    assert decided.same.item() == round(100 * (1 - expected["p_change_joint"]))


@st.composite
def dates(draw: Any) -> Any:
    """Places and probabilities of both dates, some without an observation."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    places, shares = [], []
    for _ in range(2):
        parts = draw(hnp.arrays(np.uint8, (CLASSES, *shape), elements=st.integers(0, 80)))
        parts[0] += 1  # something
        seen = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])))
        places.append(np.where(seen, parts.argmax(axis=0), NONE).astype(np.uint8))
        parts[:, ~seen] = NODATA
        shares.append(parts)
    return places[0], places[1], shares[0], shares[1]


@st.composite
def weights(draw: Any) -> PairWeights:
    table = hnp.arrays(np.float64, (CLASSES, CLASSES), elements=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
    never = draw(hnp.arrays(np.bool_, (CLASSES, CLASSES), elements=st.sampled_from([False, False, False, True])))
    return PairWeights(ratio=np.where(never, 0.0, draw(table)), cost=draw(table))


def plainly(was: int, now: int, p: Any, q: Any, w: PairWeights) -> tuple[int, int, int, int]:
    """The rule for one pixel, read aloud."""
    joint = joint_posterior(p / p.sum(), q / q.sum(), w.ratio)
    if joint.sum() == 0:
        return was, was, 255, 255
    stays = np.eye(len(p), dtype=bool)
    risk = joint * w.cost
    changed = risk[~stays].sum() > risk[stays].sum()
    among = np.where(stays == changed, -1.0, risk)
    i, j = np.unravel_index(among.argmax(), among.shape)
    same, pair = int(100 * np.trace(joint) + 0.5), int(100 * joint[i, j] + 0.5)
    return int(i), int(j), same, pair if changed else 255


@given(dates(), weights())
def test_each_pixel_is_what_the_rule_says(both: Any, w: PairWeights) -> None:
    was, now, one, two = both
    found = decide_pairs(was, now, (one, two), BANDS, w)
    for at in np.ndindex(was.shape):
        got = tuple(int(m[at]) for m in (found.before, found.after, found.same, found.pair))
        if NONE in (was[at], now[at]):
            assert got == (was[at], now[at], 255, 255)
            continue
        p, q = (s[(slice(None), *at)].astype(float) for s in (one, two))
        want = plainly(was[at], now[at], p, q, w)
        joint = joint_posterior(p / p.sum(), q / q.sum(), w.ratio)
        risk = joint * w.cost
        stays = np.eye(CLASSES, dtype=bool)
        close = abs(risk[~stays].sum() - risk[stays].sum()) < 1e-9 or np.sum(abs(risk - risk[want[:2]]) < 1e-9) > 1
        if not close:  # what is equal but for the last bit may go either way
            assert got[:2] == want[:2]
            assert all(abs(a - b) <= 1 for a, b in zip(got[2:], want[2:], strict=True))


@given(dates())
def test_dates_swapped_transpose_the_decision(both: Any) -> None:
    was, now, one, two = both
    forth, back = decide_pairs(was, now, (one, two), BANDS, EQUAL), decide_pairs(now, was, (two, one), BANDS, EQUAL)
    np.testing.assert_array_equal(forth.same, back.same)
    np.testing.assert_array_equal(forth.before != forth.after, back.before != back.after)
    joint = (forth.before != forth.after) & (forth.pair != 255)
    np.testing.assert_array_equal(forth.pair[joint], back.pair[joint])


@given(dates())
def test_the_less_change_is_expected_the_less_is_found(both: Any) -> None:
    was, now, *shares = both
    found = []
    for prior in (0.5, 0.2, 0.02):
        joint = np.full((CLASSES, CLASSES), prior / (CLASSES * (CLASSES - 1)))
        np.fill_diagonal(joint, (1 - prior) / CLASSES)
        w = PairWeights(ratio=prior_ratio(joint), cost=EQUAL.cost)
        made = decide_pairs(was, now, (shares[0], shares[1]), BANDS, w)
        found.append((made.before != made.after) & (was != NONE) & (now != NONE))
    assert not (found[1] & ~found[0]).any()
    assert not (found[2] & ~found[1]).any()


@given(dates(), st.permutations(range(CLASSES)))
def test_the_order_of_the_bands_is_of_no_matter(both: Any, order: list[int]) -> None:
    was, now, one, two = both
    plain = decide_pairs(was, now, (one, two), BANDS, EQUAL)
    turned = decide_pairs(was, now, (one, two[order]), (BANDS[0], np.array(order, np.uint8)), EQUAL)
    np.testing.assert_array_equal(plain.before, turned.before)
    np.testing.assert_array_equal(plain.after, turned.after)
    np.testing.assert_array_equal(plain.pair, turned.pair)


def test_certain_maps_decide_what_the_maps_say() -> None:
    was, now = np.random.default_rng(0).integers(0, CLASSES, (2, 9, 9)).astype(np.uint8)
    one, two = (np.where(np.arange(CLASSES)[:, None, None] == m, 254, 0).astype(np.uint8) for m in (was, now))
    found = decide_pairs(was, now, (one, two), BANDS, EQUAL)
    np.testing.assert_array_equal(found.before, was)
    np.testing.assert_array_equal(found.after, now)
    np.testing.assert_array_equal(found.same, np.where(was == now, 100, 0))


def test_classes_that_count_as_one_add_their_probabilities() -> None:
    shares = np.array([[[100]], [[100]], [[54]]], np.uint8)
    later = np.array([[[20]], [[20]], [[214]]], np.uint8)
    two = PairWeights(ratio=np.ones((2, 2)), cost=np.ones((2, 2)))
    united = np.array([0, 0, 1], np.uint8)
    was = np.zeros((1, 1), np.uint8)
    found = decide_pairs(was, was, (shares, later), (united, united), two)
    assert (found.before.item(), found.after.item()) == (0, 1)
    joint = joint_posterior(np.array([200, 54]) / 254, np.array([40, 214]) / 254)
    assert (found.same.item(), found.pair.item()) == (round(100 * np.trace(joint)), round(100 * joint[0, 1]))


def test_a_change_that_is_costly_to_miss_is_called_sooner() -> None:
    one, two = np.array([[[154]], [[100]]], np.uint8), np.array([[[140]], [[114]]], np.uint8)
    was, bands, cost = np.zeros((1, 1), np.uint8), np.arange(2, dtype=np.uint8), np.ones((2, 2))
    assert decide_pairs(was, was, (one, two), (bands, bands), PairWeights(ratio=cost, cost=cost)).after.item() == 0
    cost = np.array([[1.0, 3.0], [1.0, 1.0]])
    found = decide_pairs(was, was, (one, two), (bands, bands), PairWeights(ratio=np.ones((2, 2)), cost=cost))
    assert (found.before.item(), found.after.item()) == (0, 1)
    # and one that is costly to cry out about later
    cost[0, 0] = cost[1, 1] = 3.0
    found = decide_pairs(was, was, (one, two), (bands, bands), PairWeights(ratio=np.ones((2, 2)), cost=cost))
    assert found.after.item() == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: prior_ratio(np.array([[1.0, -0.1], [0.0, 1.0]])), "below 0"),
        (lambda: prior_ratio(np.array([[1.0, 0.0], [1.0, 0.0]])), "each class on each date"),
        (lambda: PairWeights(ratio=np.ones((2, 2)), cost=np.zeros((2, 2))), "above 0"),
        (lambda: PairWeights(ratio=np.full((2, 2), np.nan), cost=np.ones((2, 2))), "finite"),
        (lambda: PairWeights(ratio=np.ones((2, 3)), cost=np.ones((2, 2))), "each pair"),
    ],
)
def test_what_is_no_weight_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()
