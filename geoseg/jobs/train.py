"""A training as a job: it may die and goes on, and a model is there whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import GeosegError, InputError, OutputError, ParameterError, printable
from geoseg.jobs.lock import STATE, hold
from geoseg.jobs.words import counted
from geoseg.models.card import ModelCard, card_from_yaml
from geoseg.models.load import Model, load_model
from geoseg.outputs.model_folder import CARD, WEIGHTS, TrainingFolder, write_card, write_weights
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers

if TYPE_CHECKING:
    from geoseg.train.config import Training
    from geoseg.train.keeper import Epoch
    from geoseg.train.machine import Machine
    from geoseg.train.pairs import Pairs
    from geoseg.train.places import Places

    Progress = Callable[[int, int, Epoch | None], None]

__all__ = ["SHOWN", "Trained", "train"]

SHOWN = "training"
"""Folder in the model's for the log, the pictures and what was asked."""
_ASKED = "training.json"
_MAPS = "pseudo"
_FORMAT = 2
"""Raised when the same settings would train otherwise than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model that is there."""

    folder: Path
    """With card and weights: what `geoseg run -m` takes."""
    card: ModelCard
    """What it expects, and how good it is."""
    was_there: bool
    """Whether it had been trained before, with the same data and settings."""


def train(
    training: "Training",
    output: Path,
    *,
    machine: "Machine",
    overwrite: bool = False,
    restart: bool = False,
    trust: bool = False,
    say: Callable[[str], None],
    progress: "Progress",
) -> Trained:
    """Train a model into a folder; a training that died goes on from the end of its last whole epoch.

    Args:
        training: What is asked.
        output: Folder of the model.
        machine: Where it is computed.
        overwrite: Replace a model of other data or settings.
        restart: Start over, whatever is there of an unfinished training.
        trust: Whether the architecture, or the first model of pseudo-labels, may be code that runs.
        say: Takes lines for people.
        progress: Is told batches done and batches in all, and at the end of an epoch what became of it.

    Raises:
        GeosegError: If it cannot be trained; what an unfinished training needs stays.
    """
    from geoseg.train.machine import devices_of
    from geoseg.train.pairs import find_pairs

    if training.spec.precision == "float16" and machine.device == "cpu":
        raise ParameterError("precision float16 is not for the CPU: choose bfloat16 or float32, or another device")
    if training.spec.init not in ("none", "imagenet") and not Path(training.spec.init).is_file():
        raise InputError(
            f"init: there is no file of weights {printable(training.spec.init)}: check the path, or write none or "
            "imagenet"
        )
    devices_of(machine, training.spec)  # whether they will do is said before the data are read
    pairs = find_pairs(training.spec)
    named = training.spec.pseudo_labels
    first = None if named is None else load_model(named, trust=trust)
    asked = {"format": _FORMAT, "key": _key(training, pairs, first), "settings": training.spec.model_dump(mode="json")}
    with _without_a_trace(output), hold(output) as note:
        if note:
            say(note)
        clean_leftovers(output)
        shown, work = output / SHOWN, output / STATE / "train"
        if (output / CARD).exists() and not overwrite:
            made_of = _read(shown / _ASKED)
            if made_of.get("key") != asked["key"]:
                raise OutputError(
                    f"{printable(output)} holds a model of {_differing(made_of, asked)}: pass --overwrite to replace "
                    "it, or choose another --output"
                )
            if not restart:
                if _read(work / _ASKED).get("key") == asked["key"]:  # killed before it was tidied up
                    _clear(TrainingFolder(work, shown), work)
                return Trained(folder=output, card=card_from_yaml(output / CARD), was_there=True)
        folder = TrainingFolder(work, shown)
        with closing(folder):
            clean_leftovers(work)
            clean_leftovers(shown)
            # one that was refused before its first epoch has nothing to go on from
            begun = _read(work / _ASKED) if folder.checkpoint_file.exists() else {}
            if begun and not restart and begun.get("key") != asked["key"]:
                raise OutputError(
                    f"{printable(output)} holds an unfinished training with {_differing(begun, asked)}: pass --restart "
                    "to start over, or give what it was begun with"
                )
            if restart or not begun:
                folder.clear()
                write_json(work / _ASKED, asked)
            try:
                card = _fitted(
                    training, pairs, first, folder, output, machine=machine, trust=trust, say=say, progress=progress
                )
                # what it is of goes before the card, without which nobody asks
                write_json(shown / _ASKED, asked)
                write_card(card, output / CARD)
            except GeosegError:
                if not folder.checkpoint_file.exists():
                    (work / _ASKED).unlink(missing_ok=True)
                    folder.remove_if_empty()
                raise
        _clear(folder, work)
    return Trained(folder=output, card=card, was_there=False)


