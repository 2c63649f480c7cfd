"""Decisions: costs of mistakes and pixels left undecided, against an oracle in numpy and the worked example."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import InputError, ParameterError
from geoseg.inference.decide import _decide_device, decide
from geoseg.inference.decision import Costs, Decision, read_costs
from geoseg.legend import NODATA, Legend, LegendClass

REFERENCE = Path(__file__).parents[3] / "shared/reference/decision_calibration.json"
LEGEND = Legend(
    classes=tuple(LegendClass(value=v, name=n, color="#123456") for v, n in ((1, "water"), (5, "dry"), (2, "rock")))
)
FLOOD: Costs = ((0, 1, 10), (1, 0, 5), (2, 2, 0))


def decided(
    logits: NDArray[np.float32], decision: Decision, *, temperature: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Places of the decisions (row, col), their confidence, and the probabilities."""
    shape = logits.shape[1:]
    values = range(len(logits) + decision.rejects)
    classes, confidence, shares = decide(
        torch.from_numpy(logits), np.ones(shape, np.bool_), values=values, nodata=NODATA, temperature=temperature,
        probabilities=True, decision=decision,
    )  # fmt: skip
    assert shares is not None
    return classes, confidence, shares


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    shares: NDArray[np.float64] = powers / powers.sum(axis=0)
    return shares


def test_the_worked_example_of_a_missed_flood() -> None:
    probabilities = np.array([0.5, 0.3, 0.2])
    logits = np.log(probabilities).astype(np.float32)[:, None, None]
    classes, confidence, _ = decided(logits, Decision(costs=FLOOD))
    assert (classes[0, 0], confidence[0, 0]) == (1, 30)
    assert decided(logits, Decision())[0][0, 0] == 0


def test_worked_examples_of_risk() -> None:
    if not REFERENCE.is_file():
        pytest.skip("the worked examples are not there")
    examples = [e for e in json.loads(REFERENCE.read_text("utf-8"))["examples"] if "risk" in e["expected"]]
    assert examples
    for example in examples:
        logits = np.log(np.array(example["inputs"]["p"])).astype(np.float32)[:, None, None]
        costs = tuple(tuple(map(float, row)) for row in example["inputs"]["cost"])
        assert decided(logits, Decision(costs=costs))[0][0, 0] == example["expected"]["decision"]
        assert decided(logits, Decision())[0][0, 0] == example["expected"]["map_decision"]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), n=st.integers(2, 6), rejects=st.booleans())
def test_the_decision_has_the_least_expected_cost(seed: int, n: int, rejects: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3, 700)).astype(np.float32)  # wider than the kernel's chunk
    costs = rng.integers(0, 10, (n + rejects, n)) * (1 - np.eye(n + rejects, n))
    decision = Decision(costs=tuple(map(tuple, costs.tolist())))
    classes, confidence, _ = decided(logits, decision, temperature=1.5)
    shares = softmax(logits / np.float32(1.5))
    risk = np.tensordot(costs, shares, 1)
    taken = np.take_along_axis(risk, classes[None].astype(np.intp), 0)[0]
    np.testing.assert_allclose(taken, risk.min(axis=0), atol=1e-4)
    highest = np.vstack([shares, shares.max(axis=0)[None]])
    sure = np.take_along_axis(highest, classes[None].astype(np.intp), 0)[0]
    np.testing.assert_allclose(confidence, 100 * sure, atol=0.51)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), n=st.integers(2, 6))
def test_equal_costs_of_all_mistakes_choose_the_most_likely_class(seed: int, n: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (n, 4, 600)).astype(np.float32)
    costs = tuple(tuple(float(d != t) for t in range(n)) for d in range(n))
    plain, least = decided(logits, Decision())[0], decided(logits, Decision(costs=costs))[0]
    shares = np.sort(softmax(logits), axis=0)
    clear = shares[-1] - shares[-2] > 1e-5
    np.testing.assert_array_equal(plain[clear], least[clear])


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), least=st.floats(0.2, 0.99))
def test_doubtful_pixels_are_left_undecided_and_no_others(seed: int, least: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 1, (3, 5, 600)).astype(np.float32)
    classes, confidence, shares = decided(logits, Decision(min_confidence=least))
    highest = softmax(logits).max(axis=0)
    clear = np.abs(highest - least) > 1e-5
    np.testing.assert_array_equal((classes == 3)[clear], (highest < least)[clear])
    np.testing.assert_array_equal(classes[classes != 3], logits.argmax(axis=0)[classes != 3])
    np.testing.assert_allclose(confidence, 100 * highest, atol=0.51)
    # probabilities are those of the classes: that there is no decision has none
    assert (shares[3] == 0).all()
    assert (shares.sum(axis=0, dtype=np.int64) == 254).all()


def test_a_row_for_no_decision_is_chows_rule() -> None:
    logits = np.random.default_rng(3).normal(0, 1, (4, 8, 300)).astype(np.float32)
    costs = (*(tuple(float(d != t) for t in range(4)) for d in range(4)), (0.4,) * 4)
    by_costs, by_doubt = decided(logits, Decision(costs=costs))[0], decided(logits, Decision(min_confidence=0.6))[0]
    clear = np.abs(softmax(logits).max(axis=0) - 0.6) > 1e-5
    np.testing.assert_array_equal(by_costs[clear], by_doubt[clear])
    assert 0.1 < (by_costs == 4).mean() < 0.9


