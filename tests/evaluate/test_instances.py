"""Objects found and missed."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label
from torchmetrics.functional.detection import panoptic_quality

import geoseg
from geoseg.errors import ParameterError
from geoseg.evaluate import plan as plan_module
from geoseg.evaluate.instances import THRESHOLDS, Matches, Overlaps, match_objects
from geoseg.evaluate.object_scores import ObjectScores, object_intervals, object_scores
from geoseg.evaluate.objects import overlaps_of
from geoseg.evaluate.ranking import Ranking
from tests.evaluate.conftest import UTM, as_map, mistaken, natural, worked_example


def of_ids(truth: NDArray[np.int64], mapped: NDArray[np.int64]) -> Overlaps:
    """Objects given as (rows, cols, 2) category and instance."""
    ids, sides = [], []
    for side in (truth, mapped):
        kinds, index, counts = np.unique(side.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
        ids.append(index.ravel())
        sides.append((kinds[:, 0].astype(np.uint8), counts.astype(np.int64)))
    pairs, common = np.unique(np.stack(ids, axis=1), axis=0, return_counts=True)
    (a, na), (b, nb) = sides
    return Overlaps(
        reference_class=a, reference_px=na, mapped_class=b, mapped_px=nb, mapped_unknown_px=np.zeros_like(nb),
        score=np.full(len(b), np.nan), pairs=pairs, common_px=common,
    )  # fmt: skip


def scores_of(overlaps: Overlaps, k: int) -> ObjectScores:
    return object_scores([match_objects(overlaps, k)])


def test_the_worked_example_of_panoptic_quality() -> None:
    example = worked_example("segmentation_metrics", "pq_torchmetrics")
    pred, target = (np.array(example["inputs"][name]) for name in ("pred", "target"))
    for side in (pred, target):  # of a category of stuff there is one segment
        side[np.isin(side[..., 0], example["inputs"]["stuff"]), 1] = 0
    found = of_ids(target, pred)
    expected = example["expected"]
    scores = [scores_of(found, int(k)) for k in expected["per_class"]]
    for one, known in zip(scores, expected["per_class"].values(), strict=True):
        assert (one.n_found, one.n_mapped - one.n_found, one.n_reference - one.n_found) == (
            known["TP"], known["FP"], known["FN"],
        )  # fmt: skip
        assert (one.pq, one.sq, one.rq) == pytest.approx((known["PQ"], known["SQ"], known["RQ"]), rel=1e-9)
    for name in ("PQ", "SQ", "RQ"):
        assert np.mean([getattr(s, name.lower()) for s in scores]) == pytest.approx(expected[name], rel=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_panoptic_quality_of_components_is_that_of_torchmetrics(seed: int) -> None:
    truth = natural((24, 26), seed=seed, sigma=1.5) % 5  # five classes, 255 among them
    mapped = mistaken(np.where(truth == 0, 255, truth).astype(np.uint8), seed=seed) % 5
    found = overlaps_of(truth.astype(np.uint8), mapped.astype(np.uint8))
    stacked = []
    for side in (mapped, truth):
        ids = sum(label(side == k)[0] for k in range(5))  # one class at a time, so ids do not mix
        stacked.append(torch.from_numpy(np.stack([side, ids], axis=-1).astype(np.int64))[None])
    both: dict[str, Any] = {"return_per_class": True, "return_sq_and_rq": True}
    theirs: Any = panoptic_quality(stacked[0], stacked[1], set(range(5)), {9}, **both)
    for k in range(5):
        ours = scores_of(found, k)
        expected = theirs[k].tolist()
        assert tuple(np.nan_to_num([ours.pq, ours.sq, ours.rq])) == pytest.approx(expected, abs=1e-6)


def test_the_worked_example_of_average_precision() -> None:
    example = worked_example("segmentation_metrics", "coco_one_box")
    masks = np.full((2, 300, 620), 1, np.uint8)
    for mask, (left, top, right, bottom) in zip(
        masks, (example["inputs"]["gt"][0]["box"], example["inputs"]["pred"][0]["box"]), strict=True
    ):
        mask[top:bottom, left:right] = 0
    found, expected = scores_of(overlaps_of(masks[0], masks[1]), 0), example["expected"]
    assert found.sq == pytest.approx(expected["iou"], rel=1e-9)
    assert (found.ap, found.ap50, found.ap75) == pytest.approx((expected["AP"], expected["AP50"], expected["AP75"]))


def test_the_worked_example_of_two_discs_is_one_component() -> None:
    # what separates touching objects is not the room of scores: here they are connected components
    example = worked_example("instance_separation", "two_discs")
    y, x = np.mgrid[:80, :80]
    discs = [(x - cx) ** 2 + (y - cy) ** 2 < r * r for cx, cy, r in example["inputs"]["discs"]]
    mask = np.where(discs[0] | discs[1], 0, 255).astype(np.uint8)
    found = overlaps_of(mask, mask)
    assert len(found.reference_px) == example["expected"]["components4"]
    assert found.reference_px[0] == example["expected"]["foreground"]


def average_precision(scores: NDArray[np.float64], right: NDArray[np.bool_], n: int) -> float:
    """By hand: for each of 101 recalls, the best precision of the lists that are at least as long as it takes."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    lists = [(h / n, h / (i + 1)) for i, h in enumerate(hits)]
    return float(np.mean([max((p for r, p in lists if r >= at / 100 - 1e-9), default=0.0) for at in range(101)]))


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_average_precision_is_the_area_under_the_best_precisions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 6), rng.integers(1, 8)
    common = rng.integers(0, 60, (n, m))
    pairs = np.argwhere(common > 0)
    overlaps = Overlaps(
        reference_class=np.zeros(n, np.uint8), reference_px=common.sum(axis=1) + rng.integers(1, 30, n),
        mapped_class=np.zeros(m, np.uint8), mapped_px=common.sum(axis=0) + rng.integers(1, 30, m),
        mapped_unknown_px=np.zeros(m, np.int64), score=rng.permutation(m) / 10, pairs=pairs,
        common_px=common[common > 0],
    )  # fmt: skip
    matches = match_objects(overlaps, 0)
    found = object_scores([matches])
    each = [average_precision(matches.score, right, int(n)) for right in matches.right.T]
    assert found.ap == pytest.approx(np.mean(each))
    assert (found.ap50, found.ap75) == pytest.approx((each[0], each[list(THRESHOLDS).index(0.75)]))
    # at half and more a counterpart is the only one, whatever the order
    assert matches.right[:, 1:].sum(axis=0)[0] == (matches.found_iou >= 0.55 - 1e-9).sum()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_average_precision_of_scenes_that_are_drawn_is_that_of_a_list_with_their_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 6, 4)
    scores = np.split(rng.permutation(int(n.sum())) / 100, np.cumsum(n)[:-1])
    scenes: list[Matches | None] = [
        Matches(
            n_reference=int(rng.integers(k, k + 4)), found_iou=np.zeros(0), score=score,
            size=rng.integers(1, 9, k), right=rng.random((k, 1)) > np.sort(rng.random(10)),
        )
        for k, score in zip(n, scores, strict=True)
    ]  # fmt: skip
    counts = rng.multinomial(5, [0.2] * 5, size=3).astype(np.float64)
    found = Ranking.of([*scenes, None]).average_precisions(counts)
    for row, times in zip(found, counts.astype(int), strict=True):
        taken = [m for m, k in zip(scenes, times, strict=False) for _ in range(k) if m is not None]
        total = sum(m.n_reference for m in taken)
        if not total:
            assert np.isnan(row).all()
            continue
        score, right = np.concatenate([m.score for m in taken]), np.concatenate([m.right for m in taken])
        assert row == pytest.approx([average_precision(score, each, total) for each in right.T])


