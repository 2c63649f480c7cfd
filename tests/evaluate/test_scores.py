"""Scores of a confusion matrix."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional import classification as tm

from geoseg.area.agreement import kappa
from geoseg.errors import ParameterError
from geoseg.evaluate.scores import Margins, class_scores, scores

K = 4
LABELS = hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, K - 1))


def matrix_of(truth: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    return np.bincount(truth * K + mapped, minlength=K * K).reshape(K, K)


@settings(max_examples=40)
@given(LABELS, st.randoms(use_true_random=False))
def test_every_score_is_that_of_torchmetrics(truth: np.ndarray, random: object) -> None:
    mapped = np.random.default_rng(len(truth)).integers(0, K, len(truth))
    found = class_scores(Margins.of(matrix_of(truth, mapped)))
    whole = scores(Margins.of(matrix_of(truth, mapped)))
    p, t = torch.from_numpy(mapped), torch.from_numpy(truth)
    nothing: dict[str, Any] = {"num_classes": K, "average": "none"}
    ours: dict[str, Any] = {"iou": tm.multiclass_jaccard_index, "f1": tm.multiclass_f1_score,
            "precision": tm.multiclass_precision, "recall": tm.multiclass_recall}  # fmt: skip
    there = np.isin(np.arange(K), np.concatenate([truth, mapped]))
    for name, theirs in ours.items():
        expected = theirs(p, t, **nothing).numpy()
        np.testing.assert_allclose(np.nan_to_num(getattr(found, name)), expected, atol=1e-6, err_msg=name)
        # a mean is over the classes that are on either side, whatever torchmetrics' defaults are
        assert getattr(whole, f"m{name}") == pytest.approx(expected[there].mean(), abs=1e-6)
    assert whole.accuracy == pytest.approx(float((p == t).float().mean()), abs=1e-6)
    assert whole.fwiou == pytest.approx(float(tm.multiclass_jaccard_index(p, t, K, average="weighted")), abs=1e-6)
    if len({*truth, *mapped}) > 1:
        assert whole.kappa == pytest.approx(float(tm.multiclass_cohen_kappa(p, t, K)), abs=1e-6)
        assert whole.kappa == pytest.approx(kappa(matrix_of(truth, mapped)))


@settings(max_examples=30)
@given(hnp.arrays(np.int64, (K, K), elements=st.integers(0, 1000)))
def test_swapping_the_sides_swaps_precision_and_recall(matrix: np.ndarray) -> None:
    one, other = class_scores(Margins.of(matrix)), class_scores(Margins.of(matrix.T))
    np.testing.assert_array_equal(one.precision, other.recall)
    np.testing.assert_array_equal(one.iou, other.iou)
    np.testing.assert_allclose(one.f1, 2 * one.iou / (1 + one.iou))


def test_a_class_that_neither_side_has_is_left_out_and_one_that_only_one_has_counts_nothing() -> None:
    found = scores(Margins.of(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]])))
    assert found.miou == pytest.approx((0.8 + 0) / 2)
    assert found.mprecision == pytest.approx((1 + 0) / 2)
    assert np.isnan(class_scores(Margins.of(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]]))).iou[2])


def test_many_matrices_at_once_are_each_alone() -> None:
    many = np.random.default_rng(0).integers(0, 50, (5, K, K))
    together = scores(Margins.of(many))
    for i, each in enumerate(many):
        assert together.miou[i] == scores(Margins.of(each)).miou
        assert together.fwiou[i] == scores(Margins.of(each)).fwiou


def test_nothing_compared_has_no_score() -> None:
    found = scores(Margins.of(np.zeros((3, 3), np.int64)))
    assert all(np.isnan(getattr(found, name)) for name in ("accuracy", "miou", "mf1", "fwiou", "kappa"))


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ParameterError, match="same classes"):
        Margins.of(np.zeros((2, 3), np.int64))
