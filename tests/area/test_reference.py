"""Reference points from real vector files, on maps of known pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.area.assess import Assessment, assess
from geoseg.area.estimate import estimate_areas
from geoseg.area.model_based import model_based_areas_m2
from geoseg.area.population import MapTotals, map_totals
from geoseg.area.reference import areas_at, classes_at, places_of, read_reference
from geoseg.area.report import estimates_table, matrix_table, summary_table
from geoseg.area.sample import Sample, Strata
from geoseg.errors import InputError, ParameterError, SceneError
from geoseg.legend import Legend, LegendClass
from geoseg.scene.class_raster import open_class_raster

LEGEND = Legend(
    classes=(
        LegendClass(value=1, name="Water", color="#0000ff"),
        LegendClass(value=4, name="Dry forest", color="#00ff00"),
        LegendClass(value=7, name="3", color="#ff0000"),
    )
)
DEGREES = Affine(0.5, 0, 5, 0, -0.5, 60)
SHAPE = (60, 80)
WritePoints = Callable[..., str]


def write_raster(path: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    stack = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"crs": "EPSG:4326", "transform": DEGREES, "nodata": 255, "dtype": stack.dtype} | changes
    names = profile.pop("names", None)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(stack), height=stack.shape[1], width=stack.shape[2], **profile
    ) as dataset:
        dataset.write(stack)
        if names:
            dataset.descriptions = names
    return path


def classes() -> NDArray[np.uint8]:
    """Three classes, the third rare, and the last ten columns without observation."""
    pixels = np.random.default_rng(4).choice(np.array([1, 4, 7], dtype=np.uint8), SHAPE, p=[0.5, 0.45, 0.05])
    pixels[:, 70:] = 255
    return pixels


@pytest.fixture
def held(tmp_path: Path) -> MapTotals:
    path = write_raster(tmp_path / "map.tif", classes(), tiled=True, blockxsize=16, blockysize=16)
    return map_totals(open_class_raster(path, legend=LEGEND))


@pytest.fixture
def write_points(tmp_path: Path) -> WritePoints:
    """A function that writes points at centres of pixels (row, col), with columns, and gives the path."""

    def write(
        rows: Any, cols: Any, *, name: str = "points.gpkg", crs: Any = "EPSG:4326", to: Any = None, **columns: Any
    ) -> str:
        x, y = 5 + 0.5 * (np.asarray(cols) + 0.5), 60 - 0.5 * (np.asarray(rows) + 0.5)
        frame = gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(x, y), crs=crs)
        if to is not None:
            frame = frame.to_crs(to)
        if name.endswith("parquet"):
            frame.to_parquet(tmp_path / name)
        else:
            frame.to_file(tmp_path / name)
        return str(tmp_path / name)

    return write


def drawn(held: MapTotals, seed: int = 1, n: int = 40) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of n pixels of each class."""
    rng = np.random.default_rng(seed)
    pixels = classes()
    at = np.concatenate([rng.permutation(np.argwhere(pixels == v))[:n] for v in held.legend.values])
    return at[:, 0], at[:, 1]


def found(held: MapTotals, path: str, **options: Any) -> Assessment:
    column = options.pop("strata_column", None)
    points = read_reference(path, column="truth", legend=held.legend, geobox=held.raster.geobox, strata_column=column)
    return assess(held, points, **options)


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        ([1, 4, 7], [0, 1, 2]),
        ([1.0, np.nan, 7.0], [0, 2]),
        (["Water", "dry FOREST ", "1"], [0, 1, 0]),
        (["4.0", "", None], [1]),
        # a name goes before a value
        (["3", "7", "255"], [2, 2]),
    ],
)
def test_labels_are_values_or_names(
    held: MapTotals, write_points: WritePoints, labels: list[Any], places: list[int]
) -> None:
    path = write_points([0, 1, 2], [0, 1, 2], truth=labels)
    points = read_reference(path, column="truth", legend=held.legend, geobox=held.raster.geobox)
    assert points.truth.tolist() == places
    assert points.n_unlabelled == 3 - len(places)


