"""Two class maps in files -> a folder of change: map, polygons, tables, item, all appearing together."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.change.comparison import Comparison
from geoseg.change.maps import ClassSource, source_of_file
from geoseg.errors import InputError, OutputError, SceneError, printable
from geoseg.jobs.change_blocks import Compared, compare_blocks, recount_parts
from geoseg.jobs.change_maps import find_map
from geoseg.jobs.change_options import ChangeOptions, ChangeResult, MapInput
from geoseg.jobs.change_publish import Publisher
from geoseg.jobs.cluster import helpers
from geoseg.jobs.mapping_unit import merge_parts
from geoseg.jobs.results import fault_in, read_item
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
    options is left as it is.

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
    key = options.key((*prints, *(fingerprint(each) for each in more if each is not None)))
    done = _standing(output, key, options)
    if done is not None:
        return done
    notes = [*_dates(maps), *(f"{printable(m.name)}: {n}" for m, r in zip(maps, rasters, strict=True) for n in r.notes)]
    by_shares = options.rules.posterior is not None
    sources = [
        source_of_file(r, m.confidence, m.probabilities if by_shares else None)
        for r, m in zip(rasters, maps, strict=True)
    ]
    with helpers() as (executor, at_once), _parts_folder(output) as folder:
        compared, sources = _compared(sources, options, folder, executor)
        if not compared.plain.n_compared:
            raise InputError(
                f"{sources[0].name} and {sources[1].name} have no pixel that both dates observed: there is nothing to "
                "compare; check their nodata values with gdalinfo"
            )
        if options.min_area is not None:
            compared = _merged(compared, options, executor)
        for m, was in zip(maps, prints, strict=True):
            if fingerprint(m.classes) != was:
                raise SceneError(f"{printable(m.classes)}: changed while it was read; run again when it is at rest")
        job = Publisher(maps=maps, compared=compared, options=options, key=key, executor=executor, at_once=at_once)
        with staging(output, overwrite=options.overwrite) as stage:
            result = job.publish(stage, output, with_confidence=by_shares or all(s.has_confidence for s in sources))
    return replace(result, notes=(*notes, *compared.comparison.notes, *result.notes))


def _standing(output: Path, key: str, options: ChangeOptions) -> ChangeResult | None:
    """The finished results of this very comparison; None if nothing is there, or what is there may be replaced.

    Raises:
        OutputError: If something else is there.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        return None
    if not (output / f"{output.name}.json").is_file():
        raise OutputError(
            f"results would go to {printable(output)}, which is there and holds no results of geoseg; move it away, or "
            "choose another --output"
        )
    item = read_item(output)
    fault = fault_in(output, item)
    found = None if item is None or fault is not None else _finished(output, item, key)
    if fault is not None and not options.overwrite:
        raise OutputError(
            f"the results in {printable(output)} are damaged or were changed: {fault}; pass --overwrite to make them "
            "again, or choose another --output"
        )
    if found is None and not options.overwrite:
        raise OutputError(
            f"{printable(output)} holds results of other maps or options; pass --overwrite to replace them, or choose "
            "another --output"
        )
    return found


def _finished(folder: Path, item: dict[str, Any], key: str) -> ChangeResult | None:
    """The whole results in a folder, if they are those of this very comparison; None if they are of another."""
    import pandas as pd

    try:
        if item["properties"]["geoseg:parameters"]["key"] != key:
            return None
        names = {"from_name": "str", "to_name": "str"}
        empty = {"percent": [""], "mean_conf": [""]}
        pairs = pd.read_csv(folder / f"{folder.name}_pairs.csv", dtype=names, keep_default_na=False, na_values=empty)
        height, width = item["properties"]["proj:shape"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ChangeResult(
        folder=folder, pairs=pairs, summary=None, n_polygons=None, pixels=height * width, unchanged=True
    )


@contextmanager
def _parts_folder(output: Path) -> Iterator[Path]:
    """A hidden folder for parts beside the outputs; a killed run's is removed by the next one."""
    folder = output.with_name(f".{output.name}.{secrets.token_hex(4)}.parts")
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(output.parent)}: {(error.strerror or str(error)).lower()}; choose another "
            "--output"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compared(
    sources: list[ClassSource], options: ChangeOptions, folder: Path, executor: Executor
) -> tuple[Compared, list[ClassSource]]:
    """The comparison with the legends as they turn out: a file may name some of its classes only."""
    while True:
        comparison = Comparison.of(sources[0], sources[1], options.rules)
        compared, lacking = compare_blocks(comparison, folder, executor)
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