def _clear(folder: TrainingFolder, work: Path) -> None:
    """Remove what a finished training needs no more."""
    for file in (folder.checkpoint_file, folder.best_file, work / _ASKED):
        file.unlink(missing_ok=True)
    shutil.rmtree(work / _MAPS, ignore_errors=True)
    with suppress(OSError):
        work.rmdir()


@contextmanager
def _without_a_trace(output: Path) -> Iterator[None]:
    """Takes an output folder away again that was made for a training which is refused before its first epoch."""
    was_there = output.exists()
    try:
        yield
    except GeosegError:
        if not was_there:
            with suppress(OSError):  # what an unfinished training needs stays
                output.rmdir()
        raise


def _fitted(
    training: "Training",
    pairs: "Pairs",
    first: Model | None,
    folder: TrainingFolder,
    output: Path,
    *,
    machine: "Machine",
    trust: bool,
    say: Callable[[str], None],
    progress: "Progress",
) -> ModelCard:
    """Train and publish the weights; the card is yet to be written."""
    from safetensors.torch import load_file

    from geoseg.train.batches import HeldOutBatches, TrainingBatches
    from geoseg.train.card import make_card, window_of_runs
    from geoseg.train.class_weights import effective_weights, inverse_weights
    from geoseg.train.fit import fit
    from geoseg.train.losses import build_loss
    from geoseg.train.network import first_network, output_stride
    from geoseg.train.places import count_cells, split_places
    from geoseg.train.statistics import band_statistics, blank_images, normalisations
    from geoseg.train.trial import takes_any_window, try_windows
    from geoseg.train.windows import tiles

    spec = training.spec
    if spec.init == "imagenet":
        say(f"fetching the weights of {printable(spec.architecture.encoder)} from the hub")
    # before labels are read, which takes a while where there are many
    network, start = first_network(
        spec, in_channels=len(pairs.band_names), n_classes=len(pairs.legend), origin=training.origin, trust=trust
    )
    stride = output_stride(network)
    if spec.window % stride:
        named = " with ".join(filter(None, (spec.architecture.name, spec.architecture.encoder)))
        raise ParameterError(
            f"a window of {spec.window} px does not fit {printable(named)}: choose a multiple of {stride}"
        )
    n_bands = len(pairs.band_names)
    try_windows(network, spec, in_channels=n_bands, n_classes=len(pairs.legend))
    fixed_window = not takes_any_window(network, window_of_runs(spec, stride), stride, in_channels=n_bands)
    places = split_places(pairs, [count_cells(p, pairs.legend, spec.ignore) for p in pairs.items], spec.split)
    for line in (*pairs.notes, *places.notes, _data_in_words(pairs, places)):
        say(line)
    for href in blank_images(pairs):
        say(f"warning: {printable(href)}: no pixel is valid, so its labels count for nothing: check its nodata value")
    true_pixels = int(places.pixels(held_out=False).sum())
    if first is not None:
        from geoseg.jobs.pseudo_labels import pseudo_labelled

        pairs, places = pseudo_labelled(pairs, places, first, spec, folder.work / _MAPS, machine=machine, say=say)
    statistics = band_statistics(pairs, places, seed=spec.seed)
    of_scenes = normalisations(pairs, statistics)
    weigh = {"none": None, "inverse": inverse_weights, "effective": effective_weights}[spec.class_weights]
    counts = places.cells() if spec.class_weights == "effective" else places.pixels(held_out=False)
    of_classes = None if weigh is None else weigh(counts).tolist()
    loss = build_loss(spec.loss, class_weight=of_classes, n_classes=len(pairs.legend))
    windows = tiles(places, pairs.items, spec.window)
    resume = folder.checkpoint_file if folder.checkpoint_file.exists() else None
    where = machine.device if machine.devices == 1 else f"{machine.devices} x {machine.device}"
    say(f"{start}; {sum(p.numel() for p in network.parameters()) / 1e6:.2f} million weights, on {where}")
    if resume:
        say("going on from the last whole epoch of a training that did not end")
    total = spec.epochs * spec.batches
    epochs, best = fit(
        network,
        loss,
        spec,
        TrainingBatches(spec, pairs.items, places, of_scenes),
        HeldOutBatches(spec, pairs.items, places, of_scenes, windows),
        legend=pairs.legend,
        bands=pairs.band_names,
        machine=machine,
        keep=folder,
        resume=resume,
        progress=lambda done, epoch: progress(done, total, epoch),
    )
    # the card is withdrawn before the weights change, and written last: it never speaks of other weights
    (output / CARD).unlink(missing_ok=True)
    weights = write_weights(load_file(folder.best_file), output / WEIGHTS)
    return make_card(
        spec,
        pairs,
        places,
        statistics,
        stride=stride,
        fixed_window=fixed_window,
        weights=WEIGHTS,
        weights_sha256=weights.sha256,
        start=start,
        labels=_labels_in_words(training, true_pixels, places, first),
        epochs=epochs,
        best=best,
    )


