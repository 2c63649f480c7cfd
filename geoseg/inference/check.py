"""Whether a model does what its card says, on this machine: what `geoseg models check` prints."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoseg.errors import GeosegError, ModelError
from geoseg.inference.engine import Engine, choose_device
from geoseg.models.bundle import read_known_window
from geoseg.models.example import SHARE_THAT_MAY_DIFFER, example_side, example_windows
from geoseg.models.load import Model, build_network
from geoseg.models.window_dependence import window_dependent_layers

__all__ = ["Finding", "check_model"]

_ROUNDS = 5
_FAR = 1e-3
"""Share of the spread of the logits from which a far corner counts as seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """In a word."""
    good: bool | None
    """Whether the model passes; None for what is only said."""
    text: str
    """What was found."""


def check_model(model: Model, *, device: str = "auto", precision: str = "auto") -> Iterator[Finding]:
    """What is found of a model, one after another: network, bands, window sizes, test window, reach, speed.

    Args:
        model: As loaded; not kmeans, which is a network only once it has seen a scene.
        device: Where to run it.
        precision: Of its arithmetic.

    Raises:
        ModelError: If the network cannot be built at all.
        ParameterError: If the device is not there.
    """
    if model.card.kind == "kmeans":
        raise ModelError("kmeans finds its centres in each scene anew: there is no network to check")
    network = build_network(model)
    engine = Engine(network=network, device=choose_device(device), batch_size=1, precision=precision)
    parameters = sum(p.numel() for p in network.parameters())
    size = f"{parameters / 1e6:.2f} million parameters" if parameters else "no parameters that torch sees"
    yield Finding(what="network", good=None, text=f"kind {model.card.kind}, {size}, on {engine.device.type}")
    contract = _bands(model, engine)
    yield contract
    if not contract.good:
        return
    yield from _optional_bands(model, engine)
    yield _influence(model, engine)
    yield _sizes(model, engine)
    if model.member is not None:
        yield _known_window(model, engine)
    yield _reach(model, engine, network)
    yield _speed(model, engine)


def _run(engine: Engine, windows: Tensor) -> Tensor:
    return engine(windows.to(engine.device).contiguous(memory_format=torch.channels_last)).cpu()


def _bands(model: Model, engine: Engine) -> Finding:
    """The contract: all bands of the card in, one finite logit a class and pixel out."""
    card, side = model.card, model.card.window
    try:
        logits = _run(engine, example_windows(1, card, side))
    except (GeosegError, RuntimeError) as error:
        return Finding(what="bands", good=False, text=f"{len(card.bands)} bands are not taken: {_line(error)}")
    if logits.shape[1] != model.n_classes:
        text = f"{logits.shape[1]} outputs for {model.n_classes} classes: correct classes in the card"
        return Finding(what="bands", good=False, text=text)
    if not torch.isfinite(logits).all():
        return Finding(what="bands", good=False, text="logits that are not numbers: check weights and normalisation")
    text = f"{', '.join(model.bands)} in, {model.n_classes} classes out, in windows of {side} px"
    return Finding(what="bands", good=True, text=text)


def _optional_bands(model: Model, engine: Engine) -> Iterator[Finding]:
    optional = [band.name for band in model.card.bands if not band.required]
    if not optional:
        return
    kept = model.with_bands(band.name for band in model.card.bands if band.required)
    windows = example_windows(1, model.card, example_side(model.card))
    windows = windows[:, [band.name in kept.bands for band in model.card.bands]]
    try:
        partial = Engine(network=build_network(kept), device=engine.device, batch_size=1, precision=engine.precision)
        good = bool(torch.isfinite(_run(partial, windows)).all())
    except (GeosegError, RuntimeError) as error:
        yield Finding(what="optional bands", good=False, text=f"without {', '.join(optional)}: {_line(error)}")
        return
    yield Finding(what="optional bands", good=good, text=f"runs without {', '.join(optional)}")


