"""What the user named -> class maps with their dates, and which of two lots show the same place."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely

from geoseg.errors import GeosegError, InputError, printable
from geoseg.jobs.change_options import MapInput
from geoseg.outputs.footprint import footprint
from geoseg.outputs.names import safe_name
from geoseg.scene.guard import is_remote, open_raster, without_query
from geoseg.scene.open import scene_name
from geoseg.scene.raster import acquired_of, grid_of

__all__ = [
    "LEAST_SHARE",
    "Pairing",
    "as_map",
    "find_map",
    "find_maps",
    "holds_finished",
    "pair_maps",
    "pair_name",
    "place_of",
    "soft_rules",
    "unique",
    "with_unique_names",
]

_CLASSES = "_classes"
_RULES = "spectral"
LEAST_SHARE = 0.1
"""Of the smaller of two maps that has to lie in the other for them to be taken for one place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Which maps are compared."""

    pairs: tuple[tuple[MapInput, MapInput], ...]
    """Before and after."""
    notes: tuple[str, ...]
    """Maps without a counterpart, and what cannot be used."""
    failed: tuple[tuple[str, str], ...]
    """Maps that cannot be opened, and why."""


def find_map(named: Any) -> MapInput:
    """The one class map that a file or the folder of a finished scene is.

    Raises:
        InputError: If it is none, or several.
    """
    found = find_maps(named)
    if len(found) > 1:
        raise InputError(
            f"{printable(named)} holds {len(found)} finished scenes: name one of them, such as "
            f"{printable(Path(found[0].classes).parent)}"
        )
    return found[0]


def find_maps(named: Any) -> list[MapInput]:
    """The class maps that a file, the folder of a scene, or the output folder of ``geoseg run`` holds.

    Beside a map ``NAME_classes.tif`` its ``NAME_confidence.tif``, ``NAME_probabilities.tif`` and the item
    ``NAME.json`` are used where they are there.

    Raises:
        InputError: If there is none.
    """
    path = Path(named)
    if not is_remote(str(named)) and not path.exists():
        raise InputError(f"{printable(named)}: there is no such file or folder; check the path")
    if is_remote(str(named)) or not path.is_dir():
        return [_of_file(str(named))]
    maps = [_of_file(str(p)) for p in _finished(path)]
    if not maps:
        raise InputError(
            f"{printable(named)} holds no finished results of geoseg run: name its output folder, the folder of a "
            "scene, or a class map"
        )
    return maps


def holds_finished(folder: Path) -> bool:
    """Whether a folder is that of a finished scene, or the output folder of a run with one."""
    return bool(_finished(folder))


def _finished(folder: Path) -> list[Path]:
    """The class maps of finished scenes in a folder."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    # a folder that has its item is complete
    maps = [f / f"{f.resolve().name}{_CLASSES}.tif" for f in folders if (f / f"{f.resolve().name}.json").is_file()]
    return [p for p in maps if p.is_file()]


def as_map(href: str) -> MapInput:
    """Imagery as what it will be compared as: where it lies and when it was taken are those of its map."""
    return MapInput(classes=href, acquired=_acquired(href), name=safe_name(scene_name(href)))


def _of_file(href: str) -> MapInput:
    path = Path(without_query(href))
    name = path.stem.removesuffix(_CLASSES)
    if is_remote(href) or not path.stem.endswith(_CLASSES):
        return MapInput(classes=href, acquired=_acquired(href), name=safe_name(name))
    confidence, probabilities = (path.with_name(f"{name}_{kind}.tif") for kind in ("confidence", "probabilities"))
    stated, model = _stated(path.with_name(f"{name}.json"))
    return MapInput(
        classes=href,
        confidence=str(confidence) if confidence.is_file() else None,
        probabilities=str(probabilities) if probabilities.is_file() else None,
        acquired=stated or _acquired(href),
        name=safe_name(name),
        model=model,
    )