@pytest.mark.parametrize("name", ["p.gpkg", "p.shp", "p.fgb", "p.geojson", "p.parquet"])
def test_points_of_any_format_and_crs_fall_into_their_pixels(
    held: MapTotals, write_points: WritePoints, name: str
) -> None:
    rows, cols = drawn(held)
    to = "EPSG:3857" if name != "p.geojson" else None
    path = write_points(rows, cols, name=name, to=to, truth=classes()[rows, cols].astype(int))
    points = read_reference(path, column="truth", legend=held.legend, geobox=held.raster.geobox)
    places = places_of(points.x, points.y, held.raster.geobox)
    assert sorted(zip(places.row, places.col, strict=True)) == sorted(zip(rows, cols, strict=True))
    np.testing.assert_array_equal(held.index_of(classes_at(held.raster, places)), points.truth)
    by_row = held.areas.units(0, 0, *SHAPE)[places.row, places.col] * held.areas.unit_m2
    np.testing.assert_array_equal(areas_at(held.areas, places), by_row)


def test_a_point_on_an_edge_belongs_to_the_pixel_that_begins_there(held: MapTotals) -> None:
    # upper left corner, lower right corner, a corner inside, just outside, nowhere
    places = places_of(np.array([5, 45, 5.5, 4.999, np.inf]), np.array([60, 30, 59.5, 60, np.nan]), held.raster.geobox)
    assert places.inside.tolist() == [True, False, True, False, False]
    assert (places.row[2], places.col[2]) == (1, 1)


@pytest.mark.parametrize(
    ("west", "crs"), [(175, "EPSG:4326"), (0, "EPSG:4326"), (-185, "EPSG:4326"), (19e6, "EPSG:3857")]
)
def test_points_are_found_on_maps_that_count_longitudes_otherwise(west: float, crs: str) -> None:
    pixel = 3.6 if crs == "EPSG:4326" else 50_000
    geobox = GeoBox((40, 100), Affine(pixel, 0, west, 0, -pixel, 20 * pixel), crs)
    row, col = (i.ravel() for i in np.indices(geobox.shape)[:, 5:35])
    x, y = west + pixel * (col + 0.5), (19.5 - row) * pixel
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    lon = (lon + 180) % 360 - 180  # as every file of points has it
    places = places_of(*Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat), geobox)
    assert places.inside.all()
    assert (places.row == row).all()
    assert (places.col == col).all()


def test_an_assessment_is_the_estimate_of_its_points(held: MapTotals, write_points: WritePoints) -> None:
    rows, cols = drawn(held)
    mapped = classes()[rows, cols]
    truth = np.where(np.arange(len(rows)) % 5 == 0, 4, mapped)
    result = found(held, write_points(rows, cols, truth=truth.astype(int)))
    x, y = (np.asarray(v, dtype=np.float64) for v in (5 + 0.5 * (cols + 0.5), 60 - 0.5 * (rows + 0.5)))
    area = areas_at(held.areas, places_of(x, y, held.raster.geobox))
    pixels = classes()
    by_pixel = held.areas.units(0, 0, *SHAPE) * held.areas.unit_m2
    expected = estimate_areas(
        Sample(
            stratum=held.index_of(mapped),
            mapped=held.index_of(mapped),
            reference=held.index_of(truth.astype(np.uint8)),
            areas=area,
        ),
        Strata(
            names=held.legend.names,
            sizes=np.array([(pixels == v).sum() for v in (1, 4, 7)], dtype=float),
            areas=np.array([by_pixel[pixels == v].sum() for v in (1, 4, 7)]),
            holds=np.eye(3, dtype=bool),
        ),
        held.legend.names,
    )
    np.testing.assert_allclose(result.estimates.area.value, expected.area.value, rtol=1e-9)
    np.testing.assert_allclose(result.estimates.area.se, expected.area.se, rtol=1e-9)
    assert result.estimates.area.value.sum() == pytest.approx(held.areas_m2.sum(), rel=1e-12)
    assert result.notes[0].startswith("taken as drawn at random within each class of the map")


