"""A model against labelled scenes: maps by the engine that runs in production, their scores, and a temperature."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from geoseg.change.maps import source_of_file
from geoseg.errors import GeosegError, InputError, OutputError, ParameterError, printable
from geoseg.evaluate.logits import LogitSample, sample_logits
from geoseg.evaluate.temperature import Temperature, fit_temperature
from geoseg.inference.recipe import recipe_for
from geoseg.jobs.change_maps import find_maps
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.evaluate import (
    Evaluated,
    EvaluateOptions,
    MadeMaps,
    check_output,
    evaluate_files,
    pairs_of,
    vectors_of,
)
from geoseg.jobs.evaluate_pairs import find_references
from geoseg.jobs.outcome import Event, Listener, Options
from geoseg.jobs.run import run
from geoseg.models.at_gsd import at_gsd_of
from geoseg.models.load import Model
from geoseg.outputs.names import safe_name
from geoseg.outputs.records import write_text
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.open import open_scene, scene_name
from geoseg.scratch import scratch_folder

__all__ = ["LabelledScenes", "check_new_card", "evaluate_model", "temperature_of", "write_card"]

_MOST_PIXELS = 500_000
"""Of all scenes together, on which a temperature is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScenes:
    """A model, and what it is tried on."""

    model: Model
    """As loaded."""
    rasters: tuple[str, ...]
    """What `find_rasters` gave."""
    labels: str
    """A class raster, a folder of them, or a vector file."""
    running: Options = field(default_factory=partial(Options, formats=(), probabilities=True))
    """How the model is run; probabilities are scored where they are asked for."""
    scoring: EvaluateOptions = field(default_factory=EvaluateOptions)
    """How its maps are scored."""


def evaluate_model(
    tried: LabelledScenes, *, pool: Pool, maps: Path | None, output: Path | None, listen: Listener
) -> Evaluated:
    """Map all scenes as ``geoseg run`` does, and score the maps.

    Args:
        tried: The model and what it is tried on.
        pool: Where blocks are computed.
        maps: Folder of the maps, which stay; finished ones in it are not computed again. None removes them.
        output: Folder of the tables; None writes none.
        listen: Told what happens.

    Raises:
        InputError: If no scene can be mapped and scored.
        OutputError: If something cannot be written.
    """
    if output is not None:
        check_output(output, overwrite=tried.scoring.overwrite)
    # what is wrong with the labels is better known before hours of mapping than after
    if vectors_of(tried.labels, tried.scoring) is None:
        find_references(tried.labels)
    with ExitStack() as stack:
        if maps is None:
            maps = stack.enter_context(scratch_folder("evaluate")) / "maps"
        summary = run(tried.rasters, maps, tried.model, tried.running, pool=pool, listen=listen)
        failed = tuple((o.href, o.error or "") for o in summary.outcomes if o.status == "failed")
        # of a folder with maps of other scenes, too, those of these
        made = [m for o in summary.outcomes if o.status in ("done", "unchanged") for m in find_maps(maps / o.id)]
        if not made:
            raise InputError(f"no scene could be mapped: {failed[0][1]}")
        model = tried.model
        prediction = MadeMaps(
            maps=tuple(made),
            said=f"maps by {model.card.name} {model.card.version}",
            failed=failed,
            record={
                "model": {"name": model.card.name, "version": model.card.version, "digest": model.digest},
                "run": tried.running.as_asked,
            },
        )
        return evaluate_files(prediction, tried.labels, tried.scoring, output=output, listen=listen)


def temperature_of(tried: LabelledScenes, *, listen: Listener) -> Temperature:
    """The temperature that fits labelled scenes best, those that fail left out and named.

    Raises:
        InputError: If no scene has labelled pixels, or no temperature fits.
    """
    vectors = vectors_of(tried.labels, tried.scoring)
    scenes = [MapInput(classes=href, name=safe_name(scene_name(href))) for href in tried.rasters]
    pairs = pairs_of(scenes, tried.labels, is_vectors=vectors is not None).pairs
    found: list[LogitSample] = []
    for pair in pairs:
        options = tried.running
        try:
            scene = open_scene(
                pair.prediction.classes,
                bands=options.bands,
                scale=options.scale,
                offset=options.offset,
                mask_clouds=options.mask_clouds,
            )
            if not options.choices.force:  # as the run does it
                scene, _ = at_gsd_of(tried.model, scene)
            recipe = recipe_for(scene, tried.model, options.choices)
            if pair.reference is None:
                assert vectors is not None
                reference = vectors.on(scene.geobox)
            else:
                reference = source_of_file(open_class_raster(pair.reference.classes, legend=tried.scoring.legend))
            most = _MOST_PIXELS // len(pairs)
            found.append(sample_logits(recipe, reference, most=most, matching=tried.scoring.matching))
        except GeosegError as error:
            listen(Event(kind="failed", scene=pair.name, text=f"{printable(pair.name)}: {error}"))
    n = sum(len(f.labels) for f in found)
    if not n:
        raise InputError("no scene has a labelled pixel to fit a temperature on: check labels and their classes")
    return fit_temperature(np.concatenate([f.logits for f in found]), np.concatenate([f.labels for f in found]))


def check_new_card(model: Model, path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a card before any work is done.

    Raises:
        ParameterError: If the card would not find its weights there.
        OutputError: If something is there that may not be replaced.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ParameterError(f"{printable(path)} is no name for a card: let it end with .yaml")
    if model.member is not None:
        raise ParameterError(
            f"{printable(model.source)} is a bundle, whose weights lie inside: unzip it, and name its folder"
        )
    home = None if model.weights is None else model.weights.resolve().parent
    if home is not None and path.resolve().parent != home:
        raise ParameterError(
            f"{printable(path)} is not beside the weights, which are in {printable(home)}: a card names its weights by "
            "their file name alone; write it there, or copy the weights first"
        )
    if path.exists() and not overwrite:
        raise OutputError(f"{printable(path)} is already there: pass --overwrite or name another card")


def write_card(model: Model, temperature: Temperature, path: Path) -> None:
    """The model's card with a temperature.

    Raises:
        OutputError: If it cannot be written.
    """
    card = model.card.model_copy(update={"temperature": round(temperature.value, 6)})
    write_text(path, card.to_yaml())
