"""Losses against published values, torch's own, and slow plain twins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geoseg.errors import ParameterError
from geoseg.train.class_weights import effective_weights, inverse_weights
from geoseg.train.losses import LOSSES, build_loss
from geoseg.train.pixel_losses import IGNORE, boundary_weight

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "losses.json"


def reference(name: str) -> dict[str, Any]:
    if not REFERENCE.is_file():
        pytest.skip("the worked examples are not here")
    examples = {e["id"]: e for e in json.loads(REFERENCE.read_text("utf-8"))["examples"]}
    found: dict[str, Any] = examples[name]
    return found


def loss(logits: Tensor, target: Tensor, **term: Any) -> float:
    return float(build_loss([term])(logits, target))


def two_classes(example: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A sigmoid's logit as two classes': softmax over (0, x) is the sigmoid of x."""
    x = torch.tensor(example["inputs"]["logits"], dtype=torch.float64)
    return torch.cat([torch.zeros_like(x), x], dim=1), torch.tensor(example["inputs"]["target"])[:, 0].long()


def test_dice_is_as_published() -> None:
    example = reference("dice_sigmoid_2x2")
    logits, target = two_classes(example)
    assert loss(logits, target, name="dice", smooth=1e-6, only=[1]) == pytest.approx(example["expected"]["dice"], 1e-9)
    squared = loss(logits, target, name="dice", smooth=1e-5, squared=True, only=[1])
    assert squared == pytest.approx(example["expected"]["dice_squared_denominator_smooth_1e_5"], 1e-9)


def test_tversky_is_as_published_with_alpha_of_the_false_positives() -> None:
    example = reference("tversky_fp_0_3_fn_0_7")
    value = loss(*two_classes(example), name="tversky", alpha=0.3, beta=0.7, smooth=1e-6, only=[1])
    assert value == pytest.approx(example["expected"]["tversky"], 1e-9)


def test_generalised_dice_is_as_published_also_where_a_class_is_absent() -> None:
    example = reference("generalized_dice_softmax")
    logits = torch.tensor(example["inputs"]["logits"], dtype=torch.float64)[..., None]
    target = torch.tensor(example["inputs"]["target_labels"])[..., None]
    assert loss(logits, target, name="generalised_dice") == pytest.approx(example["expected"]["mean"], 1e-9)
    for i, expected in enumerate(example["expected"]["per_sample"]):
        assert loss(logits[i : i + 1], target[i : i + 1], name="generalised_dice") == pytest.approx(expected, 1e-9)


def test_focal_is_as_published() -> None:
    example = reference("focal_sigmoid")
    logits = torch.tensor(example["inputs"]["logits"], dtype=torch.float64)
    target = torch.tensor(example["inputs"]["target_labels"]).reshape(logits.shape[0], *logits.shape[2:])
    assert loss(logits, target, name="focal", gamma=2.0) == pytest.approx(example["expected"]["mean"], 1e-9)
    elements = LOSSES["focal"]().element(logits, F.one_hot(target).permute(0, 3, 1, 2).double())  # type: ignore[operator]
    np.testing.assert_allclose(elements.numpy(), example["expected"]["elementwise"], rtol=1e-9)
    without = float(elements[:, 1:].mean())
    assert without == pytest.approx(example["expected"]["mean_without_background"], 1e-9)


def test_lovasz_is_as_constructed() -> None:
    example = reference("lovasz_softmax_6px")
    p = torch.tensor(example["inputs"]["probabilities"], dtype=torch.float64)
    logits = p.log().T[None, :, :, None]
    target = torch.tensor(example["inputs"]["labels"])[None, :, None]
    assert loss(logits, target, name="lovasz") == pytest.approx(example["expected"]["loss"], 1e-6)


