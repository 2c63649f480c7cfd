"""Series of maps in memory: every number against plain numpy, and what has to hold whatever the maps."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.features import rasterize

import geoseg
from geoseg.change.change_series import ChangeSeries
from geoseg.change.legends import CrosswalkRow
from geoseg.change.plausible import PlausibleRow
from geoseg.change.series import Series, SeriesRules, Timeline
from geoseg.change.temporal import TemporalRule
from geoseg.change.tolerance import without_slivers
from geoseg.errors import InputError, ParameterError
from geoseg.inference.lattice import Block, blocks
from geoseg.legend import Legend, LegendClass
from tests.change.conftest import CLASSES, maps

LEGEND = Legend(
    classes=tuple(
        LegendClass(value=v, name=n, color=c)
        for v, n, c in ((1, "water", "#0000ff"), (4, "forest", "#00aa00"), (9, "built", "#aa0000"))
    )
)
VALUES = np.full(256, 255, np.uint8)
VALUES[:CLASSES] = LEGEND.values
TIMES = ["2015-06-17", "2016-06-17", "2019-06-17", "2023-06-17", "2024-06-17", "2025-06-17", "2026-06-17"]
UTM = Affine(10, 0, 600_000, 0, -10, 5_000_000)


def as_map(places: Any, *, transform: Affine = UTM, crs: str = "EPSG:32633") -> xr.DataArray:
    return wrap_xr(VALUES[places], GeoBox(places.shape, transform, crs), nodata=255)


def series_of(stack: Any, **more: Any) -> ChangeSeries:
    changes: dict[str, Any] = {"times": TIMES[: len(stack)], "legend": LEGEND, **more}
    return geoseg.change_series([as_map(p) for p in stack], **changes)


@st.composite
def stacks(draw: Any) -> Any:
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    return np.stack([draw(maps(shape)) for _ in range(draw(st.integers(3, 4)))])


@settings(max_examples=25)
@given(stacks())
def test_matrices_and_areas_are_those_of_counting_pairs(stack: Any) -> None:
    found = series_of(stack)
    d, k = len(stack), CLASSES
    pairs = [*((t, t + 1) for t in range(d - 1)), (0, d - 1)]
    for (a, b), counts in zip(pairs, found.counts.intervals, strict=True):
        expected = np.zeros((k + 1, k + 1), np.int64)
        np.add.at(expected, (np.minimum(stack[a], k), np.minimum(stack[b], k)), 1)
        np.testing.assert_array_equal(counts.pixels, expected)
    table = found.areas
    for t in range(d):
        on = table[table.date == TIMES[t]]
        assert on.pixels.tolist() == [int((stack[t] == c).sum()) for c in range(k)]
    np.testing.assert_array_equal(found.classes.values, VALUES[stack])
    assert found.classes.dims == ("time", "y", "x")
    summary = found.summary.set_index(["measure", "value"]).pixels
    for n in range(d):
        assert summary["changes", str(n)] == (found.n_changes.values == n).sum()
    assert summary["first change", "never"] == (found.first_change.values == 0).sum()
    for t in range(1, d):
        assert summary["first change", TIMES[t]] == (found.first_change.values == t).sum()
        changed = (stack[t - 1] != stack[t]) & (stack[t - 1] != 255) & (stack[t] != 255)
        assert summary["change", f"{TIMES[t - 1]} to {TIMES[t]}"] == changed.sum()


@settings(max_examples=15)
@given(stacks())
def test_dates_in_the_other_order_transpose_and_the_same_map_again_changes_nothing(stack: Any) -> None:
    forward, backward = series_of(stack), series_of(stack[::-1])
    for a, b in zip(forward.counts.intervals[:-1], backward.counts.intervals[:-1][::-1], strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels.T)
    np.testing.assert_array_equal(forward.n_changes.values, backward.n_changes.values)
    same = series_of(np.stack([stack[0]] * 3), rules=SeriesRules(temporal=TemporalRule(accuracy=0.7)))
    assert set(np.unique(same.n_changes.values)) <= {0, 255}
    np.testing.assert_array_equal(same.final.values, VALUES[stack[0]])


@pytest.fixture(scope="module")
def noisy() -> tuple[Any, Any]:
    """Seven dates of 60 x 50 px of which a part changes once, and what maps with 15 % mistakes make of them."""
    rng = np.random.default_rng(4)
    truth = np.zeros((7, 60, 50), np.uint8)
    truth[:, 20:] = 1
    truth[3:, 25:45, 15:35] = 2
    wrong = rng.random(truth.shape) < 0.15
    seen = np.where(wrong, rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
    seen[rng.random(truth.shape) < 0.1] = 255
    return truth, seen


def test_a_model_of_time_finds_what_noise_hides(noisy: Any) -> None:
    truth, seen = noisy
    real = truth[0] != truth[-1]
    rule = TemporalRule(accuracy=0.85, prior=0.01)
    plain, smooth = series_of(seen), series_of(seen, rules=SeriesRules(temporal=rule))

    def f1(found: ChangeSeries) -> float:
        changed = ~np.isin(found.n_changes.values, (0, 255))
        return float(2 * (changed & real).sum() / (changed.sum() + real.sum()))

    assert f1(plain) < 0.5
    assert f1(smooth) > 0.85
    # without observation on a date there is no class on it, unless gaps are to be filled
    np.testing.assert_array_equal(smooth.classes.values == 255, seen == 255)
    filled = series_of(seen, rules=SeriesRules(temporal=replace(rule, fill=True)))
    np.testing.assert_array_equal((filled.classes.values == 255).all(axis=0), (seen == 255).all(axis=0))
    assert (filled.classes.values == VALUES[truth]).mean() > 0.97
    expected = filled.areas.groupby("date").expected_ha.sum()
    np.testing.assert_allclose(expected, filled.areas.groupby("date").area_ha.sum(), rtol=1e-9)
    assert filled.areas.mapped_ha.sum() < filled.areas.area_ha.sum()


@pytest.mark.parametrize(
    "rules",
    [
        SeriesRules(),
        SeriesRules(tolerance=2, plausible=(PlausibleRow(source="built", target="*", plausible=False),)),
        SeriesRules(tolerance=1, temporal=TemporalRule(accuracy=0.8)),
    ],
    ids=["plain", "tolerance", "model"],
)
def test_the_answer_does_not_depend_on_the_cut(noisy: Any, rules: SeriesRules, monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen = noisy
    whole = series_of(seen, rules=rules)

    def small(self: Series) -> list[Block]:
        return list(blocks(*(int(n) for n in self.geobox.shape), block_height=17, block_width=23))

    monkeypatch.setattr(Series, "cut", small)
    cut = series_of(seen, rules=rules)
    for name in ("first_change", "last_change", "n_changes", "final", "classes"):
        np.testing.assert_array_equal(getattr(whole, name).values, getattr(cut, name).values)
    assert whole.matrices.equals(cut.matrices)
    assert whole.areas.equals(cut.areas)


def test_a_tolerance_holds_each_date_against_what_was_left_of_those_before(noisy: Any) -> None:
    _, seen = noisy
    found = series_of(seen, rules=SeriesRules(tolerance=1))
    before = seen[0]
    for t in range(1, len(seen)):
        now = without_slivers(before, seen[t], tolerance=1)
        np.testing.assert_array_equal(found.classes.values[t], VALUES[now])
        before = np.where(now == 255, before, now)


def test_implausible_changes_are_none_by_class_and_by_model() -> None:
    stack = np.array([[[2, 0]], [[1, 1]], [[1, 1]], [[1, 1]]], np.uint8)
    never = (PlausibleRow(source="built", target="*", plausible=False),)
    for temporal in (None, TemporalRule(accuracy=0.9)):
        found = series_of(stack, rules=SeriesRules(plausible=never, temporal=temporal))
        assert found.n_changes.values[0, 1] == (1 if temporal is None else 0)
        assert found.n_changes.values[0, 0] == 0
        pairs = found.matrices[(found.matrices.measure == "pixels") & (found.matrices.from_name == "built")]
        assert (pairs[["water", "forest"]] == 0).all().all()


def test_polygons_of_the_first_change_rasterize_back(noisy: Any) -> None:
    truth, _ = noisy
    found = series_of(truth)
    polygons = found.polygons()
    assert polygons.columns.tolist() == ["first_id", "prev_date", "seen_date", "area_m2", "mean_conf", "geometry"]
    shapes = zip(polygons.geometry, polygons.first_id, strict=True)
    back = rasterize(shapes, out_shape=truth.shape[1:], transform=UTM)
    np.testing.assert_array_equal(back, found.first_change.values)
    assert polygons.iloc[0][["first_id", "prev_date", "seen_date"]].tolist() == [3, "2019-06-17", "2023-06-17"]
    assert polygons.area_m2.sum() == pytest.approx(400 * 100, rel=2e-3)
    assert not len(series_of(truth[:1].repeat(3, axis=0)).polygons())


def test_one_array_along_time_is_a_series_and_has_its_dates() -> None:
    stack = np.array([[[0, 1]], [[1, 1]], [[1, 255]]], np.uint8)
    maps_ = [as_map(p).assign_coords(time=np.datetime64(t)) for p, t in zip(stack, TIMES, strict=False)]
    one = geoseg.change_series(xr.concat(maps_, "time").transpose("y", "x", "time"), legend=LEGEND)
    assert one.timeline.labels == tuple(TIMES[:3])
    assert one.timeline.years is not None
    assert one.timeline.years == pytest.approx((1.002, 2.998), abs=1e-3)
    assert one.first_change.values.tolist() == [[1, 0]]
    assert one.classes.time.dt.year.values.tolist() == [2015, 2016, 2019]
    assert one.first_change.attrs["flag_meanings"].split()[1] == "first_seen_2016-06-17"
    assert one.confidence is None
    assert one.intensity.level.tolist().count("interval") == 2


def test_other_grids_and_legends_are_brought_together_and_said_aloud() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 3, (12, 12)).repeat(5, axis=0).repeat(5, axis=1).astype(np.uint8)
    finer = base.repeat(2, axis=0).repeat(2, axis=1)
    shifted = base[10:, :40]
    every = [
        as_map(base),
        as_map(finer, transform=Affine(5, 0, 600_000, 0, -5, 5_000_000)),
        as_map(shifted, transform=Affine(10, 0, 600_000, 0, -10, 4_999_900)),
    ]
    found = geoseg.change_series(every, times=TIMES[:3], legend=LEGEND)
    assert found.first_change.shape == (50, 40)
    np.testing.assert_array_equal(found.classes.values, VALUES[np.stack([shifted] * 3)])
    said = " ".join(found.notes)
    assert "map 2 has another grid" in said
    assert "only the common area is compared, 50 x 40 px of map 1: map 1 has 60 x 60 px" in said
    assert "map 3 lies 0.00 px" in said


def test_a_class_that_one_map_calls_otherwise_goes_with_a_crosswalk_by_its_number() -> None:
    stack = np.zeros((3, 1, 2), np.uint8)
    every = [as_map(p) for p in stack]
    every[2].attrs.update(flag_values=[1], flag_meanings="lake")
    for m in every[:2]:
        m.attrs.update(flag_values=[1], flag_meanings="water")
    with pytest.raises(ParameterError, match=r"no class of map 3 \(lake\) is one of map 1 \(water\) or map 2"):
        geoseg.change_series(every, times=TIMES[:3])
    rows = (CrosswalkRow(side="3", source="lake", target="water"),)
    found = geoseg.change_series(every, times=TIMES[:3], rules=SeriesRules(crosswalk=rows))
    assert found.n_changes.values.tolist() == [[0, 0]]
    wrong = (CrosswalkRow(side="before", source="lake", target="water"),)
    with pytest.raises(ParameterError, match="the number of a map by date, 1 to 3, or all"):
        geoseg.change_series(every, times=TIMES[:3], rules=SeriesRules(crosswalk=wrong))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"times": TIMES[:2]}, ParameterError, "2 times for 3 maps"),
        ({"times": ["2015", "x", "2019"]}, ParameterError, "'x' is no time"),
        ({"times": ["2015", "2019", "2019"]}, ParameterError, r"map 2 \(2019-01-01\) and map 3 .* at one time"),
        ({"times": ["2015", "2019", "2018"]}, ParameterError, "in another order"),
        ({"rules": SeriesRules(temporal=TemporalRule())}, InputError, "map 1 comes without class probabilities"),
        (
            {"rules": SeriesRules(tolerance=64), "n": 6, "times": TIMES[:6]},
            ParameterError,
            "reaches 320 px",
        ),
        ({"n": 2}, ParameterError, "2 dates of one place: a series has 3 to 100; for two there is geoseg change"),
        ({"probabilities": []}, ParameterError, "probabilities of 0 dates for 3 maps"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(changes: Any, error: Any, match: str) -> None:
    n = changes.pop("n", 3)
    every = [as_map(np.zeros((2, 2), np.uint8)) for _ in range(n)]
    with pytest.raises(error, match=match):
        geoseg.change_series(every, legend=LEGEND, **changes)


def test_maps_that_have_no_area_in_common_are_named() -> None:
    places = np.zeros((4, 4), np.uint8)
    here, left, right = (as_map(places, transform=Affine(10, 0, 600_000 + x, 0, -10, 5_000_000)) for x in (0, -30, 30))
    with pytest.raises(InputError, match="no area is common to map 1, map 2, map 3, though each overlaps map 1"):
        geoseg.change_series([here, left, right], times=TIMES[:3], legend=LEGEND)


def test_dates_of_a_timeline_that_are_not_all_known_are_names() -> None:
    line = Timeline.of(["a", "b", "a"], [None, datetime(2020, 1, 1, tzinfo=UTC), None])
    assert line.labels == ("a (1)", "b", "a (3)")
    assert line.years is None
