"""Rules: the spectra they must tell apart, probabilities along a path, and no pixel that sees another."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geoseg.models.load import build_network, load_model
from geoseg.models.spectral import SpectralRules

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "spectral_indices.json"

# Constructed, typical reflectances; with and without SWIR.
SPECTRA = {
    "clear water": ((0.042, 0.038, 0.026, 0.012, 0.006, 0.004), "water", "water"),
    "turbid water": ((0.090, 0.120, 0.110, 0.050, 0.020, 0.015), "water", "water"),
    "dense forest": ((0.025, 0.045, 0.030, 0.280, 0.130, 0.055), "dense vegetation", "dense vegetation"),
    "dry grass": ((0.060, 0.090, 0.120, 0.240, 0.280, 0.180), "sparse vegetation", "sparse vegetation"),
    "bare soil": ((0.110, 0.150, 0.210, 0.270, 0.340, 0.290), "bare", "non-vegetated"),
    "concrete": ((0.200, 0.230, 0.250, 0.270, 0.280, 0.260), "built", "non-vegetated"),
    "dark asphalt": ((0.070, 0.075, 0.080, 0.090, 0.100, 0.095), "built", "non-vegetated"),
    "snow": ((0.850, 0.860, 0.840, 0.750, 0.100, 0.070), "snow", "non-vegetated"),
    "shadow on forest": ((0.012, 0.015, 0.010, 0.030, 0.015, 0.008), "shadow", "shadow"),
    # no rule knows clouds: they must be masked before
    "cloud": ((0.520, 0.510, 0.500, 0.520, 0.410, 0.330), "built", "non-vegetated"),
}


def classified(spectrum: tuple[float, ...], bands: tuple[str, ...]) -> str:
    model = load_model("spectral").with_bands(bands)
    pixel = torch.tensor([spectrum[BANDS.index(name)] for name in model.bands])[None, :, None, None]
    return model.legend.names[int(build_network(model)(pixel).argmax())]


def random_scene(channels: int, height: int = 61, width: int = 67) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(2, channels, height, width, generator=generator) * 0.7 - 0.05


@pytest.mark.parametrize("name", SPECTRA)
def test_a_typical_spectrum_gets_its_class(name: str) -> None:
    spectrum, with_swir, without_swir = SPECTRA[name]
    assert classified(spectrum, BANDS) == with_swir
    assert classified(spectrum, BANDS[:5]) == with_swir
    assert classified(spectrum, BANDS[:4]) == without_swir


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference tables are not beside this checkout")
def test_the_spectra_are_those_of_the_reference_tables() -> None:
    content = json.loads(REFERENCE.read_text(encoding="utf-8"))
    inputs = next(each for each in content["examples"] if each["id"] == "spectra_a")["inputs"]
    assert inputs["order"] == ["B", "G", "R", "N", "S1", "S2"]
    for name, spectrum in inputs["spectra"].items():
        assert SPECTRA[name][0] == tuple(spectrum)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_outputs_are_logarithms_of_probabilities_that_sum_to_one(count: int) -> None:
    logits = SpectralRules(BANDS[:count])(random_scene(count))
    assert logits.shape == (2, 8, 61, 67)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, 61, 67))
    torch.testing.assert_close(logits.softmax(1), logits.exp(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_logits_do_not_depend_on_where_a_window_was_cut(count: int) -> None:
    scene = random_scene(count)
    network = SpectralRules(BANDS[:count])
    whole = network(scene)
    for rows, cols in ((slice(3, 40), slice(5, 44)), (slice(60, 61), slice(1, 67)), (slice(0, 61, 2), slice(0, 67, 3))):
        assert torch.equal(network(scene[:, :, rows, cols]), whole[:, :, rows, cols])
    for corner in range(20):  # every length of a vector's remainder
        part = (slice(corner, corner + 3), slice(2 * corner, 2 * corner + corner + 1))
        assert torch.equal(network(scene[:, :, *part]), whole[:, :, *part])
    last = network(scene.to(memory_format=torch.channels_last))
    assert torch.equal(last, whole)
    assert torch.equal(network(scene[1:]), whole[1:])


def test_bands_are_read_by_name_not_by_place() -> None:
    scene = random_scene(6)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = SpectralRules(tuple(BANDS[i] for i in order))(scene[:, order])
    assert torch.equal(shuffled, SpectralRules(BANDS)(scene))


@pytest.mark.parametrize("value", [0.0, -0.2, float("nan"), float("inf"), -float("inf"), 1e30, 65535.0])
@pytest.mark.parametrize("count", [4, 6])
def test_no_pixel_breaks_the_arithmetic(value: float, count: int) -> None:
    logits = SpectralRules(BANDS[:count])(torch.full((1, count, 2, 2), value))
    assert torch.isfinite(logits).all()


def test_classes_that_need_swir_stay_empty_without_it() -> None:
    scores = SpectralRules(BANDS[:4])(random_scene(4)).softmax(1)
    assert float(scores[:, 3:6].max()) < 1e-9
    assert float(SpectralRules(BANDS)(random_scene(6)).softmax(1)[:, 7].max()) < 1e-9