def a_case(seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, classes, 6, 5), generator=draw, dtype=torch.float64)
    target = torch.randint(0, classes, (2, 6, 5), generator=draw)
    target[0, :2, :3] = IGNORE
    return logits, target


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 3.0]])
def test_cross_entropy_is_torchs_own(smoothing: float, weights: list[float] | None) -> None:
    logits, target = a_case(1)
    ours = build_loss([{"name": "ce", "label_smoothing": smoothing}], class_weight=weights)(logits, target)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    theirs = F.cross_entropy(logits, target, weight=weight, ignore_index=IGNORE, label_smoothing=smoothing)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_predicted_where_labels_are_missing_does_not_matter(name: str) -> None:
    logits, target = a_case(2)
    other = torch.where((target == IGNORE)[:, None], logits * -7.0 + 3.0, logits)
    assert loss(logits, target, name=name) == pytest.approx(loss(other, target, name=name), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_truth_costs_nearly_nothing_and_its_opposite_more(name: str) -> None:
    _, target = a_case(3)
    truth = 40.0 * F.one_hot(target.where(target != IGNORE, 0), 3).permute(0, 3, 1, 2).double() - 20.0
    assert loss(truth, target, name=name) < 1e-4
    assert loss(-truth, target, name=name) > 0.3


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_any_label_has_loss_and_gradient_zero(name: str) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = build_loss([{"name": name}])(logits, torch.full((2, 4, 4), IGNORE))
    value.backward()
    assert float(value.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_one_window_without_labels_in_a_batch_leaves_the_loss_finite(name: str) -> None:
    logits, target = a_case(4)
    target[1] = IGNORE
    options = {"per_image": True} if name == "lovasz" else {}
    assert np.isfinite(loss(logits, target, name=name, **options))


@pytest.mark.parametrize(
    ("term", "other"),
    [
        ({"name": "ce"}, {"name": "ce", "label_smoothing": 0.1}),
        ({"name": "bce"}, {"name": "bce", "label_smoothing": 0.9}),
        ({"name": "ce"}, {"name": "ce", "boundary": 2.0, "boundary_px": 1}),
        ({"name": "ce", "boundary": 2.0, "boundary_px": 1}, {"name": "ce", "boundary": 2.0, "boundary_px": 2}),
        ({"name": "focal"}, {"name": "focal", "gamma": 1.0}),
        ({"name": "focal"}, {"name": "focal", "alpha": 0.25}),
        ({"name": "dice"}, {"name": "dice", "smooth": 5.0}),
        ({"name": "dice"}, {"name": "dice", "squared": True}),
        ({"name": "generalised_dice"}, {"name": "generalised_dice", "smooth": 5.0}),
        ({"name": "jaccard"}, {"name": "jaccard", "smooth": 5.0}),
        ({"name": "tversky"}, {"name": "tversky", "alpha": 0.9}),
        ({"name": "lovasz"}, {"name": "lovasz", "per_image": True}),
    ],
    ids=str,
)
def test_every_option_changes_the_loss(term: dict[str, Any], other: dict[str, Any]) -> None:
    logits, target = a_case(5)
    assert loss(logits, target, **term) != pytest.approx(loss(logits, target, **other), rel=1e-3)


def test_a_weighted_sum_is_the_sum_of_its_weighted_terms() -> None:
    logits, target = a_case(6)
    both = build_loss([{"name": "ce", "weight": 2.0}, {"name": "dice", "weight": 0.5}])(logits, target)
    assert float(both) == pytest.approx(2 * loss(logits, target, name="ce") + loss(logits, target, name="dice") / 2)


def test_focal_without_gamma_is_binary_cross_entropy() -> None:
    logits, target = a_case(7)
    assert loss(logits, target, name="focal", gamma=0.0) == pytest.approx(loss(logits, target, name="bce"))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), radius=st.integers(1, 4))
