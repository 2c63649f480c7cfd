"""`geoseg.evaluate_map`: a map against its reference, in memory and in files."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import geoseg
from geoseg.area.class_areas import class_areas
from geoseg.change.legends import CrosswalkRow
from geoseg.errors import InputError, ParameterError
from geoseg.evaluate import plan as plan_module
from geoseg.evaluate.plan import Matching
from geoseg.legend import Legend, LegendClass
from tests.evaluate.conftest import LEGEND, NAMES, UTM, as_map, mistaken, natural

UTM3 = Affine(10 / 3, 0, 500_000, 0, -10 / 3, 5_000_000)
MAPS = hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([1, 2, 3, 255]))


def counted(truth: NDArray[np.uint8], mapped: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([[int(((truth == t) & (mapped == m)).sum()) for m in (1, 2, 3, 4, 255)] for t in (1, 2, 3, 4, 255)])


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint8]:
    return natural()


def test_counts_scores_and_areas_are_those_of_the_pixels(truth: NDArray[np.uint8]) -> None:
    mapped = mistaken(truth)
    found = geoseg.evaluate_map(as_map(mapped), as_map(truth))
    np.testing.assert_array_equal(found.pixels, counted(truth, mapped))
    both = (truth != 255) & (mapped != 255)
    assert found.scores.accuracy == pytest.approx((truth == mapped)[both].mean())
    table = found.class_table().set_index("class_name")
    for value, name in enumerate(NAMES, 1):
        t, m = (truth == value) & both, (mapped == value) & both
        assert table.iou[name] == pytest.approx((t & m).sum() / (t | m).sum())
        assert table.precision[name] == pytest.approx((t & m).sum() / m.sum())
    scene = found.scene_table().iloc[0]
    assert scene.unmapped == pytest.approx(((truth != 255) & (mapped == 255)).sum() / (truth != 255).sum())
    assert found.summary_table().set_index("measure").value["unmapped"] == scene.unmapped > 0
    assert "left out" in " ".join(found.scenes[0].notes)


def test_areas_are_true_and_their_bias_is_that_of_the_area_tables(truth: NDArray[np.uint8]) -> None:
    degrees = Affine(0.01, 0, 10, 0, -0.01, 60)
    mapped = np.where(truth == 255, 255, mistaken(np.where(truth == 255, 1, truth).astype(np.uint8)))
    mapped = np.where((truth != 255) & (mapped == 255), 1, mapped).astype(np.uint8)
    maps = [as_map(p, transform=degrees, crs="EPSG:4326") for p in (mapped, truth)]
    table = geoseg.evaluate_map(*maps).class_table()
    areas = [class_areas(m, legend=LEGEND).area_ha for m in maps]
    np.testing.assert_allclose(table.mapped_ha, areas[0], rtol=1e-12)
    np.testing.assert_allclose(table.reference_ha, areas[1], rtol=1e-12)
    np.testing.assert_allclose(table.bias_pct, 100 * (areas[0] / areas[1] - 1), rtol=1e-9)


@settings(max_examples=10)
@given(MAPS, MAPS)
def test_a_map_against_itself_is_perfect_and_swapping_transposes(
    one: NDArray[np.uint8], two: NDArray[np.uint8]
) -> None:
    one[0, :3], two[0, :3] = (1, 2, 3), (3, 2, 1)  # every class on both sides
    itself = geoseg.evaluate_map(as_map(one), as_map(one))
    assert itself.scores.accuracy == itself.scores.miou == 1
    assert itself.scores.fwiou == pytest.approx(1)
    forward = geoseg.evaluate_map(as_map(one), as_map(two)).pixels
    backward = geoseg.evaluate_map(as_map(two), as_map(one)).pixels
    np.testing.assert_array_equal(forward, backward.T)


def test_no_cut_into_blocks_changes_a_count(truth: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = mistaken(truth)
    percent = as_map(np.random.default_rng(0).integers(0, 101, truth.shape).astype(np.uint8), legend=None)
    whole = geoseg.evaluate_map(as_map(mapped), as_map(truth), confidence=percent)
    assert len(whole.scenes[0].counts.parts.agreed) > 30
    for side in (16, 48):
        monkeypatch.setattr(plan_module, "BLOCK_PX", side)
        cut = geoseg.evaluate_map(as_map(mapped), as_map(truth), confidence=percent)
        for one, other in zip(whole.scenes[0].counts.__slots__, cut.scenes[0].counts.__slots__, strict=True):
            assert one == other
            a, b = getattr(whole.scenes[0].counts, one), getattr(cut.scenes[0].counts, one)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def test_the_worst_windows_have_the_most_wrong_pixels(truth: NDArray[np.uint8]) -> None:
    mapped = truth.copy()
    mapped[40:60, 100:120] = 5 - truth[40:60, 100:120] % 5
    mapped[mapped > 4] = 1
    counts = geoseg.evaluate_map(as_map(mapped), as_map(truth)).scenes[0].counts
    wrong = (truth != mapped) & (truth != 255) & (mapped != 255)
    assert sum(w.n_wrong for w in counts.worst) == wrong.sum()
    first = counts.worst[0]
    assert 32 <= first.row_off <= 48
    assert 96 <= first.col_off <= 112
    assert first.n_wrong == wrong[first.row_off : first.row_off + 16, first.col_off : first.col_off + 16].sum()


def test_calibration_is_counted_from_confidence(truth: NDArray[np.uint8]) -> None:
    mapped = mistaken(truth)
    percent = np.where(truth == mapped, 90, 60).astype(np.uint8)
    found = geoseg.evaluate_map(as_map(mapped), as_map(truth), confidence=as_map(percent, legend=None))
    known = found.reliability
    assert known is not None
    right = float(found.scores.accuracy)
    # 90 percent are all right, 60 percent all wrong
    assert known.ece == pytest.approx(0.1 * right + 0.6 * (1 - right))
    assert known.largest == pytest.approx(0.6)
    table = found.calibration_table()
    assert table is not None
    assert table.pixels.sum() == found.margins.total
    assert geoseg.evaluate_map(as_map(mapped), as_map(truth)).calibration_table() is None


def test_a_prediction_on_a_finer_grid_is_scored_on_the_pixels_of_the_reference(truth: NDArray[np.uint8]) -> None:
    fine = truth.repeat(3, axis=0).repeat(3, axis=1)
    found = geoseg.evaluate_map(as_map(fine, transform=UTM3), as_map(truth))
    assert found.scores.accuracy == 1
    np.testing.assert_array_equal(found.pixels, counted(truth, truth))
    assert "another grid" in found.scenes[0].notes[0]


def test_classes_are_matched_by_name_or_by_a_crosswalk_and_ignored_ones_left_out(truth: NDArray[np.uint8]) -> None:
    other = Legend(
        classes=tuple(
            LegendClass(value=v, name=n, color="#000000")
            for v, n in ((7, "WATER"), (8, "Forest"), (9, "meadow"), (11, "crop"))
        )
    )
    lookup = np.full(256, 255, np.uint8)
    lookup[[1, 2, 3, 4]] = 7, 8, 9, 11
    mapped = as_map(lookup[truth], legend=other)
    rows = (CrosswalkRow(side="after", source="meadow", target="grass"),)
    found = geoseg.evaluate_map(mapped, as_map(truth), matching=Matching(crosswalk=rows))
    assert found.scores.accuracy == 1
    without = geoseg.evaluate_map(mapped, as_map(truth), matching=Matching(ignore=("grass",)))
    assert without.scores.accuracy == 1
    assert without.margins.total == (truth != 255).sum() - (truth == 3).sum()
    assert not any("ignored" in note for note in without.scenes[0].notes)  # the map has no such class
    same = geoseg.evaluate_map(as_map(truth), as_map(truth), matching=Matching(ignore=("grass",)))
    assert any("ignored where the reference has it: grass;" in note for note in same.scenes[0].notes)
    wrong = geoseg.evaluate_map(mapped, as_map(truth))
    assert wrong.class_table().set_index("class_name").iou["grass"] == 0
    with pytest.raises(ParameterError, match="'snow' is to be left out, and is no class"):
        geoseg.evaluate_map(mapped, as_map(truth), matching=Matching(ignore=("snow",)))


def test_what_is_left_undecided_has_no_class_unless_the_reference_has_one_of_that_name(
    truth: NDArray[np.uint8],
) -> None:
    doubtful = np.random.default_rng(2).random(truth.shape) < 0.2
    mapped, one = mistaken(truth), LegendClass(value=254, name="undecided", color="#d0d0d0")
    mapped[doubtful & (mapped == 255)] = 1
    legend = Legend(classes=(*LEGEND.classes, one))
    left = np.where(doubtful, 254, mapped).astype(np.uint8)
    found = geoseg.evaluate_map(as_map(left, legend=legend), as_map(truth))
    without = geoseg.evaluate_map(as_map(np.where(doubtful, 255, mapped).astype(np.uint8)), as_map(truth))
    np.testing.assert_array_equal(found.pixels, without.pixels)
    assert found.legend == without.legend
    assert "leaves undecided has no class there" in " ".join(found.scenes[0].notes)
    unsure = truth.copy()
    unsure[doubtful & (np.arange(truth.shape[1]) < 60)] = 254
    both = geoseg.evaluate_map(as_map(left, legend=legend), as_map(unsure, legend=legend))
    assert both.class_table().set_index("class_name").recall["undecided"] == 1
    rows = (CrosswalkRow(side="after", source="undecided", target="water"),)
    told = geoseg.evaluate_map(as_map(left, legend=legend), as_map(truth), matching=Matching(crosswalk=rows))
    dry = geoseg.evaluate_map(as_map(np.where(doubtful, 1, mapped).astype(np.uint8)), as_map(truth))
    np.testing.assert_array_equal(told.pixels, dry.pixels)


def test_files_are_scored_as_arrays_are(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    mapped = mistaken(truth)
    for name, pixels in (("map", mapped), ("truth", truth)):
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633", "nodata": 255}
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", height=truth.shape[0], width=truth.shape[1], transform=UTM, **profile
        ) as dataset:
            dataset.write(pixels, 1)
    found = geoseg.evaluate_map(tmp_path / "map.tif", tmp_path / "truth.tif")
    np.testing.assert_array_equal(found.pixels, counted(truth, mapped))


def test_a_reference_of_polygons_is_set_on_the_grid_of_the_prediction(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    left, top = UTM @ (20, 10)
    frame = gpd.GeoDataFrame({"kind": ["forest"]}, geometry=[shapely.box(left, top - 300, left + 500, top)], crs=32633)
    frame.to_file(tmp_path / "p.gpkg")
    found = geoseg.evaluate_map(as_map(truth), tmp_path / "p.gpkg", class_column="kind")
    inside = truth[10:40, 20:70]
    assert found.margins.total == (inside != 255).sum()
    assert found.scores.accuracy == pytest.approx((inside == 2).sum() / (inside != 255).sum())


def test_names_of_polygons_are_not_guessed_for_values_without_names(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    left, top = UTM @ (20, 10)
    shapes = [shapely.box(left, top - 300, left + 250, top), shapely.box(left + 250, top - 300, left + 500, top)]
    # the order of the file would call grass 1 and water 2
    gpd.GeoDataFrame({"class": ["grass", "water"]}, geometry=shapes, crs=32633).to_file(tmp_path / "p.gpkg")
    bare = as_map(truth, legend=None)
    with pytest.raises(
        ParameterError, match=r"are names \(grass, water\).*values without names \(1, 2, 3, 4\).*--crosswalk"
    ):
        geoseg.evaluate_map(bare, tmp_path / "p.gpkg")
    rows = tuple(CrosswalkRow(side="after", source=str(value), target=name) for value, name in enumerate(NAMES, 1))
    told = geoseg.evaluate_map(bare, tmp_path / "p.gpkg", matching=Matching(crosswalk=rows))
    named = geoseg.evaluate_map(as_map(truth), tmp_path / "p.gpkg")
    assert (
        told.class_table().set_index("class_name").iou.to_dict()
        == named.class_table().set_index("class_name").iou.to_dict()
    )


def test_values_without_names_that_have_nothing_in_common_are_warned_of(truth: NDArray[np.uint8]) -> None:
    other = np.where(truth == 255, 255, truth + 10).astype(np.uint8)
    found = geoseg.evaluate_map(as_map(other, legend=None), as_map(truth, legend=None))
    assert found.scores.accuracy == 0
    assert "warning: no value of the reference (1, 2, 3, 4) is one of another map" in " ".join(found.scenes[0].notes)
    plain = geoseg.evaluate_map(as_map(mistaken(truth), legend=None), as_map(truth, legend=None))
    assert "warning" not in " ".join(plain.scenes[0].notes)


def test_maps_apart_and_maps_without_a_common_pixel_are_refused(truth: NDArray[np.uint8]) -> None:
    far = as_map(truth, transform=Affine(10, 0, 900_000, 0, -10, 5_000_000))
    with pytest.raises(InputError, match="do not overlap"):
        geoseg.evaluate_map(as_map(truth), far)
    left, right = truth.copy(), truth.copy()
    left[:, 75:], right[:, :75] = 255, 255
    with pytest.raises(InputError, match="no pixel that has a class in both"):
        geoseg.evaluate_map(as_map(left), as_map(right))


def test_classes_of_one_map_whose_names_differ_in_case_alone_are_two() -> None:
    names = ("Water", "water", "rock")
    legend = Legend(classes=tuple(LegendClass(value=i, name=n, color="#000000") for i, n in enumerate(names, 1)))
    truth = np.random.default_rng(0).integers(1, 4, (9, 11)).astype(np.uint8)
    mapped = np.where(np.random.default_rng(1).random((9, 11)) < 0.7, truth, 3).astype(np.uint8)
    found = geoseg.evaluate_map(as_map(mapped, legend=None), as_map(truth, legend=None), legend=legend)
    np.testing.assert_array_equal(found.pixels[:3, :3], counted(truth, mapped)[:3, :3])
    assert found.scores.accuracy == pytest.approx((truth == mapped).mean())
