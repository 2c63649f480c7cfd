"""Intensity analysis against the published example."""

from typing import Any

import numpy as np
import pytest

from geoseg.change import intensity_analysis
from geoseg.errors import ParameterError
from tests.change.conftest import examples


@pytest.mark.parametrize("example", examples("intensity_analysis"))
def test_the_intensities_are_those_of_the_worked_example(example: dict[str, Any]) -> None:
    years = np.diff(example["inputs"]["years"])
    found = intensity_analysis([np.array(m) for m in example["inputs"]["matrices"]], years.tolist())
    values: dict[str, Any] = {
        "S_t": found.interval, "U": found.uniform, "gain_size": found.yearly_gain, "loss_size": found.yearly_loss,
        "G_tj": found.gain, "L_ti": found.loss, "R_tin": found.to_class, "W_tn": found.to_uniform,
        "Q_tmj": found.from_class, "V_tm": found.from_uniform,
    }  # fmt: skip
    assert set(values) == set(example["expected"])
    for name, value in values.items():
        np.testing.assert_allclose(value, np.array(example["expected"][name], dtype=np.float64), rtol=1e-12, atol=0)
    published = example["published"]
    behaviour = ["Fast" if s > found.uniform else "Slow" for s in found.interval]
    assert behaviour == published["interval_behaviour"]


def test_a_class_that_is_nowhere_has_no_intensity() -> None:
    found = intensity_analysis([np.array([[4, 1, 0], [0, 3, 0], [0, 0, 0]])], [2.0])
    assert np.isnan(found.gain[0, 2])
    assert np.isnan(found.to_class[0, 2]).all()
    assert found.interval.tolist() == [1 / 8 / 2]
    assert found.uniform == found.interval[0]


def test_a_map_without_a_pixel_has_none_at_all() -> None:
    found = intensity_analysis([np.zeros((2, 2))], [1.0])
    assert np.isnan([found.uniform, *found.interval, *found.gain[0], *found.to_uniform[0]]).all()


@pytest.mark.parametrize(
    ("matrices", "years", "said"),
    [
        ([np.eye(2)], [0.0], "lengths above 0"),
        ([np.eye(2)], [1.0, 2.0], "for each"),
        ([np.eye(2), np.eye(3)], [1.0, 2.0], "same classes"),
        ([], [], "for each"),
    ],
)
def test_intervals_that_do_not_fit_are_refused(matrices: Any, years: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        intensity_analysis(matrices, years)
