"""`geoseg.detect_change`: two maps in memory."""

from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

import geoseg
from geoseg.area.class_areas import class_areas
from geoseg.change.comparison import Rules
from geoseg.change.legends import CrosswalkRow
from geoseg.change.plausible import PlausibleRow
from geoseg.change.posterior_rule import PosteriorRule, pair_weights
from geoseg.change.tolerance import without_slivers
from geoseg.errors import InputError, ParameterError
from geoseg.legend import Legend, LegendClass
from geoseg.vector.min_area import parse_min_area

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = ("water", "forest", "grass", "crop")
COLORS = ("#0000ff", "#00aa00", "#aaff00", "#ffcc00")
LEGEND = Legend(
    classes=tuple(LegendClass(value=v, name=n, color=c) for v, (n, c) in enumerate(zip(NAMES, COLORS, strict=True), 1))
)


def natural(shape: tuple[int, int] = (120, 150), *, seed: int = 0, sigma: float = 3.0) -> NDArray[np.uint8]:
    """Classes 1 to 4 in blobs, some nodata."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(5)]
    classes = np.argmax(fields, axis=0).astype(np.uint8) + 1
    classes[classes == 5] = 255
    return np.asarray(classes)


def array(pixels: Any, transform: Affine = UTM) -> Any:
    return wrap_xr(pixels, GeoBox(pixels.shape, transform, "EPSG:32633"), nodata=255)


def without_crs(pixels: Any) -> Any:
    coords = {"y": 5_000_000 - 10.0 * np.arange(len(pixels)), "x": 500_000 + 10.0 * np.arange(len(pixels[0]))}
    return xr.DataArray(pixels, dims=("y", "x"), coords=coords)


def later(before: Any, *, seed: int = 5) -> Any:
    """Another date: a strip of the border moved, and some real change."""
    after = np.roll(before, 1, axis=1)
    other = natural(before.shape, seed=seed)
    change = gaussian_filter(np.random.default_rng(seed).standard_normal(before.shape), 6) > 0.09
    after[change] = other[change]
    return after


def detect(before: Any, after: Any, **more: Any) -> Any:
    return geoseg.detect_change(array(before), array(after), legend=LEGEND, **more)


def test_a_map_against_itself_is_a_diagonal_matrix_and_no_polygon() -> None:
    change = detect(natural(), natural())
    assert change.counts.n_changed == 0
    assert len(change.polygons()) == 0
    assert change.summary.set_index("measure").area_ha.change == 0
    assert set(np.unique(change.codes)) == {0, 255}
    np.testing.assert_array_equal(change.codes == 255, natural() == 255)


def test_swapped_dates_transpose_the_matrix() -> None:
    one, two = natural(), later(natural())
    for rules in (Rules(), Rules(tolerance=1)):
        forth, back = detect(one, two, rules=rules), detect(two, one, rules=rules)
        assert forth.counts.n_changed > 0
        np.testing.assert_array_equal(forth.plain.units, back.plain.units.T)
        off = ~np.eye(5, dtype=bool)
        np.testing.assert_array_equal(forth.counts.units[off], back.counts.units.T[off])


def test_totals_are_the_area_tables_of_the_two_maps() -> None:
    one, two = natural(), later(natural())
    change = detect(one, two)
    matrix = change.matrix
    for pixels, totals in (
        (one, matrix[matrix.measure == "area_ha"].map_total[:4].tolist()),
        (two, matrix[matrix.measure == "area_ha"].iloc[-1, 3:7].tolist()),
    ):
        assert totals == class_areas(array(pixels), legend=LEGEND).area_ha.tolist()


def test_the_codes_say_what_became_what() -> None:
    one, two = natural(), later(natural())
    change = detect(one, two)
    codes = change.codes.to_numpy()
    expected = np.where(one == two, 0, 1 + 3 * (one.astype(int) - 1) + two - (two > one) - 1)
    np.testing.assert_array_equal(codes, np.where((one == 255) | (two == 255), 255, expected))
    meanings = change.codes.attrs["flag_meanings"].split()
    assert meanings[0] == "no_change"
    assert meanings[1 + 3 * 0 + 0] == "water_to_forest"
    assert change.codes.odc.geobox == array(one).odc.geobox
    assert change.codes.odc.nodata == 255


def test_polygons_rasterize_back_to_the_change_map() -> None:
    one, two = natural(), later(natural())
    percent = [np.random.default_rng(s).integers(40, 101, one.shape).astype(np.uint8) for s in (1, 2)]
    change = detect(one, two, confidence=tuple(map(array, percent)))
    found = change.polygons()
    assert list(found.columns) == [
        "change_id", "from_id", "from_name", "to_id", "to_name", "area_m2", "mean_conf", "geometry",
    ]  # fmt: skip
    assert shapely.coverage_is_valid(found.geometry.array)
    again = rasterize(zip(found.geometry, found.change_id, strict=True), out_shape=one.shape, transform=UTM, fill=0)
    codes = change.codes.to_numpy()
    np.testing.assert_array_equal(again, np.where(codes == 255, 0, codes))
    names = dict(enumerate(NAMES, 1))
    assert found.from_name.tolist() == [names[v] for v in found.from_id]
    assert found.to_name.tolist() == [names[v] for v in found.to_id]
    pairs = change.pairs[change.pairs.change_id > 0].set_index("change_id")
    by_code = found.groupby("change_id").area_m2.sum()
    np.testing.assert_allclose(by_code, pairs.area_m2[by_code.index], rtol=1e-12)
    joint = (percent[0].astype(int) * percent[1] + 50) // 100
    np.testing.assert_array_equal(change.confidence, joint)
    first = found.iloc[0]
    inside = rasterize([first.geometry], out_shape=one.shape, transform=UTM).astype(bool)
    assert first.mean_conf == pytest.approx(joint[inside].mean())


def test_tolerance_and_implausible_pairs_are_no_change_and_rows_keep_the_first_map() -> None:
    one, two = natural(), later(natural())
    rows = (PlausibleRow(source="forest", target="*", plausible=False),)
    change = detect(one, two, rules=Rules(tolerance=1, plausible=rows))
    real = without_slivers(one, two, tolerance=1)
    expected = (real != one) & (one != 2) & (one != 255) & (two != 255)
    codes = change.codes.to_numpy()
    np.testing.assert_array_equal((codes > 0) & (codes < 255), expected)
    assert 0 < change.counts.n_changed < change.plain.n_changed
    np.testing.assert_array_equal(change.counts.units.sum(axis=1), change.plain.units.sum(axis=1))
    assert change.pairs.mapped_ha.sum() == pytest.approx(change.pairs.area_ha.sum())


def shares_of(pixels: Any, *, seed: int) -> Any:
    """Probabilities of the four classes that mostly speak for these pixels."""
    rng = np.random.default_rng(seed)
    told = np.stack([pixels == v for v in (1, 2, 3, 4)]) * 1.0
    noisy = gaussian_filter(20 * told + 0.5 * rng.random(told.shape), (0, 1, 1)) + 1e-3
    parts = np.floor(254 * noisy / noisy.sum(axis=0)).astype(np.uint8)
    parts[0] += (254 - parts.sum(axis=0)).astype(np.uint8)
    parts[:, pixels == 255] = 255
    coords = {"class": list(NAMES)}
    return xr.DataArray(parts, dims=("class", "y", "x"), coords=coords)


def test_probabilities_decide_and_the_confidence_of_a_patch_is_its_mean_posterior() -> None:
    one, two = natural(), later(natural())
    both = shares_of(one, seed=1), shares_of(two, seed=2)
    rule = PosteriorRule(prior=0.1)
    change = detect(one, two, probabilities=both, rules=Rules(posterior=rule))
    seen = (one != 255) & (two != 255)
    p, q = (s.to_numpy().astype(float).transpose(1, 2, 0) for s in both)
    ratio = pair_weights(LEGEND, rule).ratio
    joint = p[..., :, None] * q[..., None, :] * ratio
    joint /= joint.sum(axis=(2, 3), keepdims=True)
    stays = np.trace(joint, axis1=2, axis2=3)
    codes = change.codes.to_numpy()
    sure = abs(stays - 0.5) > 1e-9
    np.testing.assert_array_equal(((codes > 0) & (codes < 255))[seen & sure], (stays < 0.5)[seen & sure])
    np.testing.assert_array_equal(codes == 255, ~seen)
    posterior = stays.copy()
    i, j = change.change_codes.pairs.T
    for code in np.unique(codes[(codes > 0) & (codes < 255)]):
        at = codes == code
        posterior[at] = joint[at][:, i[code - 1], j[code - 1]]
    percent = change.confidence.to_numpy()
    assert abs(percent[seen] - 100 * posterior[seen]).max() <= 0.51
    assert (percent[~seen] == 255).all()
    found = change.polygons()
    first = found.iloc[0]
    inside = rasterize([first.geometry], out_shape=one.shape, transform=UTM).astype(bool)
    assert first.mean_conf == pytest.approx(percent[inside].mean())
    assert 0 < change.counts.n_changed < change.plain.n_changed
    np.testing.assert_array_equal(change.plain.units, detect(one, two).plain.units)


def test_where_nothing_changed_a_pixel_counts_as_what_both_dates_say() -> None:
    one, two = np.array([[1, 1]], np.uint8), np.array([[2, 1]], np.uint8)
    before = xr.DataArray(np.array([[[130, 254]], [[124, 0]]], np.uint8), dims=("class", "y", "x"))
    after = xr.DataArray(np.array([[[20, 254]], [[234, 0]]], np.uint8), dims=("class", "y", "x"))
    two_classes = Legend(classes=LEGEND.classes[:2])
    change = geoseg.detect_change(
        array(one),
        array(two),
        legend=two_classes,
        probabilities=(before, after),
        rules=Rules(posterior=PosteriorRule()),
    )
    assert change.codes.to_numpy().tolist() == [[0, 0]]
    assert np.diag(change.counts.pixels).tolist() == [1, 1, 0]  # the first is forest by both dates together
    assert change.plain.pixels[0, 1] == 1


def test_with_a_smallest_area_counts_follow_what_probabilities_decided() -> None:
    one, two = natural(), later(natural())
    both = shares_of(one, seed=1), shares_of(two, seed=2)
    rules = Rules(tolerance=1, posterior=PosteriorRule(prior=0.2))
    change = detect(one, two, probabilities=both, rules=rules, min_area=parse_min_area("6px"))
    whole = detect(one, two, probabilities=both, rules=rules)
    codes, kept = change.codes.to_numpy(), whole.codes.to_numpy()
    assert 0 < change.counts.n_changed < whole.counts.n_changed
    i, j = change.change_codes.pairs.T
    pixels = np.bincount(codes.ravel(), minlength=256)
    np.testing.assert_array_equal(change.counts.pixels[i, j], pixels[1 : len(i) + 1])
    # a pixel that merging left alone counts as it did: all but the merged ones are the same
    merged = int((codes != kept).sum())
    assert abs(change.counts.pixels - whole.counts.pixels).sum() <= 2 * merged
    assert merged > 0


def test_probabilities_on_another_grid_are_brought_along() -> None:
    one = natural()
    fine = one.repeat(2, axis=0).repeat(2, axis=1)
    after = shares_of(one, seed=1)
    twice = xr.DataArray(
        after.to_numpy().repeat(2, axis=1).repeat(2, axis=2), dims=after.dims, coords={"class": list(NAMES)}
    )
    change = geoseg.detect_change(
        array(one), array(fine, Affine(5, 0, 500_000, 0, -5, 5_000_000)), legend=LEGEND, probabilities=(after, twice)
    )
    same = detect(one, one, probabilities=(after, after))
    np.testing.assert_array_equal(change.codes, same.codes)
    np.testing.assert_array_equal(change.confidence, same.confidence)


@pytest.mark.parametrize(
    "wrong",
    [
        xr.DataArray(np.zeros((3, 120, 150), np.uint8), dims=("class", "y", "x")),
        xr.DataArray(np.zeros((4, 120, 150), np.float32), dims=("class", "y", "x")),
        xr.DataArray(np.zeros((4, 10, 10), np.uint8), dims=("class", "y", "x")),
    ],
    ids=["classes", "type", "grid"],
)
def test_probabilities_that_do_not_fit_are_refused(wrong: Any) -> None:
    one = natural()
    with pytest.raises(ParameterError, match="probabilities of the map after"):
        detect(one, one, probabilities=(shares_of(one, seed=1), wrong))


def test_a_rule_for_probabilities_without_any_is_refused() -> None:
    with pytest.raises(InputError, match="the map before comes without class probabilities"):
        detect(natural(), natural(), rules=Rules(posterior=PosteriorRule()))


@pytest.mark.parametrize("text", ["0.3ha", "20px"])
def test_the_smallest_area_merges_patches_and_the_counts_follow(text: str) -> None:
    one, two = natural(), later(natural())
    change, plain = detect(one, two, min_area=parse_min_area(text)), detect(one, two)
    found, all_of_them = change.polygons(), plain.polygons()
    assert 0 < len(found) < len(all_of_them)
    codes = change.codes.to_numpy()
    pixels = np.bincount(codes.ravel(), minlength=256)
    counted = change.counts.pixels[:-1, :-1].copy()
    i, j = change.change_codes.pairs.T
    np.testing.assert_array_equal(counted[i, j], pixels[1 : len(i) + 1])
    assert np.trace(counted) == pixels[0]
    np.testing.assert_array_equal(codes == 255, plain.codes.to_numpy() == 255)
    np.testing.assert_array_equal(change.counts.units[-1], plain.counts.units[-1])
    np.testing.assert_array_equal(change.counts.units[:, -1], plain.counts.units[:, -1])
    # what is left below the limit touches nothing it could go to
    enough = {"0.3ha": 3000, "20px": 2000}[text] * 0.999
    small = found[found.area_m2 < enough]
    assert len(small) == 0 or len(small) < 0.02 * len(all_of_them)


def test_maps_on_other_grids_are_brought_together_and_it_is_said() -> None:
    one = natural()
    fine = one.repeat(2, axis=0).repeat(2, axis=1)[20:, 40:]
    change = geoseg.detect_change(
        array(one), array(fine, Affine(5, 0, 500_200, 0, -5, 4_999_900)), legend=LEGEND, rules=Rules()
    )
    assert change.codes.shape == (110, 130)
    assert change.counts.n_changed == 0
    assert len(change.notes) == 3
    assert change.counts.n_compared == (one[10:, 20:] != 255).sum()


def test_legends_are_matched_by_name_in_attributes_and_by_a_crosswalk() -> None:
    one = array(natural())
    one.attrs.update(flag_values=[1, 2, 3, 4], flag_meanings="water forest grass crop")
    swapped = np.array([0, 4, 3, 2, 1], np.uint8)
    pixels = natural()
    two = array(np.where(pixels == 255, 255, swapped[np.minimum(pixels, 4)]).astype(np.uint8))
    two.attrs.update(flag_values=[4, 3, 2, 1], flag_meanings="Water Forest Grass Cropland")
    change = geoseg.detect_change(one, two)
    assert change.notes[:2] == ("only the map before has: crop", "only the map after has: Cropland")
    rows = (CrosswalkRow(side="after", source="cropland", target="crop"),)
    assert geoseg.detect_change(one, two, rules=Rules(crosswalk=rows)).counts.n_changed == 0


def test_dask_arrays_and_many_classes_work() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 20, (40, 50)).astype(np.uint8)
    changed = pixels.copy()
    changed[5:9, 5:9] = (pixels[5:9, 5:9] + 1) % 20
    one, two = array(pixels).chunk(16), array(changed).chunk(32)
    change = geoseg.detect_change(one, two)
    assert change.codes.dtype == np.uint8  # 380 kinds could be, few are
    assert change.counts.n_changed == 16
    assert change.pairs[change.pairs.change_id > 0].pixels.sum() == 16
    everything = geoseg.detect_change(one, array(rng.integers(0, 20, (40, 50)).astype(np.uint8)))
    assert everything.codes.dtype == np.uint16
    assert everything.codes.odc.nodata == 65535
    with pytest.raises(ParameterError, match="kinds of change"):
        everything.polygons()


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"before": array(np.full((3, 3), 255, np.uint8))}, ParameterError, "the map before holds no class"),
        ({"after": array(np.ones((3, 3), np.uint8), Affine(10, 0, 0, 0, -10, 0))}, InputError, "do not overlap"),
        ({"years": 0.0}, ParameterError, "0.0 years"),
        ({"after": without_crs(np.ones((3, 3), np.uint8))}, ParameterError, "after has no CRS"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, Any], kind: Any, said: str) -> None:
    asked = {"before": array(np.ones((3, 3), np.uint8)), "after": array(np.ones((3, 3), np.uint8))} | change
    with pytest.raises(kind, match=said):
        geoseg.detect_change(asked.pop("before"), asked.pop("after"), **asked)


def test_probabilities_of_a_class_that_wins_nowhere_are_taken() -> None:
    rng = np.random.default_rng(0)

    def date() -> tuple[Any, Any]:
        pixels = rng.integers(1, 3, (4, 5)).astype(np.uint8)
        classes = array(pixels)
        classes.attrs.update(flag_values=[1, 2, 3], flag_meanings="water forest bare")
        bytes_of = np.stack([np.where(pixels == value, 250, 2) for value in (1, 2, 3)]).astype(np.uint8)
        probabilities = wrap_xr(bytes_of, classes.odc.geobox, nodata=255, dims=("class", "y", "x"), axis=1)
        return classes, probabilities.assign_coords({"class": ["water", "forest", "bare"]})

    (before, was), (after, now) = date(), date()
    change = geoseg.detect_change(before, after, probabilities=(was, now))
    expected = np.where(before.to_numpy() == after.to_numpy(), 0, 10 * before.to_numpy() + after.to_numpy())
    assert (np.asarray(change.codes) > 0).sum() == (expected > 0).sum()
