"""The maps of a first model, whose sure pixels become labels: made by the engine that `geoseg run` uses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError, ModelError, ParameterError, printable
from geoseg.inference.recipe import Choices, recipe_for
from geoseg.jobs.cluster import connect
from geoseg.jobs.outcome import Event, Options
from geoseg.jobs.run import run
from geoseg.models.load import Model
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    from geoseg.train.config import TrainSpec
    from geoseg.train.machine import Machine
    from geoseg.train.pairs import Pairs
    from geoseg.train.places import Places

__all__ = ["pseudo_labelled"]


def pseudo_labelled(
    pairs: "Pairs",
    places: "Places",
    first: Model,
    spec: "TrainSpec",
    folder: Path,
    *,
    machine: "Machine",
    say: Callable[[str], None],
) -> tuple["Pairs", "Places"]:
    """The images of a training with what a first model is sure of as labels, and where labels then are.

    Finished maps in ``folder`` are not computed again.

    Args:
        pairs: All images.
        places: What of them is labelled, and what is held out.
        first: The first model.
        spec: What is asked.
        folder: Of the maps; they are read while it is trained.
        machine: Where it is computed.
        say: Takes lines for people.

    Raises:
        InputError: If no image fits the model, one that does cannot be mapped, or the model is nowhere so sure.
        ModelError: If its classes are others.
    """
    from geoseg.train.pseudo import classes_of, filled, with_maps

    name = first.card.name
    if first.card.dates != 1 or first.card.kind == "kmeans":
        raise ParameterError(
            f"pseudo_labels: {printable(name)} is no model of the classes of one image: name one that is"
        )
    index, lacking = classes_of(first.legend, pairs.legend, name=name)
    choices = Choices(device=machine.device, threads=machine.threads, min_confidence=spec.pseudo_confidence)
    trained_on = [p.scene for p, held in zip(pairs.items, places.held_out, strict=True) if not held.all()]
    wanted = _that_fit(trained_on, first, choices, say)
    say(f"labels where there are none: {len(wanted)} scenes are mapped by {printable(name)}")
    options = Options(
        choices=choices,
        bands=spec.bands,
        scale=spec.scale,
        offset=spec.offset,
        formats=(),
        overwrite=True,  # maps of another first model
    )

    def listen(event: Event) -> None:
        if event.kind == "note":
            say(f"{printable(event.scene)}: {event.text}")

    with connect(accelerated=machine.device.partition(":")[0] != "cpu") as pool:
        outcomes = run(list(wanted), folder, first, options, pool=pool, listen=listen).outcomes
    if failed := [o.error for o in outcomes if o.status == "failed"]:
        raise InputError(f"the first model {printable(name)} cannot map all images: {failed[0]}")
    maps = {wanted[o.href]: str(folder / o.id / f"{o.id}_classes.tif") for o in outcomes}
    pairs = with_maps(pairs, maps, index)
    before = int(places.pixels(held_out=False).sum())
    places, added = filled(pairs, places, spec.ignore)
    each = ", ".join(f"{printable(c.name)} {n / added.sum():.1%}" for c, n in zip(pairs.legend, added, strict=True))
    say(
        f"{added.sum() / 1e6:.2f} million pixels where {printable(name)} is at least {spec.pseudo_confidence:.0%} sure "
        f"are labels, too ({each}), beside {before / 1e6:.2f} million true ones"
    )
    if lacking:
        say(f"classes of {printable(name)} that are not trained, and are no labels: {printable(', '.join(lacking))}")
    return pairs, places


def _that_fit(scenes: Sequence[Scene], first: Model, choices: Choices, say: Callable[[str], None]) -> dict[str, str]:
    """Ids of the scenes that fit the first model, by what opens them; of the others it is said why they do not."""
    wanted: dict[str, str] = {}
    reasons: list[str] = []
    for scene in scenes:
        try:
            recipe_for(scene, first, choices)
        except ModelError as error:
            reasons.append(str(error))
            say(f"no labels of the first model: {error}")
        else:
            wanted[scene.href] = scene.id
    if not wanted:
        raise InputError(f"no image fits the first model {printable(first.card.name)}: {reasons[0]}")
    return wanted
