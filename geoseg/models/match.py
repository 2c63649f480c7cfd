"""A model held against a scene before anything runs: which band is which, in what unit, at what size on the ground."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from geoseg.errors import ModelError, SceneError, printable
from geoseg.models.load import Model
from geoseg.models.pixels import LEAST, Doubt, doubt_of, guess_scaling
from geoseg.models.place import place_note
from geoseg.models.sample import Look, look_at, sample_pixels
from geoseg.scene.gsd import gsd_m
from geoseg.scene.open import COMMON_NAMES
from geoseg.scene.scene import Band, Scene

__all__ = ["Examination", "Match", "Problem", "examine", "look_for_doubts", "match"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a model does not fit a scene."""

    kind: Literal["bands", "units", "gsd", "pixels", "damaged"]
    """What it is about."""
    message: str
    """What is wrong, with which file, and how to mend it."""
    forced: str = ""
    """What is said where it is passed over; empty where it cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that can be told of a model and a scene before anything runs."""

    fit: Match | None
    """How they would go together; None where bands are missing."""
    problems: tuple[Problem, ...]
    """Why they should not; none where they fit."""
    look: Look | None
    """What a few windows of the scene hold, where they were looked at."""


def match(model: Model, scene: Scene, *, force: bool = False, seed: int = 0, look: bool = True) -> Match:
    """The model fitted to the scene.

    Bands are taken by name; by the card's order where the scene's bands have no names that say otherwise and the counts
    agree. A few windows are read: pixels that look like another unit, or are far from all of the training, do not fit.
    A kmeans model finds its centres in one seeded subsample of the scene.

    Args:
        model: What `load_model` gave.
        scene: What `open_scene` gave.
        force: Go on where units, ground sampling distance or pixels do not fit.
        seed: Of the subsample, for kmeans.
        look: Whether to look at pixels; whoever does not calls `look_for_doubts` before anything is computed.

    Raises:
        ModelError: If bands are missing, or unit, GSD or pixels do not fit; the message names the option that mends it.
    """
    found = examine(model, scene, seed=seed, look=None if look else False)
    notes = _refused(found.problems, force=force)
    assert found.fit is not None
    return replace(found.fit, notes=(*found.fit.notes, *notes))


def look_for_doubts(model: Model, scene: Scene, bands: Sequence[Band], *, force: bool = False) -> tuple[str, ...]:
    """What is to be said of a scene's pixels before they are mapped, from a few windows of it.

    Args:
        model: Fitted to the scene.
        scene: What `open_scene` gave.
        bands: Of the scene, one for each of the model's.
        force: Go on where pixels do not fit.

    Raises:
        ModelError: If pixels do not fit; the message names the option that mends it.
    """
    if not _expects_pixels(model):
        return ()
    look, problems = _look(scene, bands)
    if look is not None:
        problems += _pixels_problems(model, scene, list(zip(model.bands, bands, strict=True)), look)
    return _refused(problems, force=force)


def _refused(problems: Sequence[Problem], *, force: bool) -> tuple[str, ...]:
    """What is said where problems are passed over; raises for the first that is not."""
    notes = []
    for problem in problems:
        if problem.kind == "damaged":
            continue  # where it is damaged may not be wanted; whoever reads it there will say so
        if not (force and problem.forced):
            raise ModelError(problem.message)
        notes.append(problem.forced)
    return tuple(notes)


def _expects_pixels(model: Model) -> bool:
    """Whether the model says what pixels it expects."""
    return model.card.kind != "kmeans" and (model.card.units == "reflectance" or bool(model.card.quantiles))


def examine(model: Model, scene: Scene, *, seed: int = 0, look: bool | None = None) -> Examination:
    """A model held against a scene, with all that does not fit rather than the first of it.

    Args:
        model: What `load_model` gave.
        scene: What `open_scene` gave.
        seed: Of the subsample, for kmeans.
        look: Whether to read a few windows; by default where the model says what pixels it expects. They are read,
            too, where they may tell a unit that is not known.
    """
    if model.card.kind == "kmeans":
        return _examine_clusters(model, scene, seed, look=bool(look))
    notes: list[str] = []
    problems: list[Problem] = []
    bands: list[tuple[str, Band]] = []
    try:
        _check_dates(model, scene)
        bands = _bands(model, scene, notes)
    except ModelError as error:
        problems.append(Problem(kind="bands", message=str(error)))
    if look is None:
        look = bool(bands) and _expects_pixels(model)
    seen = None
    if look or _lacks_unit(model, scene, bands):
        # the scene as it is where the bands are not known
        seen, damaged = _look(scene, [band for _, band in bands] or scene.bands)
        problems += damaged
    if bands:
        units = _units_problem(model, scene, bands, seen, notes)
        problems += [p for p in (units, _gsd_problem(model, scene)) if p is not None]
        if (away := place_note(model.card.name, model.card.place, scene)) is not None:
            notes.append(away)
        if seen is not None and units is None:
            problems += _pixels_problems(model, scene, bands, seen)
    fit = None
    if bands:
        names = [name for name, _ in bands]
        fit = Match(model=model.with_bands(names), bands=tuple(band for _, band in bands), notes=tuple(notes))
    return Examination(fit=fit, problems=tuple(problems), look=seen)


def _look(scene: Scene, bands: Sequence[Band]) -> tuple[Look | None, list[Problem]]:
    try:
        return look_at(scene, bands), []
    except SceneError as error:
        return None, [Problem(kind="damaged", message=str(error))]


def _examine_clusters(model: Model, scene: Scene, seed: int, *, look: bool) -> Examination:
    seen, problems = _look(scene, scene.bands) if look else (None, [])
    return Examination(fit=None if problems else _fit_clusters(model, scene, seed), problems=tuple(problems), look=seen)


