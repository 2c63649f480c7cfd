"""Borders: boundary IoU, boundary F1, surface distance."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

import geoseg
from geoseg.area.metric import Metric
from geoseg.errors import ParameterError
from geoseg.evaluate import boundary
from geoseg.evaluate.border_sums import borders_of
from geoseg.evaluate.boundary import BorderScores, border_scores, in_metres
from geoseg.evaluate.ruler import BorderRule, Ruler
from geoseg.vector.simplify import Distance
from tests.evaluate.conftest import UTM, as_map, mistaken, natural, worked_example


def scored(
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    *,
    spacing: Any = (1.0, 1.0),
    tolerance: float = 1.0,
    band: int = 3,
) -> BorderScores:
    """Scores of whole arrays on a plane."""
    nodes = np.zeros((4, 4, 3))
    nodes[..., 0], nodes[..., 2] = spacing[1] ** 2, spacing[0] ** 2
    metric = Metric(shape=truth.shape, nodes=nodes, piece_px=1e9, cell_px=1, unit_m=1.0, error=0.0)
    ruler = Ruler.of(metric, BorderRule(tolerance=Distance(kind="m", amount=tolerance), band_px=band))
    whole = (slice(0, truth.shape[0]), slice(0, truth.shape[1]))
    return border_scores(in_metres(borders_of(truth, mapped, whole, ruler, int(truth[truth < 255].max()) + 1), ruler))


def squares(example: dict[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    masks = []
    for which in ("gt_rows_cols", "pred_rows_cols"):
        a, b, c, d = example["inputs"][which]
        mask = np.zeros(example["inputs"]["shape"], np.uint8)
        mask[a:b, c:d] = 1
        masks.append(mask)
    return masks[0], masks[1]


def test_the_worked_example_of_boundary_iou() -> None:
    example = worked_example("segmentation_metrics", "boundary_iou_square")
    expected = example["expected"]
    found = scored(*squares(example), band=expected["d"])
    assert found.iou[1] == pytest.approx(expected["boundary_iou"], rel=1e-9)


def test_the_worked_example_of_boundary_f1() -> None:
    example = worked_example("segmentation_metrics", "boundary_f1_square")
    for theta in example["inputs"]["theta"]:
        found, expected = scored(*squares(example), tolerance=theta), example["expected"][f"theta_{theta}"]
        assert found.precision[1] == pytest.approx(expected["precision"], rel=1e-9)
        assert found.recall[1] == pytest.approx(expected["recall"], rel=1e-9)
        assert found.f1[1] == pytest.approx(expected["f1"], rel=1e-9)


def test_the_worked_example_of_surface_distance() -> None:
    # its Hausdorff distances are not told here: they are those of one or a few pixels of a map of millions
    example = worked_example("segmentation_metrics", "surface_two_pixels")
    masks = np.zeros((2, *example["inputs"]["shape"]), np.uint8)
    masks[0][tuple(example["inputs"]["gt_pixel"])] = 1
    masks[1][tuple(example["inputs"]["pred_pixel"])] = 1
    found = scored(masks[0], masks[1], spacing=example["inputs"]["spacing"], tolerance=1)
    assert found.asd_m[1] == pytest.approx(example["expected"]["average_surface_distance"][0], rel=1e-9)
    assert found.surface_dice[1] == pytest.approx(example["expected"]["surface_dice_at_1"], rel=1e-9)


def edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(mask & ~binary_erosion(mask, border_value=1))


@settings(max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0), (10.0, 10.0), (3.0, 2.0)]))
def test_bands_and_edges_are_those_of_erosion_and_distance_transform(seed: int, spacing: Any) -> None:
    truth = np.argmax(np.random.default_rng(seed).random((3, 6, 7)), axis=0).repeat(7, 0).repeat(6, 1).astype(np.uint8)
    mapped = np.roll(truth, (2, -1), axis=(0, 1))
    found = scored(truth, mapped, spacing=spacing, tolerance=2.5 * spacing[0], band=2)
    for k in range(int(truth.max()) + 1):
        sides = (truth == k, mapped == k)
        bands = [m & ~binary_erosion(m, np.ones((3, 3)), iterations=2, border_value=1) for m in sides]
        if bands[0].any() or bands[1].any():
            assert found.iou[k] == pytest.approx((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())
        lines = [edges(m) for m in sides]
        if not lines[0].any() or not lines[1].any():
            continue
        away = [distance_transform_edt(~line, sampling=spacing) for line in lines]
        assert found.recall[k] == pytest.approx((away[1][lines[0]] <= 2.5 * spacing[0]).mean())
        assert found.precision[k] == pytest.approx((away[0][lines[1]] <= 2.5 * spacing[0]).mean())


def test_a_map_against_itself_has_every_border_in_place() -> None:
    truth = natural()
    found = geoseg.evaluate_map(as_map(truth), as_map(truth), borders=BorderRule()).borders
    assert found is not None
    for scores in (found.iou, found.f1, found.surface_dice):
        np.testing.assert_array_equal(scores, 1)
    np.testing.assert_array_equal(found.asd_m, 0)


def test_no_cut_into_blocks_changes_a_border(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = natural((200, 210), sigma=5)
    maps = as_map(mistaken(truth)), as_map(truth)
    whole = geoseg.evaluate_map(*maps, borders=BorderRule()).scenes[0].borders
    assert whole is not None
    assert np.count_nonzero(whole) > 0.9 * whole.size
    monkeypatch.setattr(boundary, "BORDER_BLOCK_PX", 50)
    cut = geoseg.evaluate_map(*maps, borders=BorderRule()).scenes[0].borders
    np.testing.assert_array_equal(whole, cut)


def test_what_was_not_observed_and_the_edge_of_the_map_are_no_border() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 255
    mapped = np.zeros((40, 40), np.uint8)
    mapped[:, 25:] = 1
    found = scored(truth, mapped)
    assert np.isnan(found.iou[0])
    assert np.isnan(found.f1[0])
    assert np.isnan(found.asd_m[0])


def test_distances_are_true_ones_where_degrees_are_narrow() -> None:
    degrees = Affine(0.001, 0, 10, 0, -0.001, 60)
    truth = np.full((30, 60), 1, np.uint8)
    truth[:, 30:] = 2
    mapped = np.roll(truth, 3, axis=1)
    mapped[:, :3] = 1
    maps = [as_map(p, transform=degrees, crs="EPSG:4326") for p in (mapped, truth)]
    found = geoseg.evaluate_map(*maps, borders=BorderRule()).borders
    assert found is not None
    # 0.003 degrees along the parallel of 59.985 degrees north: 3 * 55.83 m
    assert found.asd_m[0] == pytest.approx(167.5, rel=2e-3)
    near = geoseg.evaluate_map(*maps, borders=BorderRule(tolerance=Distance(kind="m", amount=168))).borders
    far = geoseg.evaluate_map(*maps, borders=BorderRule(tolerance=Distance(kind="m", amount=167))).borders
    assert near is not None
    assert far is not None
    assert (near.f1[0], far.f1[0]) == (1, 0)


def test_a_border_without_a_counterpart_in_reach_counts_as_at_its_end() -> None:
    truth, mapped = np.zeros((2, 30, 400), np.uint8)
    truth[:, :20] = 1
    mapped[:, 380:] = 1
    found = scored(truth, mapped)
    assert found.beyond[1] == 1
    assert found.asd_m[1] == pytest.approx(64)
    assert (found.f1[1], found.surface_dice[1]) == (0, 0)


def test_a_class_with_a_border_on_one_side_only_has_none_in_place() -> None:
    truth = np.zeros((30, 30), np.uint8)
    truth[5:9, 5:9] = 1
    found = scored(truth, np.zeros_like(truth))
    assert (found.iou[1], found.f1[1]) == (0, 0)
    assert np.isnan(found.asd_m[1])


def test_a_tolerance_of_half_the_map_is_refused() -> None:
    with pytest.raises(ParameterError, match="is 500 pixels of this map"):
        geoseg.evaluate_map(
            as_map(natural()), as_map(natural()), borders=BorderRule(tolerance=Distance(kind="m", amount=5000))
        )
    with pytest.raises(ParameterError, match="choose 1 to 512"):
        BorderRule(band_px=0)


def test_the_transform_of_a_rotated_grid_changes_nothing() -> None:
    truth = natural((80, 90))
    turned = UTM @ Affine.rotation(30)
    plain, rotated = (
        geoseg.evaluate_map(
            as_map(mistaken(truth), transform=t), as_map(truth, transform=t), borders=BorderRule()
        ).borders
        for t in (UTM, turned)
    )
    assert plain is not None
    assert rotated is not None
    np.testing.assert_allclose(plain.asd_m, rotated.asd_m, rtol=1e-3)
    np.testing.assert_array_equal(plain.f1, rotated.f1)