def test_intervals_of_objects_are_from_scenes_and_say_nothing_of_one() -> None:
    def scene(n: int, right: int) -> Matches:
        sure = np.arange(n)[:, None] < right
        iou = np.full(right, 0.8)
        score = np.linspace(1, 0.5, n)
        return Matches(n_reference=n, found_iou=iou, score=score, size=np.ones(n, np.int64), right=np.tile(sure, 10))

    alike = object_intervals([scene(10, 6)] * 4, level=0.95)
    several = object_intervals([scene(10, 2), scene(10, 5), scene(10, 9), None], level=0.95)
    one = object_intervals([scene(10, 6)], level=0.95)
    known = asdict(object_scores([scene(10, 6)] * 4))
    assert set(alike) == {"pq", "ap", "ap50", "ap75"}
    for name, between in alike.items():
        assert (between.low, between.high) == pytest.approx((known[name], known[name]))
        assert 0 < several[name].low < several[name].high < 1
        assert np.isnan([one[name].low, one[name].high]).all()
    # one draw in seventeen has nothing but the worst scene and that without the class: more than the fortieth below
    worst, best = (object_scores([scene(10, right)]).ap50 for right in (2, 9))
    assert (several["ap50"].low, several["ap50"].high) == pytest.approx((worst, best))


def test_the_surer_object_is_taken_first() -> None:
    truth = np.full((10, 30), 1, np.uint8)
    truth[2:8, 2:12] = truth[2:8, 20:28] = 0
    mapped = truth.copy()
    mapped[2:8, 15:18] = 0  # a false one
    # of the three, the false one is last, or first: then precision is 1/2 at half of the objects, and 2/3 at all
    for confidence, expected in ((10, 1), (99, 2 / 3)):
        percent = np.full(truth.shape, 80, np.uint8)
        percent[:, 15:18] = confidence
        assert scores_of(overlaps_of(truth, mapped, percent), 0).ap50 == pytest.approx(expected)