def _influence(model: Model, engine: Engine) -> Finding:
    """A band that changes nothing is one too many in the card, or was never learnt from."""
    windows = example_windows(1, model.card, example_side(model.card))
    before = _run(engine, windows)
    mute = []
    for i, band in enumerate(model.card.bands):
        changed = windows.clone()
        # upside down: values stay what they are, so rules that ask for thresholds see them, too
        changed[:, i] = windows[:, i].flip(-2)
        if torch.equal(_run(engine, changed), before):
            mute.append(band.name)
    if mute:
        return Finding(what="influence", good=False, text=f"{', '.join(mute)} changes nothing: is it the right model?")
    return Finding(what="influence", good=True, text="every band changes the outputs")


def _sizes(model: Model, engine: Engine) -> Finding:
    card = model.card
    if card.fixed_window:
        return Finding(what="windows", good=None, text=f"{card.window} px only, says the card")
    side = card.window + card.output_stride
    try:
        logits = _run(engine, example_windows(1, card, side))
    except (GeosegError, RuntimeError) as error:
        text = f"not {side} px, though the card allows it: write fixed_window: true ({_line(error)})"
        return Finding(what="windows", good=False, text=text)
    good = logits.shape[2:] == (side, side)
    return Finding(what="windows", good=good, text=f"of any multiple of {card.output_stride} px (tried {side})")


def _known_window(model: Model, engine: Engine) -> Finding:
    """What the bundle's own window gives here, and what it gave where the bundle was made."""
    assert model.weights is not None
    known = read_known_window(model.weights)
    logits = _run(engine, known.pixels[None])[0]
    if logits.shape != known.logits.shape:
        return Finding(what="test window", good=False, text=f"gives {tuple(logits.shape)}, not what it gave before")
    n_pixels = logits[0].numel()
    differ = int((logits.argmax(dim=0) != known.logits.argmax(dim=0)).sum())
    text = (
        f"{differ} of {n_pixels} pixels differ from those of the bundle, logits by up to "
        f"{(logits - known.logits).abs().max().item():.2g}"
    )
    return Finding(what="test window", good=differ <= SHARE_THAT_MAY_DIFFER * n_pixels, text=text)


def _reach(model: Model, engine: Engine, network: nn.Module) -> Finding:
    """Whether pixels see the whole window: by its layers where they can be seen, and by trying.

    One corner, an eighth of the side, is changed; what moves in the opposite one has seen all that lies between.
    """
    side = model.card.window
    windows = example_windows(1, model.card, side)
    corner = max(side // 8, 1)
    changed = windows.clone()
    changed[..., :corner, :corner] = windows[..., -corner:, -corner:]
    before, after = _run(engine, windows), _run(engine, changed)
    moved = (after - before)[..., -corner:, -corner:].abs().max() / before.std().clamp(min=1e-12)
    layers = window_dependent_layers(network)
    if not layers and moved < _FAR:
        return Finding(what="reach", good=None, text="a pixel does not see the whole window: overlap heals the seams")
    shown = f"{', '.join(layers[:3])}{f' and {len(layers) - 3} more' if len(layers) > 3 else ''}; " if layers else ""
    text = (
        f"outputs depend on the whole window ({shown}a corner moves the opposite one by {100 * moved:.2g} % of the "
        "spread): seams do not heal fully by overlap, larger windows help"
    )
    return Finding(what="reach", good=None, text=text)


def _speed(model: Model, engine: Engine) -> Finding:
    side = model.card.window
    windows = example_windows(1, model.card, side).to(engine.device).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(_ROUNDS + 1):
        started = time.perf_counter()
        engine(windows).cpu()
        seconds.append(time.perf_counter() - started)
    each = statistics.median(seconds[1:])  # the first pays for what is made once
    rate = side**2 / each / 1e6
    # windows overlap along both axes
    useful = rate * (1 - model.card.overlap) ** 2
    text = (
        f"{1000 * each:.0f} ms for a window of {side} px, {rate:.2f} million pixels a second; at an overlap of "
        f"{model.card.overlap:.0%} about {100 / useful:.0f} s for 10,000 x 10,000 px"
    )
    return Finding(what="speed", good=None, text=text)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
