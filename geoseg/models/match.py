"""A model held against a scene before anything runs: which band is which, in what unit, at what size on the ground."""

from dataclasses import dataclass

import numpy as np

from geoseg.errors import ModelError, printable
from geoseg.models.load import Model
from geoseg.models.sample import sample_pixels
from geoseg.scene.gsd import gsd_m
from geoseg.scene.open import COMMON_NAMES
from geoseg.scene.scene import Band, Scene

__all__ = ["Match", "match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A model fitted to a scene, and the bands it takes from it."""

    model: Model
    """With the bands that the scene has; a kmeans model with its centres."""
    bands: tuple[Band, ...]
    """The scene's bands in the order of the network's input channels."""
    notes: tuple[str, ...]
    """What was decided and should be said aloud."""

    @property
    def gain(self) -> tuple[float, ...]:
        """Network input per stored unit, for each band."""
        return tuple(scale / std for (scale, _), std in zip(self._scaling(), self.model.std, strict=True))

    @property
    def bias(self) -> tuple[float, ...]:
        """Network input of a stored 0, for each band."""
        return tuple(
            (offset - mean) / std
            for (_, offset), mean, std in zip(self._scaling(), self.model.mean, self.model.std, strict=True)
        )

    def _scaling(self) -> list[tuple[float, float]]:
        """Scale and offset that turn stored values into what the card's mean and std are measured in."""
        if self.model.card.units == "reflectance":
            return [(b.scale, b.offset) for b in self.bands]
        return [(1.0, 0.0)] * len(self.bands)


def match(model: Model, scene: Scene, *, force: bool = False, seed: int = 0) -> Match:
    """The model fitted to the scene.

    Bands are taken by name; by the card's order where the scene's bands have no names that say otherwise and the counts
    agree. A kmeans model finds its centres in one seeded subsample of the scene.

    Args:
        model: What `load_model` gave.
        scene: What `open_scene` gave.
        force: Go on where units or ground sampling distance do not fit.
        seed: Of the subsample, for kmeans.

    Raises:
        ModelError: If bands are missing, or unit or GSD do not fit; the message names the option that mends it.
    """
    notes: list[str] = []
    if model.card.kind == "kmeans":
        return _fit_clusters(model, scene, seed)
    bands = _bands(model, scene, notes)
    _check_units(model, scene, bands, force, notes)
    _check_gsd(model, scene, force, notes)
    names = [name for name, _ in bands]
    return Match(model=model.with_bands(names), bands=tuple(band for _, band in bands), notes=tuple(notes))


def _fit_clusters(model: Model, scene: Scene, seed: int) -> Match:
    from geoseg.models.kmeans import fit_centres

    samples = sample_pixels(scene, scene.bands, seed=seed)
    if not len(samples):
        # nothing to cluster and nothing to map: any centres do, and every pixel stays nodata
        samples = np.zeros((1, len(scene.bands)), np.float32)
    centres = fit_centres(samples, k=model.n_classes, seed=seed)
    return Match(
        model=model.with_centres([b.name for b in scene.bands], centres),
        bands=scene.bands,
        notes=(f"centres of {model.n_classes} clusters from {len(samples)} pixels of the scene",),
    )


def _bands(model: Model, scene: Scene, notes: list[str]) -> list[tuple[str, Band]]:
    """Pairs of the card's name and the scene's band, in the card's order."""
    card = model.card.bands
    has = {b.name: b for b in scene.bands}
    required = [b.name for b in card if b.required]
    if all(name in has for name in required):
        return [(b.name, has[b.name]) for b in card if b.name in has]
    telling = COMMON_NAMES | {b.name for b in card}
    for names in ([b.name for b in card], required):
        if len(names) == len(scene.bands) and not any(
            b.name in telling and b.name != name for b, name in zip(scene.bands, names, strict=True)
        ):
            notes.append(
                f"bands taken in the model's order, {', '.join(names)}, because the file does not name them; "
                "pass --bands if the order differs"
            )
            return list(zip(names, scene.bands, strict=True))
    missing = [n for n in required if n not in has]
    raise ModelError(
        f"{printable(scene.href)}: model {model.card.name} needs the bands {', '.join(required)}; the file has "
        f"{len(scene.bands)} ({printable(', '.join(has))}) and lacks {', '.join(missing)}; "
        f"pass --bands with a name for each band in file order, or another model (kmeans takes any bands)"
    )


def _check_units(model: Model, scene: Scene, bands: list[tuple[str, Band]], force: bool, notes: list[str]) -> None:
    """Refuse stored integers of unknown unit where reflectance is asked for: the costliest silent error there is."""
    if model.card.units != "reflectance" or scene.scaled:
        return
    dtypes = sorted({b.dtype for _, b in bands})
    if all(np.dtype(t).kind == "f" for t in dtypes):
        notes.append("floating-point pixels taken as reflectance 0 to 1, because the file states no scale")
        return
    message = (
        f"{printable(scene.href)}: model {model.card.name} needs reflectance; the file holds {', '.join(dtypes)} and "
        "states no scale; pass --scale 0.0001 (Sentinel-2 L2A before 2022; since then with --offset -0.1), "
        "--scale 0.0000275 --offset -0.2 (Landsat Collection 2), --scale 0.00392 (8 bit, only roughly)"
    )
    if not force:
        raise ModelError(message)
    notes.append("stored numbers taken as reflectance, because of --force")


def _check_gsd(model: Model, scene: Scene, force: bool, notes: list[str]) -> None:
    wanted = model.card.gsd_m
    if wanted is None:
        return
    gsd = gsd_m(scene.geobox)
    if not abs(gsd - wanted) > model.card.gsd_tolerance * wanted:
        return
    message = (
        f"{printable(scene.href)}: pixels of {gsd:.3g} m, but model {model.card.name} was trained at {wanted:.3g} m; "
        f"resample the file first (gdalwarp -tr), or pass --force"
    )
    if not force:
        raise ModelError(message)
    notes.append(f"pixels of {gsd:.3g} m given to a model for {wanted:.3g} m, because of --force")