def test_what_becomes_of_points_is_said(held: MapTotals, write_points: WritePoints, tmp_path: Path) -> None:
    rows, cols = drawn(held)
    truth = [str(v) for v in classes()[rows, cols]]
    # two of one pixel, one on nodata, two outside, one without a label, one without a place
    path = write_points(
        [*rows, rows[0], 3, -5, 3, 4, 4],
        [*cols, cols[0], 75, 3, 900, 5, 6],
        truth=[*truth, "1", "1", "1", "4", "", "1"],
    )
    frame = gpd.read_file(path)
    frame.loc[len(frame) - 1, "geometry"] = None
    frame.to_file(tmp_path / "odd.gpkg")
    notes = found(held, str(tmp_path / "odd.gpkg")).notes
    assert "1 point without a label left out" in notes
    assert "1 point without a position left out" in notes
    assert "2 points outside the map left out" in notes
    assert "1 point on nodata left out" in notes
    assert "1 point in a pixel that has one already: all are used, as if drawn twice" in notes


def test_strata_of_a_raster_are_those_of_the_same_raster_as_classes(
    held: MapTotals, write_points: WritePoints, tmp_path: Path
) -> None:
    rows, cols = drawn(held)
    truth = np.where(np.arange(len(rows)) % 7 == 0, 1, classes()[rows, cols])
    path = write_points(rows, cols, truth=truth.astype(int))
    same = open_class_raster(write_raster(tmp_path / "strata.tif", classes()))
    a, b = found(held, path).estimates, found(held, path, strata=same).estimates
    np.testing.assert_array_equal(a.share.value, b.share.value)
    np.testing.assert_array_equal(a.users.se, b.users.se)


def test_strata_that_are_not_the_classes(held: MapTotals, write_points: WritePoints, tmp_path: Path) -> None:
    """Halves of the map as strata; a strip of five columns belongs to none."""
    halves = np.where(np.indices(SHAPE)[1] < 35, np.uint8(10), np.uint8(20))
    halves[:, :5] = 255
    strata = open_class_raster(write_raster(tmp_path / "strata.tif", halves))
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 60, 120), np.concatenate([rng.integers(3, 35, 60), rng.integers(35, 70, 60)])
    mapped = classes()[rows, cols]
    truth = np.where(np.arange(120) % 6 == 0, 4, mapped)
    result = found(held, write_points(rows, cols, truth=truth.astype(int)), strata=strata)
    outside = int((cols < 5).sum())
    assert outside > 0
    assert f"{outside} points on no stratum left out" in result.notes
    assert "the strata cover 92.86 % of the map: all estimates are for that part only" in result.notes
    inside = (classes() != 255) & (halves != 255)
    by_pixel = held.areas.units(0, 0, *SHAPE) * held.areas.unit_m2
    assert result.estimates.total_area == pytest.approx(by_pixel[inside].sum(), rel=1e-12)
    assert result.estimates.points_by_stratum.tolist() == [60 - outside, 60]
    # a stratum of 3000 valid pixels by its share of true area, and the points of it
    first = (cols >= 5) & (cols < 35)
    area = by_pixel[rows, cols]
    share = [
        (area * (truth == v))[part].sum() / area[part].sum() * by_pixel[inside & (halves == h)].sum()
        for v in (1, 4, 7)
        for part, h in ((first, 10), (cols >= 35, 20))
    ]
    np.testing.assert_allclose(result.estimates.area.value, np.array(share).reshape(3, 2).sum(axis=1), rtol=1e-9)


def test_strata_that_the_points_name(held: MapTotals, write_points: WritePoints) -> None:
    rows, cols = drawn(held)
    mapped = classes()[rows, cols].astype(int)
    truth = np.where(np.arange(len(rows)) % 7 == 0, 1, mapped)
    px = pd.Series(mapped).map(dict(zip(held.legend.values, held.pixels, strict=True)))
    m2 = pd.Series(mapped).map(dict(zip(held.legend.values, held.areas_m2, strict=True)))
    path = write_points(rows, cols, truth=truth, stratum=mapped, stratum_px=px, stratum_m2=m2)
    by_class, by_column = found(held, path), found(held, path, strata_column="stratum")
    said = "the points name other strata that they were drawn from: --strata stratum uses those"
    assert said not in by_class.notes
    others = write_points(rows, cols, truth=truth, stratum=mapped + 1, stratum_px=px, stratum_m2=m2)
    assert said in found(held, others).notes
    np.testing.assert_allclose(by_column.estimates.area.value, by_class.estimates.area.value, rtol=1e-12)
    np.testing.assert_allclose(by_column.estimates.area.se, by_class.estimates.area.se, rtol=1e-12)


