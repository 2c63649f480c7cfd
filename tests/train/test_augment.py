"""Image and labels are varied together."""

from typing import Any

import numpy as np
import pytest
import torch

from geoseg.train.augment import Sample, mix, vary
from geoseg.train.config import Augment
from geoseg.train.pixel_losses import IGNORE

NONE = {"flip": 0.0, "turn": False}


def a_sample(seed: int = 0, side: int = 48, invalid: int = 4) -> Sample:
    """An image whose first band says its label, smooth enough to be resampled, with a strip that is not seen."""
    rng = np.random.default_rng(seed)
    target = (rng.random((side // 16, side // 16)) * 3).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    valid = np.ones((side, side), np.bool_)
    valid[:invalid] = False
    target[:invalid] = IGNORE
    image = np.stack([target.astype(np.float32), rng.normal(0, 1, (side, side)).astype(np.float32)])
    image[:, ~valid] = 0.0
    return Sample(image=torch.from_numpy(image), target=torch.from_numpy(target), valid=torch.from_numpy(valid))


def varied(sample: Sample, seed: int, side: int = 48, **how: Any) -> Sample:
    return vary(sample, Augment(**(NONE | how)), np.random.default_rng(seed), side=side, fill=0.0)


@pytest.mark.parametrize(
    "how",
    [{"flip": 1.0}, {"turn": True}, {"flip": 0.5, "turn": True}, {"elastic": 1.0}, {"scale": (0.5, 2.0)}],
    ids=str,
)
def test_where_things_are_moved_the_label_moves_with_its_pixel(how: dict[str, Any]) -> None:
    for seed in range(6):
        sample = a_sample(seed, side=32 if "scale" in how else 48)
        out = varied(sample, seed, **how)
        seen = out.target != IGNORE
        agree = (out.image[0].round() == out.target)[seen].float().mean()
        # borders between classes are resampled
        assert float(agree) > (0.99 if how.keys() <= {"flip", "turn"} else 0.8)
        assert bool((out.target[~out.valid] == IGNORE).all())
        assert out.image.shape == (2, 48, 48)


def test_flips_and_turns_are_the_eight_symmetries_and_all_occur() -> None:
    sample = a_sample()
    seen = {varied(a_sample(), seed, flip=0.5, turn=True).image.numpy().tobytes() for seed in range(60)}
    image = sample.image.numpy()
    all_eight = {np.rot90(m, k, axes=(1, 2)).tobytes() for m in (image, image[:, :, ::-1]) for k in range(4)}
    assert seen == all_eight


@pytest.mark.parametrize("how", [{"brightness": 0.5}, {"contrast": 0.5}, {"noise": 0.5}, {"blur": 1.0}], ids=str)
def test_radiometry_changes_the_image_alone_and_not_where_nothing_is_seen(how: dict[str, Any]) -> None:
    sample = a_sample()
    before = sample.image.clone()
    out = varied(a_sample(), 1, **how)
    assert not bool((out.image == before).all())
    assert bool((out.target == sample.target).all())
    assert bool((out.image[:, ~out.valid] == 0.0).all())


@pytest.mark.parametrize("how", [{"brightness": 0.5}, {"contrast": 0.5}], ids=str)
def test_brightness_shifts_and_contrast_stretches_each_band_by_itself(how: dict[str, Any]) -> None:
    sample = a_sample()
    out = varied(a_sample(), 1, **how)
    lines = [np.polyfit(b[sample.valid], a[sample.valid], 1) for a, b in zip(out.image, sample.image, strict=True)]
    for (gain, shift), after, before in zip(lines, out.image, sample.image, strict=True):
        torch.testing.assert_close(after[sample.valid], (before * gain + shift)[sample.valid], rtol=0, atol=1e-4)
        assert (gain == pytest.approx(1, abs=1e-5)) == ("brightness" in how)
        assert (shift == pytest.approx(0, abs=1e-5)) == ("contrast" in how)
    assert abs(lines[0] - lines[1]).max() > 1e-3


def test_noise_has_the_spread_that_is_asked_for_and_blur_smooths() -> None:
    sample = a_sample(invalid=0)
    for spread in (0.1, 0.5):
        added = varied(a_sample(invalid=0), 1, noise=spread).image - sample.image
        assert float(added.std()) == pytest.approx(spread, rel=0.05)
        assert float(added.mean()) == pytest.approx(0, abs=0.05 * spread)
        assert abs(float(torch.corrcoef(added.flatten(1))[0, 1])) < 0.1  # not the same in both bands
    blurred = varied(a_sample(invalid=0), 1, blur=1.0).image
    assert float(blurred[1].std()) < 0.8 * float(sample.image[1].std())
    torch.testing.assert_close(blurred.mean(dim=(1, 2)), sample.image.mean(dim=(1, 2)), rtol=0, atol=0.02)


def test_band_dropout_sets_one_band_to_its_mean() -> None:
    dropped = {tuple((varied(a_sample(), s, band_dropout=1.0).image == 0).all(2).all(1).tolist()) for s in range(20)}
    assert dropped == {(True, False), (False, True)}


def test_the_original_is_left_alone() -> None:
    sample, before = a_sample(), a_sample()
    every: dict[str, Any] = {"flip": 1.0, "turn": True, "brightness": 0.5, "contrast": 0.5, "noise": 0.5, "blur": 1.0}
    for how in (*({k: v} for k, v in every.items()), {"elastic": 1.0}, {"band_dropout": 1.0}, every):
        out = varied(sample, 3, **how)
        assert out is not sample
        for name in ("image", "target", "valid"):
            assert torch.equal(getattr(sample, name), getattr(before, name)), (how, name)


@pytest.mark.parametrize("how", [{"cutmix": 1.0}, {"copy_paste": 1.0}], ids=str)
def test_what_is_pasted_brings_its_label_along(how: dict[str, Any]) -> None:
    samples = [a_sample(seed) for seed in (1, 2)]
    mixed = mix(samples, Augment(**how), np.random.default_rng(0))
    for i, out in enumerate(mixed):
        own, other = samples[i], samples[1 - i]
        pasted = (out.image != own.image).any(dim=0)
        assert 0.02 < float(pasted.float().mean()) < 0.9
        assert bool((out.target[pasted] == other.target[pasted]).all())
        assert bool((out.target == own.target)[~pasted].float().mean() > 0.95)
        if "copy_paste" in how:
            assert len(torch.unique(out.target[pasted])) == 1


def test_without_a_partner_nothing_is_mixed() -> None:
    samples = [a_sample()]
    assert mix(samples, Augment(cutmix=1.0), np.random.default_rng(0)) is samples