def _data_in_words(pairs: "Pairs", places: "Places") -> str:
    train, held = places.pixels(held_out=False), places.pixels(held_out=True)
    classes = ", ".join(f"{printable(c.name)} {t / train.sum():.1%}" for c, t in zip(pairs.legend, train, strict=True))
    return (
        f"{counted(len(pairs.items), 'scene')}, {counted(len(pairs.band_names), 'band')}, {train.sum():,} labelled "
        f"pixels to train on ({classes}), {held.sum():,} held out"
    )


def _labels_in_words(training: "Training", true_pixels: int, places: "Places", first: Model | None) -> str:
    if first is None:
        return f"{true_pixels} labelled pixels to train on"
    added = int(places.pixels(held_out=False).sum()) - true_pixels
    return (
        f"{true_pixels} labelled pixels to train on, and as labels {added} of which {first.card.name} "
        f"{first.card.version} was at least {training.spec.pseudo_confidence:.0%} sure"
    )


def _key(training: "Training", pairs: "Pairs", first: Model | None) -> str:
    """SHA-256 over all that shapes the model: settings, images, labels, the first model."""
    from geoseg.scene.open import fingerprint
    from geoseg.train.config import canonical

    content: list[Any] = [_FORMAT, canonical(training.spec)]
    content += [[p.scene.id, p.scene.fingerprint] for p in pairs.items]
    content += [fingerprint(p.raster.href) for p in pairs.items if p.raster is not None]
    content += _shapes(p.polygons.name for p in pairs.items if p.polygons is not None)
    content += [] if first is None else [first.digest]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _shapes(files: Any) -> Sequence[Any]:
    # all images have theirs from one file
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in dict.fromkeys(files)]


def _differing(before: dict[str, Any], asked: dict[str, Any]) -> str:
    """What an earlier training differs in."""
    then, now = before.get("settings"), asked["settings"]
    shape_nothing = {"images", "labels", "gradient_checkpointing"}  # where data lie, see `canonical`
    names = [n for n in now if n not in shape_nothing and then.get(n) != now[n]] if isinstance(then, dict) else []
    return f"other settings ({', '.join(names)})" if names else "other data"


def _read(path: Path) -> dict[str, Any]:
    """What a file of `_ASKED` says; nothing where it is not there or not whole."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
