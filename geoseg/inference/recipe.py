"""Everything that shapes a scene's class map, as one value: it travels to workers and is hashed into the run key."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from odc.geo.geobox import GeoBox

from geoseg.errors import ParameterError
from geoseg.inference.blend import BLENDS
from geoseg.inference.decision import Decision
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block, Lattice
from geoseg.inference.turns import TTAS
from geoseg.legend import Legend
from geoseg.models.card import ModelCard
from geoseg.models.formats import find_format
from geoseg.models.load import Model
from geoseg.models.match import match
from geoseg.scene.gsd import gsd_m
from geoseg.scene.scene import Band, Scene
from geoseg.scene.taps import Taps

__all__ = ["FORMAT_VERSION", "Choices", "Recipe", "recipe_for"]

FORMAT_VERSION = 1
"""Changes whenever the same scene, model and choices give another result than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How to run a model; None is the model card's or the machine's own choice."""

    window: int | None = None
    """Pixels along a side of the window that the network sees."""
    overlap: float | None = None
    """Share of a window that two neighbours have in common."""
    blend: str | None = None
    """Name of the weight shape."""
    batch_size: int | None = None
    """Windows per forward pass."""
    device: str = "auto"
    """Where the network runs."""
    precision: str = "auto"
    """Of the network's arithmetic."""
    threads: int | None = None
    """CPU threads of the network."""
    tta: str = "none"
    """Test-time augmentation: ``flips`` (4 forward passes for each window) or ``d4`` (8), with quarter turns."""
    costs: tuple[tuple[float, ...], ...] | None = None
    """Cost of each decision (row) for each truth (column), in the order of the model's classes; see `Decision`."""
    min_confidence: float | None = None
    """Pixels whose most likely class is less probable are left undecided."""
    seed: int = 0
    """Of the subsample in which kmeans finds its centres."""
    force: bool = False
    """Go on where the scene's unit or GSD do not fit the model."""
    native_grid: bool = False
    """Results on the grid of the scene's own pixels where they are resampled for the model."""

    def __post_init__(self) -> None:
        if self.blend is not None and self.blend not in BLENDS:
            raise ParameterError(f"blend {self.blend!r} is not known: choose one of {', '.join(BLENDS)}")
        if self.tta not in TTAS:
            raise ParameterError(f"tta {self.tta!r} is not known: choose one of {', '.join(TTAS)}")
        _ = self.decision  # refuses what makes no sense
        for what, value in (("window", self.window), ("batch size", self.batch_size), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ParameterError(f"{what} {value}: choose at least 1")
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise ParameterError(f"overlap {self.overlap}: choose a share of the window from 0 to below 1")

    @property
    def decision(self) -> Decision:
        """How a class is chosen from probabilities."""
        return Decision(costs=self.costs, min_confidence=self.min_confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A scene, the model fitted to it, and how the one is run over the other."""

    scene: Scene
    """What is read, on the grid that the model sees."""
    model: Model
    """Fitted to the scene."""
    bands: tuple[Band, ...]
    """The scene's bands in the order of the network's input."""
    gain: tuple[float, ...]
    """Network input per stored unit, for each band."""
    bias: tuple[float, ...]
    """Network input of a stored 0, for each band."""
    lattice: Lattice
    """All windows."""
    blend: str
    """Name of the weight shape."""
    batch_size: int | None
    """Windows per forward pass."""
    device: str
    """Where the network runs; ``auto`` is decided by each worker."""
    precision: str
    """Of its arithmetic."""
    threads: int | None
    """CPU threads of the network; None leaves torch's own number."""
    tta: str = "none"
    """Sides from which each window is seen."""
    decision: Decision = field(default_factory=Decision)
    """How a class is chosen from probabilities."""
    native: bool = False
    """Whether the results are on the grid of the scene's own pixels, and not on that which the model sees."""
    part: Block | None = None
    """Which part of the scene the results are of, in pixels of their grid; None for all of it."""
    inside: Inside | None = None
    """Which pixels of the results are asked for; None for all."""
    notes: tuple[str, ...] = ()
    """What was decided and should be said aloud."""

    @property
    def legend(self) -> Legend:
        """The classes of the map: those of the model, and ``undecided`` where pixels can be left so."""
        return self.decision.legend(self.model.legend)

    @property
    def geobox(self) -> GeoBox:
        """The pixel grid of the results."""
        part = self.part
        return self._whole if part is None else self._whole[part.row_off : part.row_end, part.col_off : part.col_end]

    @property
    def _whole(self) -> GeoBox:
        """The grid that the results are on, for all of the scene."""
        return self.scene.geobox if self._own is None else self._own.geobox

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the results."""
        return int(self.geobox.shape[0]), int(self.geobox.shape[1])

    @property
    def _own(self) -> Scene | None:
        """The scene whose own pixels the results are on, where they are not on those that the model sees."""
        return self.scene.source if self.native else None

    @property
    def seen_inside(self) -> Inside | None:
        """The pixels that the model has to say something of, on the grid that it sees; None for all."""
        inside = self.placed_inside
        return inside if inside is None or self._own is None else inside.around(self.scene.height, self.scene.width)

    @property
    def placed_inside(self) -> Inside | None:
        """The pixels that are asked for, on the grid of all of the scene; None for all."""
        if self.inside is None or self.part is None:
            return self.inside
        height, width = (int(n) for n in self._whole.shape)
        return self.inside.moved(self.part.row_off, self.part.col_off, height, width)

    def placed(self, block: Block) -> Block:
        """A block of the results on the grid of all of the scene."""
        if self.part is None:
            return block
        return replace(block, row_off=block.row_off + self.part.row_off, col_off=block.col_off + self.part.col_off)

    def seen(self, block: Block) -> Block:
        """The part of the grid that the model sees of which a block of the results is made."""
        block = self.placed(block)
        if self._own is None:
            return block
        row, row_end = Taps.of(block.row_off, block.row_end, length=self.scene.height, new_length=self._own.height).span
        col, col_end = Taps.of(block.col_off, block.col_end, length=self.scene.width, new_length=self._own.width).span
        return Block(row_off=row, col_off=col, height=row_end - row, width=col_end - col)

    @property
    def key(self) -> str:
        """SHA-256 of what shapes the class map: scene, model, lattice, blend, precision and geoseg's format version.

        Where there is an area of interest, it shapes the map, too. Batch size, threads, blocks and device are left out:
        on the CPU they do not change a bit.
        """
        content = {
            "format": FORMAT_VERSION,
            "scene": self.scene.fingerprint,
            "validity": self.scene.validity,
            "bands": [_shaping(b) for b in self.bands],
            "masks": [{**asdict(m), "band": _shaping(m.band)} for m in self.scene.masks],
            "model": self.model.digest,
            "gain": self.gain,
            "bias": self.bias,
            "lattice": asdict(self.lattice),
            "blend": self.blend,
            "precision": self.precision,
            **({} if self.scene.source is None else {"resampled": [self.scene.source.height, self.scene.source.width]}),
            **({} if self.inside is None else {"inside": self.inside.digest}),
            **self._extras,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def _extras(self) -> dict[str, object]:
        """What shapes the map only where it was asked for: without it keys are what they always were."""
        return {
            **({} if self.decision == Decision() else {"decision": asdict(self.decision)}),
            **({} if self.tta == "none" else {"tta": self.tta}),
            **({"native_grid": True} if self.native else {}),
            **({} if self.part is None else {"part": asdict(self.part)}),
        }

    @property
    def parameters(self) -> dict[str, object]:
        """What a reader of the results wants to know of how they came about, as plain JSON values."""
        return {
            "bands": [b.name for b in self.bands],
            "window": self.lattice.rows.window,
            "stride": self.lattice.rows.stride,
            "blend": self.blend,
            "precision": self.precision,
            "scale": [b.scale for b in self.bands],
            "offset": [b.offset for b in self.bands],
            **({"product": self.scene.product} if self.scene.product else {}),
            **({"masked": self.scene.clouds} if self.scene.masks else {}),
            "key": self.key,
            **({} if self.scene.source is None else {"resampled_from_m": round(gsd_m(self.scene.source.geobox), 6)}),
            **self._extras,
            **({} if self.inside is None else {"aoi": self.inside.label, "aoi_digest": self.inside.digest}),
        }


def _shaping(band: Band) -> dict[str, object]:
    """What of a band shapes the class map: where its file lies and what it is called there do not."""
    return {**asdict(band), "href": None, "title": None, "nodata": repr(band.nodata)}


def recipe_for(
    scene: Scene, model: Model, choices: Choices | None = None, *, inside: Inside | None = None, look: bool = True
) -> Recipe:
    """The recipe for a scene and a model.

    Args:
        scene: What is read, on the grid that the model sees.
        model: As loaded.
        choices: How to run the model; the card's own by default.
        inside: Which pixels of the results are asked for; all by default, and where it is the whole scene.
        look: Whether to look at pixels, as in `geoseg.models.match.match`.

    Raises:
        ModelError: If the model does not fit the scene.
        ParameterError: If a choice does not fit the model.
    """
    choices = choices or Choices()
    card = model.card
    window = choices.window or card.window
    if card.fixed_window and window != card.window:
        raise ParameterError(f"model {card.name} takes windows of {card.window} px only, not {window}: omit --window")
    if window % card.output_stride:
        raise ParameterError(
            f"window {window} px is not a multiple of {card.output_stride}, the output stride of model {card.name}: "
            f"choose {math.ceil(window / card.output_stride) * card.output_stride}"
        )
    choices.decision.legend(model.legend)  # refuses costs of other classes
    fit = match(model, scene, force=choices.force, seed=choices.seed, look=look)
    lattice = Lattice.cover(
        scene.height,
        scene.width,
        window=window,
        overlap=card.overlap if choices.overlap is None else choices.overlap,
        output_stride=card.output_stride,
    )
    return Recipe(
        scene=scene,
        model=fit.model,
        bands=fit.bands,
        gain=fit.gain,
        bias=fit.bias,
        lattice=lattice,
        blend=choices.blend or card.blend,
        batch_size=choices.batch_size,
        device=choices.device,
        precision=choices.precision,
        threads=choices.threads,
        tta=choices.tta,
        decision=choices.decision,
        native=choices.native_grid and scene.source is not None,
        inside=None if inside is None or inside.is_whole else inside,
        notes=(*((scene.product,) if scene.product else ()), *scene.notes, *fit.notes, *_idle(choices, card)),
    )


def _idle(choices: Choices, card: ModelCard) -> Iterator[str]:
    """What was chosen and changes nothing."""
    chosen = {"window": choices.window, "overlap": choices.overlap, "blend": choices.blend}
    names = [f"--{name}" for name, value in chosen.items() if value is not None]
    names += ["--tta"] if choices.tta != "none" else []
    if names and find_format(card.kind).pixelwise:
        yield f"{', '.join(names)}: of no effect, because model {card.name} looks at each pixel alone"
