"""Intervals from scenes drawn again."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, bootstrap

from geoseg.errors import ParameterError
from geoseg.evaluate.bootstrap import intervals, intervals_of_draws, intervals_of_sums
from geoseg.evaluate.scores import Margins, scores


def accuracy(margins: Margins) -> NDArray[np.float64]:
    return scores(margins).accuracy


def miou(margins: Margins) -> NDArray[np.float64]:
    return scores(margins).miou


def units(n: int, *, seed: int = 0) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return rng.multinomial(1000, rng.dirichlet([30, 2, 2, 20], size=n)).reshape(n, 2, 2)


def test_intervals_are_those_of_scipy() -> None:
    matrices = units(25)

    def statistic(index: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return miou(Margins.of(matrices[index].sum(axis=index.ndim - 1)))

    expected = bootstrap(
        (np.arange(25),), statistic, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = intervals(Margins.of(matrices), miou, draws=4000)
    assert (float(found.low), float(found.high)) == pytest.approx(tuple(expected), abs=2e-3)


def test_accuracy_of_scenes_that_are_right_or_wrong_is_binomial() -> None:
    right = np.arange(40) < 30
    matrices = np.zeros((40, 2, 2), np.int64)
    matrices[right, 0, 0] = matrices[~right, 0, 1] = 100
    found = intervals(Margins.of(matrices), accuracy, level=0.9)
    assert [found.low, found.high] == pytest.approx([binom.ppf(q, 40, 0.75) / 40 for q in (0.05, 0.95)], abs=0.026)


def test_scenes_alike_leave_no_doubt_and_one_alone_says_nothing() -> None:
    alike = intervals(Margins.of(np.stack([np.array([[3, 1], [0, 4]])] * 5)), miou)
    assert alike.low == pytest.approx(0.775)
    assert alike.high == pytest.approx(0.775)
    alone = intervals(Margins.of(units(1)), miou)
    assert np.isnan(alone.low)
    assert np.isnan(alone.high)


def test_intervals_of_sums_are_those_of_margins_that_are_added_up() -> None:
    margins = Margins.of(units(15))
    sums = np.stack([margins.agreed, margins.reference, margins.predicted], axis=1)
    expected = intervals(margins, miou)
    found = intervals_of_sums(
        sums, lambda s: miou(Margins(agreed=s[:, 0], reference=s[:, 1], predicted=s[:, 2])), draws=2000
    )
    assert (found.low, found.high) == (expected.low, expected.high)
    assert np.isnan(intervals_of_sums(sums[:1], lambda s: s[:, 0, 0]).low)
    drawn = intervals_of_draws(lambda counts: counts @ sums[:, 0, 0], 15, level=0.8)
    summed = intervals_of_sums(sums[:, 0, 0], lambda s: s, level=0.8)
    assert (drawn.low, drawn.high) == (summed.low, summed.high)


def test_the_same_scenes_give_the_same_interval() -> None:
    one, two = (intervals(Margins.of(units(12)), miou) for _ in range(2))
    assert (one.low, one.high) == (two.low, two.high)


def test_a_class_in_one_scene_only_is_judged_by_the_draws_that_have_it() -> None:
    matrices = np.zeros((8, 2, 2), np.int64)
    matrices[:, 0, 0] = 10
    matrices[0, 1, 1] = 10

    def second(margins: Margins) -> NDArray[np.float64]:
        from geoseg.evaluate.scores import class_scores

        return class_scores(margins).iou[..., 1]

    found = intervals(Margins.of(matrices), second)
    assert [float(found.low), float(found.high)] == [1, 1]


def test_a_level_that_is_no_share_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"such as 0\.95"):
        intervals(Margins.of(units(3)), miou, level=95)
