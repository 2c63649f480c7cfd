"""A model held against a scene: which band is which, in what unit, at what size; or why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard
from geoseg.models.load import Model, load_model
from geoseg.models.match import match
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene

BANDS = ("blue", "green", "red", "nir")


def model(*names: str, optional: tuple[str, ...] = (), **card: Any) -> Model:
    """A model whose network is never built."""
    bands = [{"name": n, "required": n not in optional, "mean": i + 1, "std": 2} for i, n in enumerate(names)]
    content: dict[str, Any] = {"name": "toy", "version": "1", "kind": "smp", "units": "any", "bands": bands} | card
    content |= {"architecture": {"name": "Unet", "encoder": "resnet18"}, "weights": "w.safetensors"}
    content["classes"] = [{"value": i, "name": f"class {i}", "color": "#999999"} for i in (1, 2)]
    card_ = ModelCard.model_validate(content)
    return Model(
        card=card_,
        source="toy.yaml",
        bands=tuple(b.name for b in card_.bands),
        mean=tuple(b.mean for b in card_.bands),
        std=tuple(b.std for b in card_.bands),
    )


def scene(folder: Path, names: tuple[str, ...], *, dtype: str = "uint16", **stated: Any) -> Scene:
    """A scene of 10 m pixels whose bands have these names; an empty one leaves a band without."""
    path = folder / "a.tif"
    side = stated.pop("side", 40)
    profile = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": stated.pop("nodata", None)}
    values = np.random.default_rng(1).integers(100, 5000, (len(names), side, side)).astype(dtype)
    with rasterio.open(path, "w", "GTiff", side, side, len(names), dtype=dtype, **profile) as file:
        file.write(stated.pop("values", values))
        for index, name in enumerate(names, 1):
            file.set_band_description(index, name)
    return open_scene(path, **stated)


def taken(fit: Any) -> list[tuple[str, int]]:
    """Name of each input channel and the band of the file that it takes."""
    return [(name, band.index) for name, band in zip(fit.model.bands, fit.bands, strict=True)]


def test_bands_are_taken_by_name_whatever_their_order(tmp_path: Path) -> None:
    fit = match(model(*BANDS), scene(tmp_path, ("nir", "other", "red", "blue", "green")))
    assert taken(fit) == [("blue", 4), ("green", 5), ("red", 3), ("nir", 1)]
    assert fit.notes == ()


def test_optional_bands_are_taken_where_the_scene_has_them(tmp_path: Path) -> None:
    toy = model(*BANDS, optional=("green",))
    assert taken(match(toy, scene(tmp_path, ("nir", "red", "blue")))) == [("blue", 3), ("red", 2), ("nir", 1)]
    assert len(match(toy, scene(tmp_path, ("nir", "red", "blue", "green"))).bands) == 4


@pytest.mark.parametrize(
    "names", [("", "", "", ""), ("a", "b", "c", "d"), ("blue", "", "", ""), ("blue", "b", "red", "")]
)
def test_bands_without_telling_names_are_taken_in_order_and_it_is_said(tmp_path: Path, names: tuple[str, ...]) -> None:
    fit = match(model(*BANDS), scene(tmp_path, names))
    assert taken(fit) == [("blue", 1), ("green", 2), ("red", 3), ("nir", 4)]
    assert any("taken in the model's order, blue, green, red, nir" in n and "--bands" in n for n in fit.notes)


def test_without_names_the_required_bands_are_enough(tmp_path: Path) -> None:
    toy = model(*BANDS, "swir16", optional=("swir16",))
    assert [name for name, _ in taken(match(toy, scene(tmp_path, ("", "", "", ""))))] == list(BANDS)
    assert [name for name, _ in taken(match(toy, scene(tmp_path, ("",) * 5)))] == [*BANDS, "swir16"]


@pytest.mark.parametrize(
    "names",
    [
        ("red", "", "", ""),
        ("", "blue", "", ""),
        ("blue", "green", "nir", "x"),
        ("swir16", "a", "b", "c"),
        ("blue", "green", "red", "nir08"),
    ],
)
def test_a_name_in_the_wrong_place_forbids_taking_bands_in_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"a\.tif: model toy needs the bands .*lacks .*pass --bands"):
        match(model(*BANDS), scene(tmp_path, names))


@pytest.mark.parametrize("names", [("", "", ""), ("",) * 5, ("red", "nir")])
def test_another_number_of_bands_is_refused_with_what_is_missing(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=rf"the file has {len(names)} .*lacks .*pass --bands"):
        match(model(*BANDS), scene(tmp_path, names))


def test_common_names_that_the_model_does_not_know_are_not_taken_for_others(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the file has 3 .nir, swir16, swir22. and lacks blue, green, red"):
        match(model("blue", "green", "red"), scene(tmp_path, ("B08", "B11", "B12")))


def test_force_does_not_invent_bands(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lacks"):
        match(model(*BANDS), scene(tmp_path, ("", "")), force=True)


def test_integers_of_unknown_unit_are_not_taken_for_reflectance(tmp_path: Path) -> None:
    toy = model(*BANDS, units="reflectance")
    with pytest.raises(ModelError, match=r"needs reflectance; the file holds uint16 .*pass --scale 0\.0001"):
        match(toy, scene(tmp_path, BANDS))
    assert match(toy, scene(tmp_path, BANDS), force=True).notes == (
        "stored numbers taken as reflectance, because of --force",
    )
    assert match(toy, scene(tmp_path, BANDS, scale=0.0001)).notes == ()
    physical = np.random.default_rng(1).uniform(0.01, 0.5, (4, 40, 40)).astype("float32")
    assert "floating-point pixels" in match(toy, scene(tmp_path, BANDS, dtype="float32", values=physical)).notes[0]
    assert match(model(*BANDS, units="dn"), scene(tmp_path, BANDS)).notes == ()


def test_gain_and_bias_are_scale_offset_mean_and_std_in_one(tmp_path: Path) -> None:
    fit = match(model("red", "nir", units="reflectance"), scene(tmp_path, ("nir", "red"), scale=0.0001, offset=-0.1))
    stored = np.array([0.0, 1234.0])
    for i, (mean, std) in enumerate(((1, 2), (2, 2))):
        expected = (stored * 0.0001 - 0.1 - mean) / std
        np.testing.assert_allclose(stored * fit.gain[i] + fit.bias[i], expected, rtol=1e-12)


@pytest.mark.parametrize("units", ["dn", "any"])
def test_stored_numbers_go_to_a_model_of_stored_numbers_unscaled(tmp_path: Path, units: str) -> None:
    fit = match(model("red", units=units), scene(tmp_path, ("red",), scale=0.0001, offset=-0.1))
    assert (fit.gain, fit.bias) == ((0.5,), (-0.5,))


def test_another_ground_sampling_distance_is_refused_unless_forced(tmp_path: Path) -> None:
    ten_metres = scene(tmp_path, BANDS)
    assert match(model(*BANDS, gsd_m=12.0), ten_metres).notes == ()
    for gsd in (2.0, 30.0):
        toy = model(*BANDS, gsd_m=gsd)
        with pytest.raises(ModelError, match=rf"pixels of 10 m, but model toy was trained at {gsd:g} m; resample"):
            match(toy, ten_metres)
        assert "because of --force" in match(toy, ten_metres, force=True).notes[0]


def test_a_scene_beyond_the_place_of_a_model_is_mapped_and_told(tmp_path: Path) -> None:
    own = scene(tmp_path, BANDS)  # at 15 degrees east and 45 degrees north
    assert match(model(*BANDS, place=[14, 44, 16, 46]), own).notes == ()
    for place in ([15.5, 44, 16, 46], [14, 46, 16, 47]):
        (note,) = match(model(*BANDS, place=place), own).notes
        assert f"longitudes {place[0]:g} to 16 and latitudes {place[1]} to {place[3]}" in note
        assert "middle lies at 15, 45.15" in note


def test_kmeans_fits_itself_to_the_scene_the_same_each_time(tmp_path: Path) -> None:
    image = scene(tmp_path, ("", "x", "nir"))
    fits = [match(load_model("kmeans:4"), image, seed=seed) for seed in (0, 0, 1)]
    assert fits[0] == fits[1]
    assert fits[0].model.digest != fits[2].model.digest
    assert taken(fits[0]) == [("band 1", 1), ("x", 2), ("nir", 3)]
    assert fits[0].notes == ("centres of 4 clusters from 1600 pixels of the scene",)


def test_kmeans_on_a_scene_without_a_valid_pixel_still_matches(tmp_path: Path) -> None:
    image = scene(tmp_path, ("red", "nir"), values=np.full((2, 40, 40), 7, np.uint16), nodata=7)
    fit = match(load_model("kmeans:3"), image)
    assert fit.model.centres is not None
    assert all(np.isfinite(c).all() for c in fit.model.centres)


def test_a_model_fitted_to_a_scene_pickles(tmp_path: Path) -> None:
    import pickle

    fit = match(load_model("kmeans:3"), scene(tmp_path, ("red", "nir")))
    assert pickle.loads(pickle.dumps(fit)) == fit
