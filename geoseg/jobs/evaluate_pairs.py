"""What the user named as prediction and as reference -> which raster is held against which."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.errors import InputError, printable
from geoseg.jobs.change_maps import find_maps, pair_maps
from geoseg.jobs.change_options import MapInput
from geoseg.outputs.names import safe_name
from geoseg.scene.guard import is_remote
from geoseg.scene.inputs import find_rasters

__all__ = ["Scored", "ScoredPair", "find_references", "pair_scenes", "scenes_among", "stem_of"]

_KINDS: Final = re.compile(
    r"[_\-. ](classes|class|labels?|labelled|truth|reference|ref|gt|masks?|annotations?|images?|img|prediction|pred)$",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"[_\-. ](labels?|truth|reference|gt|masks?|annotations?)$", re.IGNORECASE)
_IMAGE: Final = re.compile(r"[_\-. ](images?|img)$", re.IGNORECASE)
_BESIDE: Final = ("_confidence", "_probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPair:
    """A prediction and what is true there."""

    name: str
    """What the scene is called."""
    prediction: MapInput
    """What is scored."""
    reference: MapInput | None
    """What is true; None where polygons or points say so for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """All that is to be scored."""

    pairs: tuple[ScoredPair, ...]
    """By the name of the scene."""
    notes: tuple[str, ...]
    """What has no counterpart."""
    failed: tuple[tuple[str, str], ...]
    """Rasters that cannot be opened, and why."""


def find_references(named: str) -> list[MapInput]:
    """The class rasters that a file, a folder of rasters, or a folder of finished results holds.

    Raises:
        InputError: If there is none.
    """
    if is_remote(named) or not Path(named).is_dir():
        return find_maps(named)
    try:
        return find_maps(named)
    except InputError:
        rasters = [r for r in find_rasters([named]) if not Path(r).stem.endswith(_BESIDE)]
        # images often lie beside their labels
        labels = [r for r in rasters if not _IMAGE.search(Path(r).stem)]
        return [m for r in labels or rasters for m in find_maps(r)]


def scenes_among(rasters: Sequence[str]) -> list[str]:
    """The rasters that are not called labels: these often lie beside their images. All, if none is left."""
    images = [r for r in rasters if not _LABEL.search(Path(r).stem)]
    return images or list(rasters)


def stem_of(m: MapInput) -> str:
    """What is common to the names of a scene's raster and its labels.

    Example:
        >>> stem_of(MapInput(classes="m_1_label.tif", name="m_1_label"))
        'm_1'
    """
    name = m.name or safe_name(Path(m.classes).stem)
    shorter = _KINDS.sub("", name)
    return (shorter or name).casefold()


def pair_scenes(predictions: Sequence[MapInput], references: Sequence[MapInput]) -> Scored:
    """Which prediction is held against which reference.

    Those of one name are a pair, what says of what kind a raster is (``_classes``, ``_label``, ``_truth`` and the like)
    left aside; the rest are paired by place, as two dates are. One on either side are a pair whatever they are called.

    Raises:
        InputError: If nothing is a pair, or one name is that of several.
    """
    if len(predictions) == len(references) == 1:
        pairs = [(predictions[0], references[0])]
        return Scored(pairs=_named(pairs), notes=(), failed=())
    by_stem = _by_stem(references)
    mine = _by_stem(predictions)
    pairs = [(p, by_stem[stem]) for stem, p in mine.items() if stem in by_stem]
    rest = [[m for stem, m in side.items() if stem not in other] for side, other in ((mine, by_stem), (by_stem, mine))]
    notes: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    # one and one are a pair to pair_maps whatever they show: not here, where others went by their names
    if all(rest) and max(map(len, rest)) > 1:
        found = pair_maps(rest[0], rest[1])
        pairs, failed = [*pairs, *found.pairs], found.failed
    used = {m.classes for pair in pairs for m in pair} | {href for href, _ in failed}
    for side, what in ((predictions, "no reference for"), (references, "no prediction for")):
        alone = [printable(m.name) for m in side if m.classes not in used]
        if alone:
            more = f" and {len(alone) - 10} more" if len(alone) > 10 else ""
            notes = (*notes, f"{what} {', '.join(alone[:10])}{more}: left out")
    if not pairs and not failed:
        raise InputError(
            "no prediction has the name or shows the place of a reference: call them alike, such as a.tif and "
            "a_label.tif, or give one of each"
        )
    return Scored(pairs=_named(pairs), notes=notes, failed=failed)


def _by_stem(maps: Sequence[MapInput]) -> dict[str, MapInput]:
    found: dict[str, MapInput] = {}
    for m in maps:
        stem = stem_of(m)
        if stem in found:
            raise InputError(
                f"{printable(found[stem].classes)} and {printable(m.classes)} are both called {printable(stem)}: which "
                "of them is meant cannot be told; leave one, or give other names"
            )
        found[stem] = m
    return found


def _named(pairs: Sequence[tuple[MapInput, MapInput]]) -> tuple[ScoredPair, ...]:
    return tuple(
        sorted(
            (ScoredPair(name=p.name or stem_of(p), prediction=p, reference=r) for p, r in pairs),
            key=lambda pair: pair.name,
        )
    )
