"""From settings to a model that is shipped: trained, with weights in half precision, its confidence made right."""

from collections.abc import Sequence
from pathlib import Path

from geoseg.jobs.evaluate_model import LabelledScenes, temperature_of
from geoseg.jobs.evaluate_model import write_card as write_calibrated
from geoseg.jobs.train import train
from geoseg.models.card import card_from_yaml
from geoseg.models.load import load_model
from geoseg.models.weights import check_weights, read_weights
from geoseg.outputs.model_folder import CARD, WEIGHTS, write_card, write_weights
from geoseg.train.config import load_training
from geoseg.train.machine import Machine

__all__ = ["calibrate", "made", "ship", "trained"]


def made(folder: Path) -> Path:
    """The folder, made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def trained(settings: Path, images: Sequence[Path], labels: Path, folder: Path, *, threads: int = 1) -> Path:
    """The folder of the trained model; one that was trained is left as it is, a training that was killed goes on."""
    asked = {"images": [str(i.resolve()) for i in images], "labels": str(labels.resolve())}
    return train(
        load_training(settings, asked, folder=Path.cwd()),
        folder,
        machine=Machine(threads=threads),
        say=print,
        progress=lambda _done, _total, epoch: None if epoch is None else print(epoch, flush=True),
    ).folder


def ship(trained: Path, out: Path) -> None:
    """The model with its weights in half precision, which takes half the room; they are computed with as ever."""
    weights = trained / WEIGHTS
    tensors = read_weights(weights, sha256=check_weights(weights))
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    written = write_weights(halves, made(out) / WEIGHTS)
    write_card(card_from_yaml(trained / CARD).model_copy(update={"weights_sha256": written.sha256}), out / CARD)


def calibrate(model: Path, images: Sequence[Path], labels: Path) -> float:
    """Write the temperature into a model's card that makes its confidence right on some scenes, and return it.

    Args:
        model: Folder of the model.
        images: What chose the epoch: neither what it learnt from, of which it is too sure, nor what is scored.
        labels: Folder of their label rasters.
    """
    loaded = load_model(model)
    tried = LabelledScenes(model=loaded, rasters=tuple(str(i) for i in images), labels=str(labels))
    fitted = temperature_of(tried, listen=lambda _: None)
    write_calibrated(loaded, fitted, model / CARD)
    return fitted.value