def _fit_clusters(model: Model, scene: Scene, seed: int) -> Match:
    from geoseg.models.kmeans import fit_centres

    samples = sample_pixels(scene, scene.bands, seed=seed)
    n_found = len(samples)
    if not n_found:
        # nothing to cluster and nothing to map: any centres do, and every pixel stays nodata
        samples = np.zeros((1, len(scene.bands)), np.float32)
    centres = fit_centres(samples, k=model.n_classes, seed=seed)
    return Match(
        model=model.with_centres([b.name for b in scene.bands], centres),
        bands=scene.bands,
        notes=(f"centres of {model.n_classes} clusters from {n_found} pixels of the scene",),
    )


def _check_dates(model: Model, scene: Scene) -> None:
    if model.card.dates != max(len(scene.sources), 1):
        raise ModelError(
            f"{printable(scene.href)}: model {model.card.name} takes {model.card.dates} date"
            f"{'s' * (model.card.dates > 1)}, and this is {max(len(scene.sources), 1)}: "
            + (
                "give both with geoseg change BEFORE AFTER --model, or as pair_scenes(before, after)"
                if model.card.dates > 1
                else "give each scene by itself"
            )
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


def _lacks_unit(model: Model, scene: Scene, bands: list[tuple[str, Band]]) -> bool:
    """Whether reflectance is asked for and there are integers of which nothing says how they are scaled."""
    integers = any(np.dtype(b.dtype).kind != "f" for _, b in bands)
    return model.card.units == "reflectance" and not scene.scaled and integers


def _units_problem(
    model: Model, scene: Scene, bands: list[tuple[str, Band]], look: Look | None, notes: list[str]
) -> Problem | None:
    """Refuse stored integers of unknown unit where reflectance is asked for: the costliest silent error there is."""
    if model.card.units != "reflectance" or scene.scaled:
        return None
    if not _lacks_unit(model, scene, bands):
        notes.append("floating-point pixels taken as reflectance 0 to 1, because the file states no scale")
        return None
    dtypes = sorted({b.dtype for _, b in bands})
    guess = None if look is None or len(look.values) < LEAST else guess_scaling(look.values, [n for n, _ in bands])
    mend = (
        "pass --scale 0.0001 (Sentinel-2 L2A before 2022; since then with --offset -0.1), "
        "--scale 0.0000275 --offset -0.2 (Landsat Collection 2), --scale 0.00392 (8 bit, only roughly)"
    )
    if guess is not None:
        scale, offset, what = guess
        mend = f"they look like {what}: if that is what they are, pass {_options(scale, offset)}; else {mend}"
    return Problem(
        kind="units",
        message=f"{printable(scene.href)}: model {model.card.name} needs reflectance; the file holds "
        f"{', '.join(dtypes)} and states no scale; {mend}",
        forced="stored numbers taken as reflectance, because of --force",
    )


def _options(scale: float, offset: float) -> str:
    """Scale and offset as the options that say them."""
    offset = round(offset, 10)
    return f"--scale {np.format_float_positional(scale, precision=3, fractional=False, trim='-')}" + (
        "" if offset == 0 else f" --offset {offset:g}"
    )


def _gsd_problem(model: Model, scene: Scene) -> Problem | None:
    wanted = model.card.gsd_m
    if wanted is None:
        return None
    gsd = gsd_m(scene.geobox)
    if not abs(gsd - wanted) > model.card.gsd_tolerance * wanted:
        return None
    return Problem(
        kind="gsd",
        message=f"{printable(scene.href)}: pixels of {gsd:.3g} m, but model {model.card.name} was trained at "
        f"{wanted:.3g} m; resample the file first (gdalwarp -tr), or pass --force",
        forced=f"pixels of {gsd:.3g} m given to a model for {wanted:.3g} m, because of --force",
    )


def _pixels_problems(model: Model, scene: Scene, bands: list[tuple[str, Band]], look: Look) -> list[Problem]:
    """What the pixels that were looked at say against the unit, the offset and the order of the bands."""
    card, names = model.card, [name for name, _ in bands]
    reflectance = card.units == "reflectance"
    values = look.values
    if reflectance:
        scale, offset = (np.array([getattr(b, what) for _, b in bands], np.float32) for what in ("scale", "offset"))
        values = values * scale + offset
    doubt = doubt_of(values, names, reflectance=reflectance, quantiles=card.quantiles)
    if doubt is None:
        return []
    return [
        Problem(
            kind="pixels",
            message=f"{printable(scene.href)}: the pixels {doubt.what}; {_mend(doubt, scene, bands, reflectance)}",
            forced=f"the pixels {doubt.what}; they are taken as they are, because of --force",
        )
    ]


def _mend(doubt: Doubt, scene: Scene, bands: list[tuple[str, Band]], reflectance: bool) -> str:
    """The options to pass."""
    if doubt.names is not None:
        right = {band.name: name for (_, band), name in zip(bands, doubt.names, strict=True)}
        listed = ",".join(right.get(b.name, b.name) for b in scene.bands)
        return f"name them anew with --bands {printable(listed)}, or pass --force if they are right"
    if not doubt.rescales:
        return "check the unit and the bands of the file, or pass --force if they are right"
    if not reflectance:
        return "bring the file to the unit of the training first (gdal_translate -scale), or pass --force"
    stated = {(b.scale, b.offset) for _, b in bands}
    if len(stated) > 1:
        return "correct scale and offset in the file (gdal_edit.py -scale -offset), or pass --force if they are right"
    ((scale, offset),) = stated
    options = _options(doubt.gain * scale, doubt.gain * offset + doubt.shift)
    return f"pass {options}, or --force if they are right"
