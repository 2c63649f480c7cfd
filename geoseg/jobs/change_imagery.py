"""The two sides of a comparison: class maps, finished runs, or imagery, which is segmented first."""

import glob
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.errors import GeosegError, InputError, printable
from geoseg.jobs.change_maps import Pairing, as_map, find_maps, holds_finished, pair_maps
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.outcome import Listener, Options, SceneOutcome
from geoseg.jobs.run import run
from geoseg.models.load import Model
from geoseg.scene.guard import is_remote, open_raster
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import open_scene
from geoseg.scene.products.recognise import looks_like_product
from geoseg.scene.scene import Scene

__all__ = ["SIDES", "Mapping", "Side", "find_pairs", "find_sides", "is_imagery", "segmented"]

SIDES: Final = ("before", "after")
"""Folders of the class maps of imagery, below the output folder. No pair is called so: its name has two parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """How imagery becomes class maps."""

    model: Model
    """As loaded."""
    options: Options
    """Of the run. Polygons, zones and a smallest area are matters of the comparison."""
    pool: Pool
    """Where blocks are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What there is of one date."""

    maps: tuple[MapInput, ...] = ()
    """Class maps."""
    rasters: tuple[str, ...] = ()
    """Imagery that is to become class maps."""
    failed: tuple[SceneOutcome, ...] = ()
    """Imagery of which nothing came, and why."""


def is_imagery(named: str | os.PathLike[str]) -> bool:
    """Whether a side is neither a class map nor a finished run.

    It is imagery if it is a folder or glob without finished results, a product, or a file with several bands, or of
    other than whole numbers. What is not there or cannot be opened is none: who takes it for a class map says what is
    wrong.
    """
    text = os.fspath(named)
    if not is_remote(text):
        path = Path(text)
        if path.is_dir():
            return not holds_finished(path)
        if looks_like_product(path):
            return True
        if not path.exists():
            return glob.has_magic(text) and bool(glob.glob(text, recursive=True))  # noqa: PTH207 - may be absolute
    try:
        with open_raster(text) as dataset:
            colors = [c.name for c in dataset.colorinterp]
            bands = [t for t, c in zip(dataset.dtypes, colors, strict=True) if c != "alpha" or len(colors) == 1]
    except GeosegError:
        return False
    return len(bands) != 1 or "complex" in bands[0] or np.dtype(bands[0]).kind not in "iu"


def find_sides(before: str, after: str, output: Path, *, with_model: bool) -> tuple[Side, Side]:
    """What both sides are; nothing is computed.

    Args:
        before: What the user named.
        after: For the second date.
        output: Folder of all outputs; it is not searched for imagery.
        with_model: Whether there is a model to segment imagery with.

    Raises:
        InputError: If a side cannot be used, or is imagery and there is no model, or none is and there is one.
    """
    named = (before, after)
    images = [is_imagery(each) for each in named]
    for each, image in zip(named, images, strict=True):
        if image and not with_model:
            raise InputError(
                f"{printable(each)} holds no finished results of geoseg run and is no class map: if it is imagery, "
                "pass --model to segment it first; else name the output folder of a run, the folder of a scene, or a "
                "class map"
            )
    if with_model and not any(images):
        raise InputError(
            "the model is of no use: both sides are class maps or finished results of geoseg run; leave out --model, "
            "or name the imagery instead"
        )
    one, two = (
        Side(rasters=tuple(find_rasters([each], exclude=output))) if image else Side(maps=tuple(find_maps(each)))
        for each, image in zip(named, images, strict=True)
    )
    return one, two


def find_pairs(before: str, after: str, output: Path) -> Pairing:
    """The pairs of rasters that a model of two dates is run over, by place.

    Args:
        before: What the user named.
        after: For the second date.
        output: Folder of all outputs; it is not searched for imagery.

    Raises:
        InputError: If a side is no imagery, or no raster of one shows the place of one of the other.
    """
    for each in (before, after):
        if not is_imagery(each):
            if not is_remote(each) and not Path(each).exists():
                raise InputError(f"{printable(each)}: there is no such file or folder; check the path")
            raise InputError(
                f"{printable(each)} is a class map or a finished run, and a model of two dates needs the imagery of "
                "both: name that instead, or compare maps without --model"
            )
    sides = [[as_map(raster) for raster in find_rasters([each], exclude=output)] for each in (before, after)]
    found = pair_maps(*sides)
    if not found.pairs and not found.failed:
        raise InputError(
            f"no raster of {printable(before)} shows the place of one of {printable(after)}: give two dates of one "
            "place"
        )
    return found


def segmented(side: Side, folder: Path, mapping: Mapping, listen: Listener) -> Side:
    """The side with its imagery as class maps, made by `run`: finished ones are skipped, one that died goes on.

    Args:
        side: As found.
        folder: Of the class maps; made if missing.
        mapping: With which model, and how.
        listen: Told what happens, also of what fails.

    Raises:
        OutputError: If nothing can be written there, or another run holds the folder.
    """
    summary = run(side.rasters, folder, mapping.model, mapping.options, pool=mapping.pool, listen=listen)
    made = [
        replace(found, scene=_scene(outcome.href, mapping.options))
        for outcome in summary.outcomes
        if outcome.status in ("done", "unchanged")
        for found in find_maps(folder / outcome.id)
    ]
    return Side(maps=(*side.maps, *made), failed=tuple(o for o in summary.outcomes if o.status == "failed"))


def _scene(href: str, options: Options) -> Scene | None:
    """The scene that a map was made from; None if it is gone by now, which the map can do without."""
    try:
        return open_scene(
            href,
            bands=options.bands,
            scale=options.scale,
            offset=options.offset,
            mask_clouds=options.mask_clouds,
        )
    except GeosegError:
        return None
