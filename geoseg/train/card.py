"""What was trained -> the card that says what it expects and how good it is."""

from geoseg.errors import printable
from geoseg.models.card import PROBABILITIES, ModelCard
from geoseg.models.own_network import is_module
from geoseg.train.config import TrainSpec
from geoseg.train.keeper import Best, Epoch
from geoseg.train.pairs import Pairs
from geoseg.train.places import Places, held_out_scenes
from geoseg.train.statistics import BandStatistics

__all__ = ["make_card", "window_of_runs"]

_LEAST_WINDOW = 256
_NAMED = 10


def window_of_runs(spec: TrainSpec, stride: int) -> int:
    """Pixels along a window of a run: those of the training, or more where that is mostly border."""
    return max(spec.window, -(-_LEAST_WINDOW // stride) * stride)


def make_card(
    spec: TrainSpec,
    pairs: Pairs,
    places: Places,
    statistics: BandStatistics,
    *,
    stride: int,
    fixed_window: bool,
    weights: str,
    weights_sha256: str,
    start: str,
    labels: str,
    epochs: list[Epoch],
    best: Best,
) -> ModelCard:
    """The card of a trained model.

    Args:
        spec: What was asked.
        pairs: What it was trained on.
        places: What of it was held out.
        statistics: Of the pixels of training.
        stride: Pixels of the network's deepest grid.
        fixed_window: Whether the network takes windows of the size of the training only.
        weights: Name of the file beside the card.
        weights_sha256: Of that file.
        start: Where the weights came from at first, in words.
        labels: What it was taught by, in words.
        epochs: All of them.
        best: The one whose weights these are.
    """
    confusion = best.confusion
    iou = {c.name: round(float(v), 4) for c, v in zip(pairs.legend, confusion.iou, strict=True) if v == v}
    return ModelCard.model_validate(
        {
            "name": spec.name,
            "version": "1.0",
            "description": spec.description,
            "license": spec.license,
            "kind": "module" if is_module(spec.architecture.name) else "smp",
            "architecture": spec.architecture.model_dump(mode="json", exclude_unset=True),
            "weights": weights,
            "weights_sha256": weights_sha256,
            "bands": [
                {"name": name, "required": True, "mean": mean, "std": std}
                for name, mean, std in zip(pairs.band_names, statistics.mean, statistics.std, strict=True)
            ],
            "units": pairs.units,
            "gsd_m": float(f"{pairs.gsd_m:.4g}"),
            **({} if spec.place is None else {"place": spec.place}),
            "window": spec.window if fixed_window else window_of_runs(spec, stride),
            **({"fixed_window": True} if fixed_window else {}),
            "output_stride": stride,
            "nodata_fill": 0.0,
            "classes": [{"value": c.value, "name": c.name, "color": c.color} for c in pairs.legend],
            "quantiles": {
                name: dict(zip(PROBABILITIES, values, strict=True))
                for name, values in zip(pairs.band_names, statistics.quantiles, strict=True)
            },
            "scores": {
                "data": _held_out(spec, pairs, places),
                "pixels": confusion.pixels,
                "accuracy": round(confusion.accuracy, 4),
                "miou": round(confusion.miou, 4),
                "iou": iou,
            },
            "training": _in_words(spec, start, labels, epochs, best),
        }
    )


def _held_out(spec: TrainSpec, pairs: Pairs, places: Places) -> str:
    scenes = held_out_scenes(pairs, places)
    named = f" ({', '.join(map(printable, scenes))})" if len(scenes) <= _NAMED else ""
    what = f"{len(scenes)} of {len(places.held_out)} scenes{named}"
    if spec.split.by == "block":
        what = f"blocks of {spec.split.block_px} px in {what}"
    return (
        f"{what}, held out of the training but used to choose the best epoch; windows of {spec.window} px, "
        "each pixel once"
    )


def _in_words(spec: TrainSpec, start: str, labels: str, epochs: list[Epoch], best: Best) -> str:
    losses = ", ".join(str(term["name"]) for term in spec.loss)
    return (
        f"geoseg train, seed {spec.seed}: {start}; epoch {best.epoch} of {len(epochs)}, each of {spec.batches} "
        f"batches of {spec.batch_size} windows of {spec.window} px; {losses}; {labels}."
    )
