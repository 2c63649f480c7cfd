"""The tables of change, held against the area table and against each other."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from geoseg.area.class_areas import class_table
from geoseg.area.sums import class_totals
from geoseg.change import ChangeCodes, Transitions, count_transitions
from geoseg.change.tables import component_table, intensity_table, matrix_table, pair_table, summary_table
from geoseg.legend import NODATA, Legend, LegendClass
from tests.change.conftest import areas_of

NAMES = ("water", "forest", "total")
LEGEND = Legend(
    classes=tuple(LegendClass(value=v, name=n, color="#123456") for v, n in zip((0, 1, 2), NAMES, strict=True))
)
SHAPE = (40, 50)
AREAS = areas_of(SHAPE)
CODES = ChangeCodes.of(LEGEND)


def made(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(SHAPE) < 0.1, NODATA, rng.integers(0, 3, SHAPE)).astype(np.uint8)


@pytest.fixture
def counts() -> Transitions:
    percent = np.random.default_rng(9).integers(30, 101, SHAPE).astype(np.uint8)
    return count_transitions(made(1), made(2), AREAS, CODES, confidence=percent)[1]


@pytest.mark.parametrize(("seed", "axis"), [(1, "row"), (2, "column")])
def test_the_totals_of_the_matrix_are_the_area_table_of_each_date(counts: Transitions, seed: int, axis: str) -> None:
    table = matrix_table(counts, LEGEND, AREAS.unit_m2)
    assert list(table.columns) == [
        "measure", "from_id", "from_name", "water", "forest", "total (2)", "total", "no_data", "map_total",
    ]  # fmt: skip
    areas = class_table(class_totals(made(seed), AREAS), LEGEND, AREAS.unit_m2)
    for measure, column in (("pixels", "pixels"), ("area_ha", "area_ha")):
        part = table[table.measure == measure].reset_index(drop=True)
        found = part.map_total[:3] if axis == "row" else part.iloc[-1, 3:6]
        assert found.tolist() == areas[column].tolist()  # to the last bit


def test_percents_are_of_what_both_dates_observed(counts: Transitions) -> None:
    table = matrix_table(counts, LEGEND, AREAS.unit_m2)
    percent = table[table.measure == "percent"].iloc[:, 3:].to_numpy(dtype=float)
    assert percent[:3, :3].sum() == pytest.approx(100)
    assert percent[3, 3] == 100
    assert percent[-1, -1] > 100
    assert table.from_id.tolist() == [0, 1, 2, None, None, None] * 3


def test_the_pairs_are_the_cells_of_the_matrix(counts: Transitions) -> None:
    pairs = pair_table(counts, counts, CODES, AREAS.unit_m2)
    matrix = matrix_table(counts, LEGEND, AREAS.unit_m2)
    cells = matrix[matrix.measure == "area_ha"].iloc[:3, 3:6].to_numpy(dtype=float)
    assert len(pairs) == 9
    i, j = pairs.from_id.to_numpy(), pairs.to_id.to_numpy()
    np.testing.assert_array_equal(pairs.area_ha, cells[i, j])
    np.testing.assert_array_equal(pairs.change_id, CODES.table[i, j])
    assert (pairs.mapped_ha == pairs.area_ha).all()
    assert pairs.percent.sum() == pytest.approx(100)
    assert pairs.mean_conf.between(30, 100).all()
    changed = pairs[pairs.change_id > 0]
    assert changed.index.tolist() == list(range(6))
    assert changed.area_ha.is_monotonic_decreasing


def test_the_components_add_up(counts: Transitions) -> None:
    table = component_table(counts, LEGEND, AREAS.unit_m2)
    np.testing.assert_allclose(table.before_ha + table.net_ha, table.after_ha)
    np.testing.assert_allclose(table.swap_ha + table.net_ha.abs(), table.total_ha)
    np.testing.assert_allclose(table.net_percent, 100 * table.net_ha / table.before_ha)
    summary = summary_table(counts, counts, AREAS.unit_m2, years=2.0).set_index("measure").area_ha
    assert summary.change == pytest.approx(table.gain_ha.sum())
    assert summary.quantity + summary.allocation == pytest.approx(summary.change)
    assert summary.exchange + summary["shift"] == pytest.approx(summary.allocation)
    assert summary.change_per_year == pytest.approx(summary.change / 2)
    assert summary.mapped_change == summary.change
    assert summary.compared + summary.not_comparable == pytest.approx(counts.units.sum() * AREAS.unit_m2 / 1e4)


def test_intensities_are_named_and_compared(counts: Transitions) -> None:
    yearly, whole = (intensity_table(counts, LEGEND, years=y) for y in (4.0, None))
    np.testing.assert_allclose(yearly.intensity * 4, whole.intensity)
    assert yearly.above.tolist() == [
        "yes" if i > u else "no" for i, u in zip(yearly.intensity, yearly.uniform, strict=True)
    ]
    assert yearly.level.value_counts().to_dict() == {"loss": 3, "gain": 3, "to": 6, "from": 6}
    u = counts.units[:-1, :-1].astype(float)
    row = yearly[(yearly.level == "to") & (yearly.from_name == "forest") & (yearly.to_name == "water")].iloc[0]
    assert row.intensity == pytest.approx(100 * u[1, 0] / 4 / u[1].sum())
    assert row.uniform == pytest.approx(100 * (u[1, 0] + u[2, 0]) / 4 / (u[1].sum() + u[2].sum()))


def test_maps_without_a_common_observation_have_tables_all_the_same() -> None:
    nothing = Transitions.zero(3)
    tables: list[pd.DataFrame] = [
        matrix_table(nothing, LEGEND, 1.0),
        pair_table(nothing, nothing, CODES, 1.0),
        component_table(nothing, LEGEND, 1.0),
        summary_table(nothing, nothing, 1.0, years=None),
        intensity_table(nothing, LEGEND, years=None),
    ]
    assert [len(t) for t in tables] == [18, 0, 3, 9, 0]
    assert tables[3].percent.isna().all()
