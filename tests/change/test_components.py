"""Gain, loss, swap, quantity, exchange, shift against published matrices, and what always holds of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.change import change_components
from geoseg.errors import ParameterError
from tests.change.conftest import examples

matrices = st.integers(1, 5).flatmap(lambda k: hnp.arrays(np.int64, (k, k), elements=st.integers(0, 10**12)))


@pytest.mark.parametrize("example", examples("change_components"))
def test_the_components_are_those_of_the_worked_examples(example: dict[str, Any]) -> None:
    matrix, expected = np.array(example["inputs"]["matrix"]), example["expected"]
    parts = change_components(matrix)
    found = {
        "t1": parts.before, "t2": parts.after, "persistence": parts.persistence, "gain": parts.gain,
        "loss": parts.loss, "total": parts.total, "swap": parts.swap, "net": parts.net, "abs_net": parts.quantity,
        "exchange": parts.exchange, "shift": parts.shift,
    }  # fmt: skip
    for name, values in found.items():
        assert values.tolist() == expected[name], name
    overall = {
        "change": parts.map_change, "quantity": parts.map_quantity, "allocation": parts.map_allocation,
        "exchange": parts.map_exchange, "shift": parts.map_shift, "swap": parts.map_allocation,
    }  # fmt: skip
    assert {name: float(value) for name, value in overall.items()} == expected["overall"]


@given(matrices)
def test_the_parts_add_up_in_every_matrix(matrix: Any) -> None:
    parts = change_components(matrix)
    assert parts.map_change == matrix.sum() - np.trace(matrix) == parts.gain.sum() == parts.loss.sum()
    np.testing.assert_array_equal(parts.swap, parts.total - parts.quantity)
    np.testing.assert_array_equal(parts.persistence + parts.loss, parts.before)
    np.testing.assert_array_equal(parts.persistence + parts.gain, parts.after)
    assert (parts.shift >= 0).all()
    assert (parts.exchange >= 0).all()
    assert parts.map_quantity + parts.map_exchange + parts.map_shift == parts.map_change


@given(matrices)
def test_swapped_dates_swap_gain_and_loss(matrix: Any) -> None:
    forth, back = change_components(matrix), change_components(matrix.T)
    np.testing.assert_array_equal(forth.gain, back.loss)
    np.testing.assert_array_equal(forth.net, -back.net)
    np.testing.assert_array_equal(forth.exchange, back.exchange)


def test_shares_work_as_amounts_do() -> None:
    parts = change_components(np.array([[0.5, 0.2], [0.1, 0.2]]))
    assert parts.map_quantity == pytest.approx(0.1)
    assert parts.map_allocation == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\): give a square one"),
        (np.ones((0, 0)), "square"),
        (np.array([[1, -1], [0, 1]]), "not negative"),
        (np.array([[1, np.nan], [0, 1]]), "finite"),
        (np.array([["a"]]), "numbers"),
    ],
)
def test_what_is_no_matrix_of_transitions_is_refused(matrix: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        change_components(matrix)


def test_areas_as_large_as_their_units_allow_do_not_overflow() -> None:
    parts = change_components(np.array([[2**61, 2**60], [2**60 - 1, 2**59]]))
    assert parts.exchange.tolist() == [2**61 - 2, 2**61 - 2]
    assert parts.swap.tolist() == [2**61 - 2, 2**61 - 2]
    assert parts.map_change == 2**61 - 1
