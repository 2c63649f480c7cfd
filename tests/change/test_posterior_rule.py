"""What users say of likely and costly transitions: shares, tables, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.change.posterior import prior_ratio
from geoseg.change.posterior_rule import (
    PairNumber,
    PosteriorRule,
    pair_weights,
    parse_prior,
    read_pair_numbers,
)
from geoseg.errors import InputError, ParameterError
from geoseg.legend import Legend, LegendClass

LEGEND = Legend(
    classes=tuple(LegendClass(value=v, name=n, color="#00aa00") for v, n in ((1, "water"), (2, "forest"), (5, "crop")))
)


def test_a_share_is_a_prior_in_which_all_changes_are_alike() -> None:
    weights = pair_weights(LEGEND, PosteriorRule(prior=0.06))
    joint = np.full((3, 3), 0.01)
    np.fill_diagonal(joint, 0.94 / 3)
    np.testing.assert_allclose(weights.ratio, prior_ratio(joint))
    # read back as a joint prior of equal classes it has that share of change
    assert (weights.ratio / 9)[~np.eye(3, dtype=bool)].sum() == pytest.approx(0.06)
    assert (weights.cost == 1).all()


def test_later_rows_go_before_earlier_ones_and_a_star_is_any_class(tmp_path: Path) -> None:
    (tmp_path / "prior.csv").write_text("from,to,share\n*,*,0.01\nwater,*,0\nwater,water,10\nForest,5,2\n")
    (tmp_path / "costs.csv").write_text("from;to;cost\n*;crop;4\nforest;forest;2\n")
    prior = parse_prior(str(tmp_path / "prior.csv"))
    weights = pair_weights(LEGEND, PosteriorRule(prior=prior, costs=read_pair_numbers(tmp_path / "costs.csv", "cost")))
    joint = np.array([[10, 0, 0], [0.01, 0.01, 2], [0.01, 0.01, 0.01]])
    np.testing.assert_allclose(weights.ratio, prior_ratio(joint))
    assert weights.cost.tolist() == [[1, 1, 4], [1, 2, 4], [1, 1, 4]]


def test_implausible_pairs_have_no_weight_and_no_prior_weighs_all_alike() -> None:
    never = np.zeros((256, 256), dtype=np.bool_)
    never[0, 2] = True
    ratio = pair_weights(LEGEND, PosteriorRule(prior=None), never).ratio
    assert ratio.tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    one = Legend(classes=LEGEND.classes[:1])
    assert pair_weights(one, PosteriorRule()).ratio.tolist() == [[1]]


@pytest.mark.parametrize("text", ["0.03", "3e-2"])
def test_a_number_is_a_share(text: str) -> None:
    assert parse_prior(text) == 0.03


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, 3.0, float("nan")])
def test_a_share_of_all_or_nothing_is_refused(prior: float) -> None:
    with pytest.raises(ParameterError, match="above 0 and below 1"):
        PosteriorRule(prior=prior)


@pytest.mark.parametrize("number", [0.0, float("inf")])
def test_a_cost_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(ParameterError, match="finite numbers above 0"):
        PosteriorRule(costs=(PairNumber(source="*", target="*", number=number),))


def test_a_class_without_a_share_or_that_is_not_there_is_named() -> None:
    def rows(*pairs: tuple[str, str]) -> PosteriorRule:
        return PosteriorRule(prior=tuple(PairNumber(source=a, target=b, number=1.0) for a, b in pairs))

    with pytest.raises(ParameterError, match="no share for 'forest' before"):
        pair_weights(LEGEND, rows(("water", "*"), ("crop", "*")))
    with pytest.raises(ParameterError, match="no share for 'crop' after"):
        pair_weights(LEGEND, rows(("*", "water"), ("*", "forest")))
    with pytest.raises(ParameterError, match=r"the prior names 'ice', which is no class .*water, forest, crop"):
        pair_weights(LEGEND, rows(("*", "*"), ("ice", "water")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from,to,share\n", "a header and no rows"),
        ("from,to,cost\n*,*,1\n", "no column share"),
        ("from,to,share\n*,*,much\n", "line 2 is not understood"),
        ("from,to,share\n*,*,-1\n", "line 2 is not understood"),
        ("from,to,share\n,water,1\n", "line 2 is not understood"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prior.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        parse_prior(str(path))