def test_what_the_reference_does_not_say_is_no_part_of_an_object() -> None:
    truth = np.full((10, 20), 1, np.uint8)
    truth[2:8, 2:8] = 0
    mapped = truth.copy()
    truth[:, 8:] = 255
    mapped[2:8, 8:12] = 0  # goes on where nothing is known
    mapped[2:8, 14:18] = 0  # lies there altogether
    found = scores_of(overlaps_of(truth, mapped), 0)
    assert (found.pq, found.n_mapped, found.n_reference) == (1, 1, 1)


def test_an_object_that_is_found_counts_however_much_of_it_lies_where_nothing_is_known() -> None:
    truth = np.full((10, 10), 255, np.uint8)
    truth[:, :4] = 1
    found = scores_of(overlaps_of(truth, np.full((10, 10), 1, np.uint8)), 1)
    assert (found.pq, found.n_mapped, found.n_reference) == (1, 1, 1)


def test_what_the_prediction_leaves_out_is_missed_as_panopticapi_counts_it() -> None:
    truth = np.full((10, 30), 1, np.uint8)
    for left in (2, 12, 22):
        truth[2:8, left : left + 6] = 0
    mapped = truth.copy()
    mapped[:, 2:8] = 255  # all of the first object
    mapped[2:5, 12:18] = 255  # half of the second: what is left of it is no counterpart, and a false object
    mapped[2:4, 22:28] = 255  # a third of the last
    found = scores_of(overlaps_of(truth, mapped), 0)
    assert (found.n_reference, found.n_mapped, found.n_found) == (3, 2, 1)
    assert found.sq == pytest.approx(2 / 3)
    assert found.pq == pytest.approx(2 / 3 * 2 / 5)


def test_no_cut_into_blocks_changes_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = natural((90, 100), sigma=4)
    mapped = mistaken(truth)
    percent = as_map(np.random.default_rng(0).integers(0, 101, truth.shape).astype(np.uint8), legend=None)
    tables = []
    for side in (2048, 16):
        monkeypatch.setattr(plan_module, "BLOCK_PX", side)
        found = geoseg.evaluate_map(
            as_map(mapped), as_map(truth), confidence=percent, instances=("water", "4")
        ).object_table()
        assert found is not None
        tables.append(found)
    assert tables[0].equals(tables[1])
    assert list(tables[0].class_name) == ["water", "crop"]
    assert tables[0].n_reference[0] == label(truth == 1)[1]
    with pytest.raises(ParameterError, match="objects of 'houses' are asked for"):
        geoseg.evaluate_map(as_map(mapped), as_map(truth), instances=("houses",))


def test_polygons_of_a_reference_are_objects_of_their_own_for_every_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.full((40, 60), 255, np.uint8)
    mapped = np.full((40, 60), 1, np.uint8)
    boxes = [(5, 5, 20, 15), (5, 15, 20, 30), (25, 5, 35, 50)]  # the first two touch
    for top, left, bottom, right in boxes[:2]:
        mapped[top : bottom - 1, left:right] = 2
    mapped[5:19, 15] = 1  # apart in the map
    shapes = []
    for top, left, bottom, right in boxes:
        (x0, y0), (x1, y1) = UTM @ (left, top), UTM @ (right, bottom)
        shapes.append(shapely.box(x0, y1, x1, y0))
        truth[top:bottom, left:right] = 2
    gpd.GeoDataFrame({"class": ["forest"] * 3}, geometry=shapes, crs=32633).to_file(tmp_path / "p.gpkg")
    names: Any = {"borders": None, "instances": ("forest",)}
    for side in (2048, 16):
        monkeypatch.setattr(plan_module, "BLOCK_PX", side)
        found = geoseg.evaluate_map(as_map(mapped), tmp_path / "p.gpkg", **names)
        table = found.object_table()
        assert table is not None
        row = table.iloc[0]
        assert (row.n_reference, row.n_mapped, row.n_found) == (3, 2, 2)
        assert row.sq == pytest.approx((140 / 150 + 14 * 14 / 225) / 2)
        assert np.isnan(row.pq_low)  # one scene
    joined = geoseg.evaluate_map(as_map(mapped), as_map(truth), **names).object_table()
    assert joined is not None
    assert joined.n_reference[0] == 2


def test_without_objects_on_one_side_nothing_is_found() -> None:
    truth = np.full((9, 9), 1, np.uint8)
    truth[3:5, 3:5] = 0
    nothing = np.full((9, 9), 1, np.uint8)
    missed, false = scores_of(overlaps_of(truth, nothing), 0), scores_of(overlaps_of(nothing, truth), 0)
    assert (missed.pq, missed.ap, missed.n_reference, missed.n_mapped) == (0, 0, 1, 0)
    assert (false.pq, false.n_reference, false.n_mapped) == (0, 0, 1)
    assert np.isnan(false.ap)
    assert np.isnan(scores_of(overlaps_of(truth, nothing), 5).pq)