def test_strata_of_a_larger_region_are_estimated_within_the_map(held: MapTotals, write_points: WritePoints) -> None:
    """One stratum of 6400 px, half of whose points lie on the map of 4200 px."""
    rows, cols = np.arange(120) % 60, np.concatenate([np.arange(60), np.full(60, 90)])
    truth = np.concatenate([classes()[rows[:60], cols[:60]].astype(int), np.full(60, 4)])
    path = write_points(rows, cols, truth=truth, region=["all"] * 120, region_px=[6400] * 120)
    result = found(held, path, strata_column="region")
    assert "60 points outside the map kept as land beyond it" in result.notes
    assert result.estimates.total_area == pytest.approx(held.areas_m2.sum())
    assert result.estimates.counts.sum() == 60
    assert result.estimates.points_by_stratum.tolist() == [120]


def test_tables_hold_the_estimates(held: MapTotals, write_points: WritePoints) -> None:
    rows, cols = drawn(held)
    mapped = classes()[rows, cols]
    truth = np.where(np.arange(len(rows)) % 5 == 0, 4, mapped)
    result = found(held, write_points(rows, cols, truth=truth.astype(int)), level=0.9)
    table = estimates_table(result)
    assert list(table.columns) == [
        "class_id", "class_name", "pixels", "mapped_ha", "area_ha", "se_ha", "low90_ha", "high90_ha", "users",
        "users_se", "producers", "producers_se", "n_map", "n_ref",
    ]  # fmt: skip
    assert table.class_name.tolist() == ["Water", "Dry forest", "3"]
    assert table.mapped_ha.sum() == pytest.approx(table.area_ha.sum())
    half = (table.high90_ha - table.low90_ha) / 2
    np.testing.assert_allclose(half, 1.6448536 * table.se_ha, rtol=1e-6)
    assert table.n_map.tolist() == [40, 40, 40]
    matrix = matrix_table(result)
    assert list(matrix.columns) == ["measure", "map_class", "Water", "Dry forest", "3", "total"]
    points, share = matrix[matrix.measure == "points"], matrix[matrix.measure == "share"]
    assert points.total.tolist() == [40, 40, 40, 120]
    assert share.total.iloc[-1] == pytest.approx(1)
    assert points.iloc[-1, 2:5].tolist() == table.n_ref.tolist()
    table = summary_table(result, with_kappa=True)
    summary = dict(zip(table["measure"], table["value"].astype(float), strict=True))
    assert summary["overall_accuracy"] == pytest.approx(float(result.estimates.overall.value))
    parts = summary["quantity_disagreement"] + summary["allocation_disagreement"]
    assert parts == pytest.approx(1 - summary["overall_accuracy"])
    assert summary["points"] == 120
    assert 0 < summary["kappa"] < 1
    assert "kappa" not in set(summary_table(result).measure)


def refusals() -> list[tuple[str, dict[str, Any], str]]:
    many = list(range(60))
    return [
        ("no CRS", {"crs": None, "truth": [1, 4]}, "has no CRS, so its points have no place"),
        ("no column", {"label": [1, 4]}, "has no column 'truth'; it has label"),
        ("unknown", {"truth": ["Water", "Moor"]}, "no class of the map: Moor; known are 1 Water, 4 Dry forest, 7 3"),
        ("unknown value", {"truth": [1, 9]}, "no class of the map: 9; known"),
        ("unlabelled", {"truth": ["", ""]}, "none of its points can be used; 2 points without a label left out"),
        ("far away", {"truth": [1, 1], "rows": [500, 600]}, "2 points outside the map left out; check that they are"),
        ("no stratum", {"truth": [1, 1], "strata": "s"}, "has no column 's'"),
        ("no sizes", {"truth": [1, 1], "strata": "s", "s": [1, 2]}, "has no column 's_px'"),
        ("two sizes", {"truth": [1, 1], "strata": "s", "s": [1, 1], "s_px": [5, 6]}, "differs within a stratum"),
        ("zero", {"truth": [1, 1], "strata": "s", "s": [1, 2], "s_px": [5, 0]}, "not positive"),
        ("texts", {"truth": [1, 1], "strata": "s", "s": [1, 2], "s_px": ["a", "b"]}, "holds texts"),
        ("empty", {"truth": [1, 1], "strata": "s", "s": ["a", None], "s_px": [5, 6]}, "1 points have no 's'"),
        ("many unknown", {"truth": [f"x{i}" for i in many], "rows": many}, r"x0, x1, x2, x3, x4, x5 and 54 more"),
    ]