def test_the_boundary_weight_falls_with_the_chessboard_distance(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, (3, 3)).repeat(3, 0).repeat(3, 1)
    target[rng.random(target.shape) < 0.1] = IGNORE
    got = boundary_weight(torch.from_numpy(target)[None], extra=2.0, radius_px=radius)[0].numpy()
    for row, col in np.argwhere(target != IGNORE):
        others = np.argwhere((target != IGNORE) & (target != target[row, col]))
        d = np.abs(others - [row, col]).max(axis=1).min() if len(others) else np.inf
        assert got[row, col] == pytest.approx(1 + 2.0 * max(0.0, radius + 1 - d) / radius)


def test_inverse_weights_are_one_on_average_and_capped() -> None:
    weights = inverse_weights(np.array([10**6, 10**4, 0, 1]))
    assert weights.tolist()[2] == 1.0
    assert weights.max() < 10.0
    many = inverse_weights(np.array([10**9] * 30 + [1]))
    assert many.max() == 10.0
    assert inverse_weights(np.array([2, 6])).mean() == 1.0


def test_effective_weights_lie_between_none_and_inverse_frequency() -> None:
    counts = np.array([1000, 10])
    flat, inverse = effective_weights(counts, beta=0.0), effective_weights(counts, beta=1 - 1e-9)
    np.testing.assert_allclose(flat, [1, 1])
    np.testing.assert_allclose(inverse, inverse_weights(counts), rtol=1e-3)
    assert 1 < effective_weights(counts, beta=0.99)[1] < inverse[1]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([{"name": "dise"}], "no loss 'dise' .did you mean dice"),
        ([{"name": "ce", "gama": 1}], "no option of the loss ce 'gama': choose from label_smoothing, boundary"),
        ([{"name": "ce", "weight": 0}], "weight 0: choose a number above 0"),
        ([{"name": "ce", "label_smoothing": 1.0}], "label_smoothing 1.0 is no share"),
        ([{"name": "ce", "boundary": -1.0}], "boundary -1.0"),
        ([{"name": "focal", "gamma": -1.0}], "gamma -1.0"),
        ([{"name": "tversky", "alpha": 0.0, "beta": 0.0}], "weigh no mistake"),
        ([], "no loss is named"),
        ([{"weight": 1.0}], "a loss has no name: choose from ce, bce"),
        ([{"name": "ce", "weight": "2"}], "weight 2: choose a number above 0"),
        ([{"name": "ce", "boundary_px": 2.5}], r"boundary_px 2\.5 of the loss ce is no value: write a whole number"),
        ([{"name": "lovasz", "per_image": "no"}], "per_image 'no' of the loss lovasz is no value: write true or false"),
        ([{"name": "focal", "alpha": "big"}], "alpha 'big' of the loss focal is no value: write a number"),
        ([{"name": "ce", "label_smoothing": True}], "label_smoothing True of the loss ce is no value"),
        ([{"name": "dice", "only": 1}], "only 1 of the loss dice is no value: write a list of indices"),
        ([{"name": "jaccard", "only": []}], r"only \[\] of the loss jaccard is no value"),
        ([{"name": "tversky", "only": [0, 2]}], "names the class 2, and the indices of the 2 classes go from 0 to 1"),
        ([{"name": "dice", "smooth": -1}], "smooth -1 is below 0"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(terms: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build_loss(terms, n_classes=2)


def test_an_option_that_may_be_left_out_may_be_null() -> None:
    build_loss([{"name": "focal", "alpha": None}, {"name": "dice", "only": None}], n_classes=2)


def test_class_weights_without_a_loss_that_takes_them_are_refused() -> None:
    with pytest.raises(ParameterError, match="ce, bce and focal"):
        build_loss([{"name": "dice"}], class_weight=[1.0, 2.0])


def test_weights_of_no_class_at_all_are_refused() -> None:
    with pytest.raises(ParameterError, match="no class has a labelled pixel"):
        inverse_weights(np.array([0, 0]))
    with pytest.raises(ParameterError, match=r"beta 1\.0"):
        effective_weights(np.array([1]), beta=1.0)
