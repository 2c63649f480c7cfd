"""Pixels that are not what the model expects are named, and real scenes that fit never are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from geoseg.models.card import PROBABILITIES
from geoseg.models.load import load_model
from geoseg.models.pixels import Doubt, doubt_of, guess_scaling

DATA = Path(__file__).parents[3] / "shared" / "data"
SAMPLES = Path(__file__).parents[2] / "sample_data" / "scenes"
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
RGB = ("red", "green", "blue", "nir")
C2 = (0.0000275, -0.2)

real = pytest.mark.skipif(not DATA.is_dir(), reason="the real rasters are not beside this repository")


def pixels(path: Path, scale: float = 1.0, offset: float = 0.0) -> NDArray[np.float32]:
    """Physical values (pixel, band) of some valid pixels of a raster."""
    with rasterio.open(path) as dataset:
        values = dataset.read().reshape(dataset.count, -1).T
        if dataset.nodata is not None:
            values = values[(values != dataset.nodata).all(axis=1)]
    chosen = np.random.default_rng(0).choice(len(values), min(8192, len(values)), replace=False)
    physical: NDArray[np.float32] = (values[chosen] * scale + offset).astype(np.float32)
    return physical


def trained(scenes: list[NDArray[np.float32]], bands: tuple[str, ...]) -> dict[str, dict[float, float]]:
    """Quantiles as a card has them."""
    seen = np.quantile(np.concatenate(scenes), PROBABILITIES, axis=0)
    return {
        b: dict(zip(PROBABILITIES, map(float, seen[:, i]), strict=True)) for i, b in enumerate(bands[: seen.shape[1]])
    }


def real_sets() -> Iterator[tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], tuple[str, ...], bool]]:
    """Training and other scenes of one kind, their bands, and whether they are reflectance."""

    def of(*patterns: str, scaling: tuple[float, float] = (1, 0)) -> list[NDArray[np.float32]]:
        return [pixels(path, *scaling) for pattern in patterns for path in sorted(DATA.glob(pattern))]

    for folder, bands in (("amazon-s2rgb-forest", RGB), ("chesapeake-naip-1m", RGB), ("zion-landsat8-nlcd", BANDS)):
        yield of(f"{folder}/train/*_image*.tif"), of(f"{folder}/val/*_image*.tif"), bands, False
    with_jpegs = of("dubai-rgb-6class/train/*.jpg"), of("dubai-rgb-6class/val/*.jpg")
    yield *with_jpegs, RGB, False
    yield of("naip-nd-pair/*2009*.tif"), of("naip-nd-pair/*2017*.tif"), RGB, False
    yield of("taizhou-landsat-change/taizhou_2000.tif"), of("taizhou-landsat-change/taizhou_2003.tif"), BANDS, False
    s2 = (0.0001, 0.0)
    yield (
        of("oscd-s2-change/train/*/*_date?.tif", scaling=s2),
        of("oscd-s2-change/val/*/*_date?.tif", scaling=s2),
        BANDS,
        True,
    )
    pair = "brumadinho-landsat8-pair/brumadinho_201901"
    yield of(f"{pair}14.tif", scaling=C2), of(f"{pair}30.tif", scaling=C2), BANDS, True


@real
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_real_scene_that_fits_is_doubted_and_wrong_units_and_offsets_always_are() -> None:
    n_fit, n_reflectance = 0, 0
    for before, after, bands, reflectance in real_sets():
        quantiles = trained(before, bands)
        for values in before + after:
            names = bands[: values.shape[1]]
            assert doubt_of(values, names, reflectance=reflectance, quantiles=quantiles) is None
            assert doubt_of(values, names, reflectance=reflectance, quantiles={}) is None
            n_fit += 1
            if not reflectance:
                wrong = doubt_of(values / np.float32(255), names, reflectance=False, quantiles=quantiles)
                assert wrong is not None
                assert wrong.gain == 255
                continue
            n_reflectance += 1
            for known in (quantiles, {}):
                how: dict[str, Any] = {"reflectance": True, "quantiles": known}
                assert shown(doubt_of(values * 10_000, names, **how)) == (0.0001, 0, None)
                assert shown(doubt_of(values + np.float32(0.1), names, **how)) == (1, -0.1, None)
                assert shown(doubt_of(values - np.float32(0.1), names, **how)) == (1, 0.1, None)
                swapped = ("nir", *names[1:3], "blue", *names[4:])
                assert shown(doubt_of(values, swapped, **how)) == (1, 0, names)
            assert (guess_scaling(values * 10_000, names) or (0, 0))[:2] == (0.0001, 0)
            assert (guess_scaling(values * 10_000 + 1000, names) or (0, 0))[:2] == (0.0001, -0.1)
            assert (guess_scaling((values + 0.2) / 0.0000275, names) or (0, 0))[:2] == C2
    assert (n_fit, n_reflectance) == (95, 8)


def shown(doubt: Doubt | None) -> Any:
    return None if doubt is None else (doubt.gain, doubt.shift, doubt.names)


@pytest.mark.parametrize(
    ("change", "gain", "shift"),
    [
        (lambda v: v, None, None),
        (lambda v: v * 10_000, 0.0001, 0),
        (lambda v: v * 10_000 + 1000, 0.0001, -0.1),
        (lambda v: v + 0.1, 1, -0.1),
        (lambda v: v - 0.1, 1, 0.1),
        (lambda v: v * 0.0001, 10_000, 0),
        (lambda v: v * 100, 0.01, 0),
    ],
)
def test_the_shipped_network_knows_the_pixels_it_was_trained_on(
    change: Callable[[Any], Any], gain: float | None, shift: float | None
) -> None:
    card = load_model("landcover-unet").card
    names = tuple(b.name for b in card.bands)
    for path in sorted(SAMPLES.glob("*.tif")):
        values = change(pixels(path, 0.0001)).astype(np.float32)
        doubt = doubt_of(values, names, reflectance=True, quantiles=card.quantiles)
        assert doubt == None or gain is not None, doubt  # noqa: E711
        if gain is not None:
            assert doubt is not None
            assert (doubt.gain, doubt.shift) == (gain, shift), doubt


def test_swapped_red_and_blue_are_seen_by_what_was_trained() -> None:
    card = load_model("landcover-unet").card
    for path in sorted(SAMPLES.glob("*.tif")):
        values = pixels(path, 0.0001)[:, [2, 1, 0, 3, 4]]
        doubt = doubt_of(values, [b.name for b in card.bands], reflectance=True, quantiles=card.quantiles)
        assert doubt is not None
        assert doubt.names == ("red", "green", "blue", "nir", "swir16")


def test_land_that_training_never_saw_is_far_from_it_and_mended_by_no_option() -> None:
    card = load_model("landcover-unet").card
    snow = np.random.default_rng(0).normal([0.9, 0.9, 0.88, 0.8, 0.1], 0.03, (5000, 5)).astype(np.float32)
    names = [b.name for b in card.bands]
    doubt = doubt_of(snow, names, reflectance=True, quantiles=card.quantiles)
    assert doubt is not None
    assert "far from all of the training: the median of blue is 0.899, and was trained from 0.016" in doubt.what
    assert not doubt.rescales
    assert doubt_of(snow, names, reflectance=True, quantiles={}) is None


def test_haze_over_leaves_is_no_offset_where_there_is_water_or_shadow() -> None:
    rng = np.random.default_rng(2)
    leaves = rng.normal([0.16, 0.15, 0.12, 0.42], 0.01, (4000, 4))
    water = rng.normal([0.15, 0.13, 0.10, 0.05], 0.01, (100, 4))
    hazy = np.concatenate((leaves, water)).astype(np.float32)
    assert doubt_of(hazy, BANDS[:4], reflectance=True, quantiles={}) is None
    offset = doubt_of(hazy + np.float32(0.1), BANDS[:4], reflectance=True, quantiles={})
    assert offset is not None
    assert offset.shift == -0.1


def test_too_few_pixels_say_nothing() -> None:
    assert doubt_of(np.full((399, 3), 5000, np.float32), RGB[:3], reflectance=True, quantiles={}) is None
    assert doubt_of(np.full((400, 3), 5000, np.float32), RGB[:3], reflectance=True, quantiles={}) is not None