@pytest.mark.parametrize(("changes", "match"), [r[1:] for r in refusals()], ids=[r[0] for r in refusals()])
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_points_that_cannot_be_used_are_refused(
    held: MapTotals, write_points: WritePoints, changes: dict[str, Any], match: str
) -> None:
    rows = changes.pop("rows", [1, 2])
    column = changes.pop("strata", None)
    path = write_points(rows, rows, **changes)
    with pytest.raises(InputError, match=match) as refused:
        found(held, path, strata_column=column)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_points_are_refused(held: MapTotals, tmp_path: Path) -> None:
    square = gpd.GeoDataFrame({"truth": [1]}, geometry=[shapely.box(5, 50, 6, 51)], crs=4326)
    square.to_file(tmp_path / "square.gpkg")
    square.iloc[:0].to_file(tmp_path / "none.gpkg")
    dots = square.assign(geometry=[shapely.MultiPoint([(6, 50), (7, 51)])])
    dots.to_file(tmp_path / "dots.gpkg")
    (tmp_path / "virtual.gpkg").write_text("<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>")
    (tmp_path / "broken.gpkg").write_bytes(b"SQLite format 3\0" + bytes(50))
    for name, match in {
        "square.gpkg": "holds Polygon, and reference points are points",
        "none.gpkg": "has no features",
        "dots.gpkg": "holds MultiPoint",
        "virtual.gpkg": "does not start as a .gpkg file does",
        "broken.gpkg": "cannot be read as a vector file",
        "points.doc": "is not a format geoseg reads points from",
        "map.tif": "is not a format geoseg reads points from",
    }.items():
        with pytest.raises(InputError, match=match):
            found(held, str(tmp_path / name))


def test_a_layer_is_named_where_there_are_several(held: MapTotals, write_points: WritePoints, tmp_path: Path) -> None:
    rows, cols = drawn(held)
    path = write_points(rows, cols, truth=classes()[rows, cols].astype(int))
    frame = gpd.read_file(path)
    frame.iloc[:1].to_file(path, layer="first one")
    with pytest.raises(InputError, match=r"has the layers points, first one: name one, as in .*gpkg:points"):
        found(held, path)
    with pytest.raises(InputError, match="has no layer 'second' with geometries; it has points, first one"):
        found(held, f"{path}:second")
    assert found(held, f"{path}:points").estimates.counts.sum() == 120
    assert found(held, f"{path}:first one").estimates.counts.sum() == 1


def test_multipoints_of_one_point_are_points(held: MapTotals, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"truth": [1]}, geometry=[shapely.MultiPoint([(5.1, 59.9)])], crs=4326)
    frame.to_file(tmp_path / "p.gpkg")
    points = read_reference(str(tmp_path / "p.gpkg"), column="truth", legend=held.legend, geobox=held.raster.geobox)
    assert (points.x.tolist(), points.y.tolist()) == ([5.1], [59.9])