def _stated(item: Path) -> tuple[datetime | None, str]:
    """When a scene was taken, and the model that mapped it, by its STAC item."""
    try:
        properties = json.loads(item.read_text("utf-8"))["properties"]
        model = str(properties.get("geoseg:model", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, ""
    try:
        moment = datetime.fromisoformat(properties["datetime"])
    except (ValueError, KeyError, TypeError):
        return None, model
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC), model


def soft_rules(maps: Sequence[MapInput]) -> list[str]:
    """What to say where the probabilities of these maps are to decide and are none that are calibrated."""
    soft = [printable(m.name) for m in maps if m.model.partition(" ")[0] == _RULES]
    if not soft:
        return []
    said = (
        f"warning: {', '.join(soft)}: mapped with {_RULES}, whose soft thresholds are no calibrated probabilities: "
        "next to no change will be found; let the classes decide, or map with a trained model"
    )
    return [said]


def _acquired(href: str) -> datetime | None:
    """When a scene was taken, by the raster's tags or its name; a file that cannot be opened is refused later."""
    try:
        with open_raster(href) as dataset:
            return acquired_of(dataset, href.replace(_CLASSES, ""))
    except GeosegError:
        return None


def pair_name(before: MapInput, after: MapInput) -> str:
    """What the outputs of a pair are called: the first name, and what the second has instead of its end.

    Example:
        >>> pair_name(MapInput(classes="", name="valley_20190617"), MapInput(classes="", name="valley_20230908"))
        'valley_20190617_20230908'
    """
    one, two = before.name.split("_"), after.name.split("_")
    same = 0
    while same < min(len(one), len(two)) - 1 and one[same] == two[same]:
        same += 1
    return safe_name("_".join([*one, *two[same:]]))


def pair_maps(before: Sequence[MapInput], after: Sequence[MapInput]) -> Pairing:
    """Which maps show the same place: those whose footprints have most in common, each map once.

    Of several that fit alike, the ones that follow each other most closely in time. One map on either side are a pair
    whatever they show.
    """
    if len(before) == len(after) == 1:
        return Pairing(pairs=((before[0], after[0]),), notes=(), failed=())
    failed: list[tuple[str, str]] = []
    sides = [[(m, place_of(m, failed)) for m in side] for side in (before, after)]
    found = []
    for i, (b, here) in enumerate(sides[0]):
        for j, (a, there) in enumerate(sides[1]):
            if here is None or there is None or not here.intersects(there) or b.classes == a.classes:
                continue
            common = here.intersection(there).area
            if common >= LEAST_SHARE * min(here.area, there.area):
                found.append((-round(common / here.union(there).area, 4), *_apart(b, a), i, j))
    taken: tuple[set[int], set[int]] = (set(), set())
    chosen = []
    for *_, i, j in sorted(found):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            chosen.append((i, j))
    alone = [
        m.name for side, used in zip(sides, taken, strict=True) for k, (m, p) in enumerate(side) if p and k not in used
    ]
    notes = [f"without a counterpart on the other date, left out: {', '.join(map(printable, alone))}"] if alone else []
    pairs = tuple((before[i], after[j]) for i, j in sorted(chosen))
    return Pairing(pairs=pairs, notes=tuple(notes), failed=tuple(failed))


def _apart(before: MapInput, after: MapInput) -> tuple[bool, float]:
    """Whether a map is not after the other, and how far in time."""
    if before.acquired is None or after.acquired is None:
        return True, 0.0
    seconds = (after.acquired - before.acquired).total_seconds()
    return seconds <= 0, abs(seconds)


def place_of(m: MapInput, failed: list[tuple[str, str]]) -> Any:
    """Where a map lies, in longitude and latitude; None where that is not known.

    Args:
        m: The map.
        failed: Gets what cannot be opened, and why.
    """
    try:
        with open_raster(m.classes) as dataset:
            found = footprint(grid_of(dataset, printable(m.classes)))
    except GeosegError as error:
        failed.append((m.classes, str(error)))
        return None
    return None if found is None else shapely.geometry.shape(found.geometry)


def with_unique_names(pairs: Sequence[tuple[MapInput, MapInput]]) -> list[tuple[str, tuple[MapInput, MapInput]]]:
    """Pairs with the names of their outputs, each once."""
    return list(zip(unique(pair_name(*pair) for pair in pairs), pairs, strict=True))


def unique(names: Iterable[str]) -> list[str]:
    """Names of which each is there once, whatever its case: a second one gets a number.

    Example:
        >>> unique(["north", "North", "south"])
        ['north', 'North_2', 'south']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        candidate, n = name, 1
        while candidate.casefold() in taken:
            n += 1
            candidate = f"{name}_{n}"
        taken.add(candidate.casefold())
        found.append(candidate)
    return found
