"""Class maps of one place in files, by date -> a folder with its history, all outputs appearing together."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.change.maps import ClassSource, source_of_file
from geoseg.change.series import Series, Timeline
from geoseg.errors import InputError, PartError, SceneError, printable
from geoseg.jobs.change_journal import REPAIRS, forget_journal, journal_folder
from geoseg.jobs.change_maps import find_map, soft_rules
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.cluster import helpers
from geoseg.jobs.finished import standing
from geoseg.jobs.publish import damaged_blocks
from geoseg.jobs.series_blocks import GoneThrough, go_through
from geoseg.jobs.series_journal import SeriesJournal
from geoseg.jobs.series_options import SeriesOptions, SeriesResult
from geoseg.jobs.series_publish import SeriesPublisher
from geoseg.outputs.crash import crash_point
from geoseg.outputs.staging import staging
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.open import fingerprint

__all__ = ["one_series"]


def one_series(
    maps: Sequence[MapInput | str | os.PathLike[str]], output: Path, options: SeriesOptions | None = None
) -> SeriesResult:
    """Go through class maps of one place and leave a folder of outputs, which appear together.

    Work goes on in blocks, on the workers of the cluster that this runs on, else in threads. Memory is that of the
    blocks in work, some three bytes a pixel for each date, and of what their features take that go on beyond them. A
    finished folder of the same maps, dates and options is left as it is.

    Args:
        maps: By date: files, or folders of finished scenes of ``geoseg run``.
        output: The folder to be; its name is that of the outputs. Its parent is made if missing.
        options: What the user chose.

    Raises:
        InputError: If a map cannot be used, the maps have no area in common, or no pixel was observed on two dates.
        ParameterError: If dates, legends or rules do not fit each other.
        OutputError: If the folder holds something else, or anything cannot be written or does not read back.
    """
    options = options or SeriesOptions()
    named = [m if isinstance(m, MapInput) else find_map(m) for m in maps]
    timeline = Timeline.of([m.name for m in named], [m.acquired for m in named])
    rasters = [open_class_raster(m.classes, legend=options.legend) for m in named]
    prints = [fingerprint(m.classes) for m in named]
    shares = [m.probabilities for m in named if options.by_shares and m.probabilities is not None]
    inputs = (*prints, *map(fingerprint, shares), *timeline.labels)
    key, parts_key = options.key(inputs), options.parts_key(inputs)
    done = standing(output, key, lambda item: _finished(output, item), overwrite=options.overwrite)
    if done is not None:
        forget_journal(output)  # a run may have died between the last rename and this
        return done
    notes = [f"{printable(m.name)}: {n}" for m, r in zip(named, rasters, strict=True) for n in r.notes]
    notes += soft_rules(named) if options.by_shares else []
    sources = [
        source_of_file(r, None, m.probabilities if options.by_shares else None)
        for r, m in zip(rasters, named, strict=True)
    ]
    with (
        helpers() as (executor, at_once),
        SeriesJournal(journal_folder(output, parts_key, restart=options.restart)) as journal,
    ):
        notes += journal.notes
        for repair in range(REPAIRS + 1):
            found, sources = _found(sources, timeline, options, parts_key, journal, executor)
            if not repair and found.n_resumed:
                n = len(found.parts["first"])
                notes.append(f"{found.n_resumed} of {n} blocks were finished before; going on from there")
            if not found.counts.count.pixels[: len(timeline)].sum():
                raise InputError(
                    f"no pixel was observed on two dates of {', '.join(s.name for s in sources)}: there is nothing to "
                    "follow; check their nodata values with gdalinfo"
                )
            for m, was in zip(named, prints, strict=True):
                if fingerprint(m.classes) != was:
                    raise SceneError(f"{printable(m.classes)}: changed while it was read; run again when it is at rest")
            job = SeriesPublisher(maps=named, found=found, options=options, key=key, executor=executor, at_once=at_once)
            try:
                with staging(output, overwrite=options.overwrite) as stage:
                    result = job.publish(stage, output)
                break
            except PartError:
                damaged = damaged_blocks([part for parts in found.parts.values() for part in parts])
                if not damaged or repair == REPAIRS:
                    raise
                n = len(set(damaged))
                notes.append(f"{n} finished blocks were damaged on the disk and are gone through again")
                journal.drop(found.scene, damaged)
        crash_point("scene_published")
        journal.forget(found.scene)
    forget_journal(output)
    return replace(result, notes=(*notes, *found.series.notes, *result.notes))


def _found(
    sources: list[ClassSource],
    timeline: Timeline,
    options: SeriesOptions,
    parts_key: str,
    journal: SeriesJournal,
    executor: Executor,
) -> tuple[GoneThrough, list[ClassSource]]:
    """What there is in a series, with the legends as they turn out: a file may name some of its classes only."""
    while True:
        series = Series.of(sources, timeline, options.rules)
        found, lacking = go_through(series, parts_key, journal, executor, maps=options.maps)
        if found is not None:
            return found, sources
        sources = [replace(s, legend=s.extend(values)) for s, values in zip(sources, lacking, strict=True)]


def _finished(folder: Path, item: dict[str, Any]) -> SeriesResult:
    """The results in a folder, which are whole and those of this very series."""
    height, width = item["properties"]["proj:shape"]
    return SeriesResult(folder=folder, n_polygons=None, pixels=height * width, unchanged=True)
