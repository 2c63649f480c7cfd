"""Cluster centres: the same each time, dark to bright, and logits that name the nearest."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import ModelError, ParameterError
from geoseg.models.kmeans import Centres, fit_centres, kmeans_card
from geoseg.models.load import Model, build_network, load_model


def blobs(k: int = 4, n: int = 200, bands: int = 3) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    rng = np.random.default_rng(7)
    label = rng.integers(k, size=n)
    return (label[:, None] * 1000.0 + rng.normal(0, 20, (n, bands)) + 500).astype(np.float32), label


def fitted(centres: Centres, k: int, bands: tuple[str, ...]) -> Model:
    return load_model(f"kmeans:{k}").with_centres(bands, centres)


def test_clear_groups_are_found_and_numbered_from_dark_to_bright() -> None:
    samples, label = blobs()
    model = fitted(fit_centres(samples, k=4, seed=0), 4, ("a", "b", "c"))
    normalised = (samples - np.array(model.mean)) / np.array(model.std)
    logits = build_network(model)(torch.from_numpy(normalised.astype(np.float32).T[None, :, :, None]))
    assert logits.shape == (1, 4, 200, 1)
    assert logits.dtype == torch.float32
    np.testing.assert_array_equal(logits[0].argmax(0)[:, 0].numpy(), label)
    assert float(logits.softmax(1).max(1).values.min()) > 0.99


def test_the_same_seed_gives_the_same_centres_and_digest() -> None:
    samples, _ = blobs()
    first, second = (fit_centres(samples, k=5, seed=3) for _ in range(2))
    assert first == second
    models = [fitted(centres, 5, ("a", "b", "c")) for centres in (first, second, fit_centres(samples, k=5, seed=4))]
    assert models[0].digest == models[1].digest != models[2].digest


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(2, 8))
def test_any_samples_give_k_centres_in_order_of_brightness(values: list[int], k: int) -> None:
    samples = np.array([values, [1] * len(values)], np.float32).T
    centres = fit_centres(samples, k=k, seed=0)
    brightness = [sum(centre) for centre in centres.centres]
    assert len(centres.centres) == k
    assert brightness == sorted(brightness)
    assert centres.std[1] == 1.0
    assert np.isfinite(centres.centres).all()


def test_clusters_without_pixels_come_last_and_take_no_share() -> None:
    samples = np.array([[1.0], [1.0], [3.0]], np.float32)
    model = fitted(fit_centres(samples, k=6, seed=0), 6, ("a",))
    pixels = torch.tensor((samples[:, 0] - model.mean[0]) / model.std[0], dtype=torch.float32)[None, None, :, None]
    scores = build_network(model)(pixels).softmax(1)[0, :, :, 0]
    assert scores.argmax(0).tolist() == [0, 0, 1]
    assert float(scores.max(0).values.min()) > 0.99


def test_centres_are_those_of_a_plain_lloyd_iteration() -> None:
    samples, _ = blobs(k=3)
    fit = fit_centres(samples, k=3, seed=0)
    points = (samples.astype(np.float64) - fit.mean) / fit.std
    centres = np.array(fit.centres)
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(centres, [points[nearest == i].mean(axis=0) for i in range(3)])


@pytest.mark.parametrize(
    ("samples", "k", "message"),
    [
        (np.zeros((0, 3), np.float32), 3, "need samples"),
        (np.zeros(3, np.float32), 3, "need samples"),
        (np.zeros((3, 2), np.float32), 1, "choose from 2 to 32"),
        (np.zeros((3, 2), np.float32), 33, "choose from 2 to 32"),
        (np.full((3, 2), np.nan, np.float32), 3, "leave out the pixels without an observation"),
    ],
)
def test_what_cannot_be_clustered_is_refused(samples: NDArray[np.float32], k: int, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        fit_centres(samples, k=k, seed=0)


def test_fitting_must_match_bands_and_classes() -> None:
    samples, _ = blobs()
    centres = fit_centres(samples, k=4, seed=0)
    with pytest.raises(ModelError, match="4 centres for 6 classes"):
        load_model("kmeans").with_centres(("a", "b", "c"), centres)
    with pytest.raises(ModelError, match="3 bands were fitted, 2 are named"):
        load_model("kmeans:4").with_centres(("a", "b"), centres)
    with pytest.raises(ModelError, match="only kmeans is fitted"):
        load_model("spectral").with_centres(("a", "b", "c"), centres)


def test_a_network_needs_centres_first() -> None:
    with pytest.raises(ModelError, match="fit it to samples"):
        build_network(load_model("kmeans"))


def test_logits_do_not_depend_on_where_a_window_was_cut() -> None:
    samples, _ = blobs()
    network = build_network(fitted(fit_centres(samples, k=4, seed=0), 4, ("a", "b", "c")))
    scene = torch.randn(1, 3, 61, 67)
    whole = network(scene)
    for rows, cols in ((slice(3, 40), slice(5, 44)), (slice(60, 61), slice(1, 67)), (slice(0, 61, 2), slice(0, 67, 3))):
        assert torch.equal(network(scene[:, :, rows, cols]), whole[:, :, rows, cols])


def test_the_card_names_its_clusters() -> None:
    card = kmeans_card(3)
    assert card.legend.names == ("cluster 1", "cluster 2", "cluster 3")
    assert card.legend.values == (1, 2, 3)
    assert card.bands == ()