@pytest.mark.parametrize("decision", [Decision(costs=FLOOD), Decision(costs=(*FLOOD, (1, 1, 1))),
                                      Decision(min_confidence=0.5)])  # fmt: skip
def test_an_accelerators_way_is_the_kernels(decision: Decision) -> None:
    logits = np.random.default_rng(5).normal(0, 1.5, (3, 16, 200)).astype(np.float32)
    valid = np.random.default_rng(6).random((16, 200)) > 0.1
    values = [*range(3), *([9] if decision.rejects else [])]
    classes, confidence, _ = decide(
        torch.from_numpy(logits), valid, values=values, nodata=NODATA, temperature=2.0, decision=decision
    )
    theirs = _decide_device(
        torch.from_numpy(logits),
        torch.tensor(values, dtype=torch.uint8),
        0.5,
        torch.from_numpy(valid),
        NODATA,
        decision,
    )
    assert (theirs[0].numpy() != classes).mean() < 1e-3
    assert (np.abs(theirs[1].numpy().astype(int) - confidence) > 1).mean() < 1e-3
    assert (classes[~valid] == NODATA).all()


def written(folder: Path, text: str) -> Path:
    (folder / "costs.csv").write_text(text, encoding="utf-8")
    return folder / "costs.csv"


@pytest.mark.parametrize(
    "text",
    [
        "decision,water,dry,rock\nwater,0,1,10\ndry,1,0,5\nrock,2,2,0\n",
        "\ufeff;rock;water;dry\n rock ;0;2;2\n\n1;10;0;1\ndry;5;1;0\n",
    ],
)
def test_a_matrix_is_read_by_names_and_numbers_in_any_order(tmp_path: Path, text: str) -> None:
    assert read_costs(written(tmp_path, text), LEGEND) == FLOOD


def test_a_row_reject_is_that_of_no_decision(tmp_path: Path) -> None:
    text = ",water,dry,rock\nreject,.5,.5,.5\nwater,0,1,10\ndry,1,0,5\nrock,2,2,0\n"
    costs = read_costs(written(tmp_path, text), LEGEND)
    assert costs == (*FLOOD, (0.5,) * 3)
    assert Decision(costs=costs).rejects


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: write a line of class names"),
        (",water,dry,sand\n", "line 1: the model has no class 'sand', only water, dry, rock"),
        (",water,dry\nwater,0,1\n", "line 1: the columns lack rock: each class"),
        (",water,dry,rock,1\n", "line 1: the columns have water twice"),
        (",water,dry,rock\nwater,0,1\n", "line 2 has 3 cells, the first line has 4"),
        (",water,dry,rock\nwater,0,1,x\n", "line 2: 'x' is no number"),
        (",water,dry,rock\nwater,0,-1,1\n", "line 2: a cost is a finite number, not below 0"),
        (",water,dry,rock\nwater,0,nan,1\n", "line 2: a cost is a finite number"),
        (",water,dry,rock\nwater,0,1,1\n1,0,1,1\n", "line 3: 1 has two rows"),
        (",water,dry,rock\nwater,0,1,1\nreject,1,1,1\n", "the rows lack dry, rock"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"costs.csv: .*{message}|costs.csv: {message}"):
        read_costs(written(tmp_path, text), LEGEND)


def test_what_makes_no_decision_is_refused() -> None:
    for wrong, message in (
        ({"min_confidence": 0.0}, "above 0, at most 1"),
        ({"min_confidence": float("nan")}, "above 0, at most 1"),
        ({"costs": ((0, 1), (1, 0)), "min_confidence": 0.5}, "give the matrix a row 'reject'"),
        ({"costs": ((0, 1),)}, "as many rows as columns"),
        ({"costs": ()}, "as many rows as columns"),
        ({"costs": ((0, -1), (1, 0))}, "finite numbers, none below 0"),
    ):
        with pytest.raises(ParameterError, match=message):
            Decision(**wrong)
    with pytest.raises(ParameterError, match="the costs are for 3 classes, the model has 2"):
        Decision(costs=FLOOD).legend(Legend.unnamed((1, 2)))


def test_undecided_has_a_number_and_a_name_that_no_class_has() -> None:
    doubt = Decision(min_confidence=0.5)
    assert doubt.legend(LEGEND).classes[:-1] == LEGEND.classes
    assert (doubt.legend(LEGEND).values[-1], doubt.legend(LEGEND).names[-1]) == (254, "undecided")
    taken = Legend(classes=(LegendClass(value=254, name="undecided", color="#000000"),))
    assert (doubt.legend(taken).values[-1], doubt.legend(taken).names[-1]) == (253, "undecided 253")
    assert Decision().legend(LEGEND) == LEGEND
    with pytest.raises(ParameterError, match="no number is left"):
        doubt.legend(Legend.unnamed(tuple(range(255))))
