"""Two class maps in files -> a folder of change: map, polygons, tables, item, all appearing together."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.change.comparison import Comparison
from geoseg.change.images import images_of
from geoseg.change.maps import ClassSource, source_of_file
from geoseg.errors import InputError, PartError, SceneError, printable
from geoseg.jobs.change_blocks import Compared, compare_blocks, recount_parts
from geoseg.jobs.change_journal import REPAIRS, ChangeJournal, forget_journal, journal_folder
from geoseg.jobs.change_maps import find_map, soft_rules
from geoseg.jobs.change_options import ChangeOptions, ChangeResult, MapInput
from geoseg.jobs.change_publish import Publisher
from geoseg.jobs.cluster import helpers
from geoseg.jobs.finished import standing
from geoseg.jobs.mapping_unit import merge_parts
from geoseg.jobs.publish import damaged_blocks
from geoseg.outputs.crash import crash_point
from geoseg.outputs.staging import staging
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.open import fingerprint

__all__ = ["change_pair"]


def change_pair(
    before: MapInput | str | os.PathLike[str],
    after: MapInput | str | os.PathLike[str],
    output: Path,
    options: ChangeOptions | None = None,
) -> ChangeResult:
    """Compare two class maps in files and leave a folder of outputs, which appear together.

    Work goes on in blocks, on the workers of the cluster that this runs on, else in threads. Memory is that of the
    blocks in work and of what their features take that go on beyond them. A finished folder of the same maps and
    options is left as it is; one that died goes on from its finished blocks, which are kept in the state folder beside
    the folder to be.

    Args:
        before: The first map: a file, or the folder of a finished scene of ``geoseg run``.
        after: The second.
        output: The folder to be; its name is that of the outputs. Its parent is made if missing.
        options: What the user chose.

    Raises:
        InputError: If a map cannot be used, the maps do not overlap, or have no observation in common.
        ParameterError: If legends and rules do not fit each other.
        OutputError: If the folder holds something else, or anything cannot be written or does not read back.
    """
    options = options or ChangeOptions()
    maps = tuple(m if isinstance(m, MapInput) else find_map(m) for m in (before, after))
    rasters = [open_class_raster(m.classes, legend=options.legend) for m in maps]
    prints = [fingerprint(m.classes) for m in maps]
    more = [m.confidence for m in maps]
    if options.rules.posterior is not None:
        more += [m.probabilities for m in maps]
    images = images_of(*(m.scene for m in maps))
    scenes = [] if images is None else [image.scene.fingerprint for image in images]
    inputs = (*prints, *(fingerprint(each) for each in more if each is not None), *scenes)
    key, parts_key = options.key(inputs), options.parts_key(inputs)
    done = standing(output, key, lambda item: _finished(output, item), overwrite=options.overwrite)
    if done is not None:
        forget_journal(output)  # a run may have died between the last rename and this
        return done
    notes = [*_dates(maps), *(f"{printable(m.name)}: {n}" for m, r in zip(maps, rasters, strict=True) for n in r.notes)]
    by_shares = options.rules.posterior is not None
    notes += soft_rules(maps) if by_shares else []
    sources = [
        source_of_file(r, m.confidence, m.probabilities if by_shares else None)
        for r, m in zip(rasters, maps, strict=True)
    ]
    if images is not None:
        sources = [replace(s, image=image) for s, image in zip(sources, images, strict=True)]
    with (
        helpers() as (executor, at_once),
        ChangeJournal(journal_folder(output, parts_key, restart=options.restart)) as journal,
    ):
        notes += journal.notes
        for repair in range(REPAIRS + 1):
            compared, sources = _compared(sources, options, parts_key, journal, executor)
            if not repair and compared.n_resumed:
                n = len(compared.parts)
                notes.append(f"{compared.n_resumed} of {n} blocks were finished before; going on from there")
            if not compared.plain.n_compared:
                raise InputError(
                    f"{sources[0].name} and {sources[1].name} have no pixel that both dates observed: there is nothing "
                    "to compare; check their nodata values with gdalinfo"
                )
            try:
                final = compared if options.min_area is None else _merged(compared, options, executor)
                for m, was in zip(maps, prints, strict=True):
                    if fingerprint(m.classes) != was:
                        raise SceneError(
                            f"{printable(m.classes)}: changed while it was read; run again when it is at rest"
                        )
                job = Publisher(maps=maps, compared=final, options=options, key=key, executor=executor, at_once=at_once)
                with staging(output, overwrite=options.overwrite) as stage:
                    result = job.publish(
                        stage, output, with_confidence=by_shares or all(s.has_confidence for s in sources)
                    )
                break
            except PartError:
                damaged = damaged_blocks(compared.parts)
                if not damaged or repair == REPAIRS:
                    raise
                notes.append(f"{len(damaged)} finished blocks were damaged on the disk and are compared again")
                journal.drop(compared.scene, damaged)
        crash_point("scene_published")
        journal.forget(compared.scene)
    forget_journal(output)
    return replace(result, notes=(*notes, *compared.comparison.notes, *result.notes))


def _finished(folder: Path, item: dict[str, Any]) -> ChangeResult | None:
    """The results in a folder, which are whole and those of this very comparison; None if a table is none."""
    import pandas as pd

    try:
        names = {"from_name": "str", "to_name": "str"}
        empty = {"percent": [""], "mean_conf": [""]}
        pairs = pd.read_csv(folder / f"{folder.name}_pairs.csv", dtype=names, keep_default_na=False, na_values=empty)
        height, width = item["properties"]["proj:shape"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ChangeResult(
        folder=folder, pairs=pairs, summary=None, n_polygons=None, pixels=height * width, unchanged=True
    )


def _compared(
    sources: list[ClassSource], options: ChangeOptions, parts_key: str, journal: ChangeJournal, executor: Executor
) -> tuple[Compared, list[ClassSource]]:
    """The comparison with the legends as they turn out: a file may name some of its classes only."""
    while True:
        comparison = Comparison.of(sources[0], sources[1], options.rules)
        compared, lacking = compare_blocks(comparison, parts_key, journal, executor)
        if compared is not None:
            return compared, sources
        sources = [replace(s, legend=s.extend(values)) for s, values in zip(sources, lacking, strict=True)]


def _merged(compared: Compared, options: ChangeOptions, executor: Executor) -> Compared:
    """With patches below the smallest area merged into their neighbours."""
    assert options.min_area is not None
    comparison = compared.comparison
    nodata = comparison.codes.nodata
    parts, _ = merge_parts(compared.parts, options.min_area, comparison.geobox, nodata, executor)
    return replace(compared, parts=parts, counts=recount_parts(comparison, parts, executor))


def _dates(maps: Sequence[MapInput]) -> list[str]:
    """What the dates of the maps say of their order."""
    one, two = (m.acquired for m in maps)
    if one is None or two is None:
        return []
    if one > two:
        first, second = (f"{printable(m.name)} ({when:%Y-%m-%d})" for m, when in zip(maps, (one, two), strict=True))
        return [
            f"warning: {first} was taken after {second}: are the two swapped? Before is the one that is named first"
        ]
    return []