def test_strata_on_another_grid_and_contradictions_are_refused(
    held: MapTotals, write_points: WritePoints, tmp_path: Path
) -> None:
    path = write_points([1, 2], [1, 2], truth=[1, 4])
    moved = write_raster(tmp_path / "moved.tif", classes(), transform=DEGREES @ Affine.translation(1, 0))
    with pytest.raises(ParameterError, match=r"moved\.tif is not on the grid of .*map\.tif"):
        found(held, path, strata=open_class_raster(moved))
    apart = np.full(SHAPE, 255, dtype=np.uint8)
    apart[:, 75:] = 1
    with pytest.raises(ParameterError, match=r"apart\.tif has no stratum where"):
        found(held, path, strata=open_class_raster(write_raster(tmp_path / "apart.tif", apart)))
    same = open_class_raster(write_raster(tmp_path / "strata.tif", classes()))
    with pytest.raises(ParameterError, match="not drawn from strata: leave the strata out, or post-stratify"):
        found(held, path, strata=same, sampling="random")


def chances(seed: int = 0) -> NDArray[np.float64]:
    """(class, row, col) that sum to 1."""
    raw = np.random.default_rng(seed).gamma(1.0, size=(3, *SHAPE))
    return np.asarray(raw / raw.sum(axis=0))


def as_bytes(p: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Steps of 1/254 that sum to 254: the last class takes the rounding."""
    steps = np.floor(254 * p[:-1]).astype(np.uint8)
    return np.concatenate([steps, (254 - steps.sum(axis=0, dtype=np.int64))[None].astype(np.uint8)])


def test_expected_areas_are_sums_of_probability_times_area(held: MapTotals, tmp_path: Path) -> None:
    p, seen = chances(), classes() != 255
    by_pixel = np.where(seen, held.areas.units(0, 0, *SHAPE) * held.areas.unit_m2, 0)
    stored = as_bytes(p)
    stored[:, 3, 75] = 255  # where the map has nothing either
    path = write_raster(tmp_path / "p.tif", stored, names=("Water", "Dry forest", "3"))
    expected = model_based_areas_m2(held, path)
    np.testing.assert_allclose(expected, (stored / 254.0 * by_pixel).sum(axis=(1, 2)), rtol=1e-12)
    assert expected.sum() == pytest.approx(held.areas_m2.sum(), rel=1e-12)
    floats = write_raster(tmp_path / "f.tif", p.astype(np.float32), nodata=None)
    np.testing.assert_allclose(model_based_areas_m2(held, floats), (p * by_pixel).sum(axis=(1, 2)), rtol=1e-6)
    # bands are put in order by their names
    turned = write_raster(tmp_path / "t.tif", stored[::-1], names=("3", "dry forest", "WATER"))
    np.testing.assert_array_equal(model_based_areas_m2(held, turned), expected)
    # a map that is sure of itself expects what it counts
    sure = np.stack([254 * (classes() == v) for v in (1, 4, 7)]).astype(np.uint8)
    np.testing.assert_allclose(
        model_based_areas_m2(held, write_raster(tmp_path / "s.tif", sure)), held.areas_m2, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        (lambda p: p[:2], {}, "has the bands .no name., .no name., and the map the classes Water, Dry forest, 3"),
        (lambda p: p, {"names": ("Water", "Moor", "3")}, "has the bands Water, Moor, 3"),
        (lambda p: p * 3, {}, "values from 0 to"),
        (lambda p: p - 1, {}, "and probabilities are from 0 to 1: apply a softmax first"),
        (lambda p: p / 2, {}, "its bands sum to 0.500 on average"),
        (lambda p: p.astype(np.float64), {}, "bands of float64, and probabilities are uint8"),
        (lambda p: p, {"crs": "EPSG:32633"}, "is not on the grid of"),
        (lambda p: p[:, :-1], {}, "is not on the grid of"),
    ],
)
def test_what_are_no_probabilities_of_the_map_is_refused(
    held: MapTotals, tmp_path: Path, change: Callable[[Any], Any], options: dict[str, Any], match: str
) -> None:
    path = write_raster(tmp_path / "p.tif", change(chances().astype(np.float32)), **{"nodata": None, **options})
    with pytest.raises(SceneError, match=match):
        model_based_areas_m2(held, path)


def test_a_truncated_raster_of_probabilities_is_named(held: MapTotals, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "p.tif", as_bytes(chances()), compress="deflate")
    path.write_bytes(path.read_bytes()[:-6000])
    with pytest.raises(SceneError, match=r"p\.tif: cannot be (read|opened)"):
        model_based_areas_m2(held, path)
