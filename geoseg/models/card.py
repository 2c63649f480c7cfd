"""ModelCard: what a model expects of its pixels and what its outputs mean."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from geoseg.errors import ModelError, ParameterError, printable
from geoseg.legend import Legend, LegendClass
from geoseg.models.formats import Format, find_format
from geoseg.models.plain_yaml import PlainYamlError, read_plain_yaml

__all__ = [
    "DATES",
    "PLACEHOLDER",
    "PROBABILITIES",
    "Architecture",
    "BandQuantiles",
    "CardBand",
    "CardClass",
    "ModelCard",
    "Place",
    "Scores",
    "card_from_content",
    "card_from_yaml",
    "card_schema",
]

_Finite = Annotated[float, Field(allow_inf_nan=False)]


def _printable_text(text: str) -> str:
    """Text as it may stand in a terminal, a table or a YAML file; lines may be broken."""
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("holds control characters: write plain text")
    return text


PLACEHOLDER = "FILL IN"
"""What a draft of a card has where only its owner knows the value."""


def _one_line(text: str) -> str:
    if text.startswith(PLACEHOLDER):
        raise ValueError("is still to be filled in")
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters: write one line of plain text")
    return text


_Text = Annotated[str, AfterValidator(_printable_text)]
_Name = Annotated[str, Field(max_length=100), AfterValidator(_one_line)]
_Scalar = bool | int | float | str
_Plain = _Scalar | tuple[_Scalar, ...] | None


class _CardPart(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt key must not become a silent default."""

    # protected_namespaces: the model's own names are not pydantic's
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class CardBand(_CardPart):
    """One input band. Normalised input = (physical value - ``mean``) / ``std``."""

    name: _Name = Field(description="Common name: blue, green, red, rededge071, nir, nir08, swir16, swir22, or free")
    required: bool = Field(default=True, description="Whether a scene must have the band")
    mean: _Finite = Field(default=0.0, description="Subtracted, in the card's units")
    std: _Finite = Field(default=1.0, gt=0, description="Divided by, in the card's units")


class CardClass(_CardPart):
    """One output, in the order of the network's channels."""

    value: int = Field(ge=0, le=254, description="Number in the class map; 255 is nodata")
    name: _Name = Field(description="What people call it")
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="'#rrggbb', in quotes: # starts a comment in YAML")


class Architecture(_CardPart):
    """A network of segmentation_models_pytorch or of an installed package, by name; for kind module, module:Class."""

    name: _Name = Field(description="Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus ...")
    encoder: _Name | None = Field(
        default=None, description="Encoder, such as resnet18 or tu-mobilenetv3_small_050; one's own network needs none"
    )
    options: dict[str, _Plain] = Field(default={}, description="Further arguments of the architecture, plain values")


def _ascending(quantiles: dict[float, float]) -> dict[float, float]:
    """Values by probability, both in ascending order."""
    if not quantiles or not all(0 < probability < 1 for probability in quantiles):
        raise ValueError("are values by probability, such as '0.01': 0.016, and a probability is between 0 and 1")
    ordered = dict(sorted(quantiles.items()))
    values = list(ordered.values())
    if values != sorted(values):
        raise ValueError(f"do not ascend: {', '.join(f'{p:g}: {v:g}' for p, v in ordered.items())}")
    return ordered


BandQuantiles = Annotated[dict[float, _Finite], AfterValidator(_ascending)]
"""Quantiles of one band over the training pixels: from a probability to the value in the card's units.

Trained models have those of :data:`PROBABILITIES`. In YAML a probability is in quotes: a key is a word.
"""


def _box(place: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    west, south, east, north = place
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ValueError("is no box of degrees: write [west, south, east, north], longitudes from -180 to 180")
    return place


Place = Annotated[tuple[_Finite, _Finite, _Finite, _Finite], AfterValidator(_box)]
"""West, south, east and north in degrees, WGS84."""

DATES = ("before:", "after:")
"""What the names of bands begin with in models of two dates."""

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Of the quantiles that training writes into a card."""


class Scores(_CardPart):
    """How well the model did on data that was held out, in counts of pixels and ratios of their sums."""

    data: _Text = Field(description="What was scored, and how it was held out")
    pixels: int = Field(ge=1, description="Labelled pixels that were scored")
    accuracy: float = Field(ge=0, le=1, description="Share of them that is right")
    miou: float = Field(ge=0, le=1, description="Mean of the IoUs of the classes that occur")
    iou: dict[_Name, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="Intersection over union by class name; a class that neither labels nor map have is left out"
    )


class ModelCard(_CardPart):
    """The validated description of a model.

    It is enforced, not decoration: bands are taken by name and in this order, units and ground sampling distance are
    compared with the scene's, and classes become the legend of every output.
    """

    name: _Name
    version: _Name
    description: _Text = ""
    license: _Text = ""
    kind: _Name = Field(
        description="How the network is built: smp, onnx, torchscript, pt2, transformers, module, spectral, kmeans, or "
        "one that an installed package adds"
    )
    architecture: Architecture | None = Field(default=None, description="For kind smp only")
    dates: Literal[1, 2] = Field(
        default=1,
        description="Of the input: with 2 bands are called before:red, after:red, and classes are changes, 0 none",
    )
    weights: str | None = Field(default=None, description="File beside the card, for kinds that have one")
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="Checked when given")
    bands: tuple[CardBand, ...] = Field(default=(), max_length=1024, description="In the model's order; none = any")
    units: Literal["reflectance", "dn", "any"] = Field(description="Physical unit the bands are expected in")
    gsd_m: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="Metres of ground per pixel")
    place: Place | None = Field(
        default=None, description="West, south, east, north in degrees of where it is of use; a run elsewhere says so"
    )
    gsd_tolerance: float = Field(default=0.25, ge=0, allow_inf_nan=False, description="Accepted share off gsd_m")
    window: int = Field(default=512, ge=1, le=16384, description="Pixels the network sees at once, along one side")
    fixed_window: bool = Field(default=False, description="Whether the network takes this window only")
    output_stride: int = Field(default=32, ge=1, le=1024, description="Pixels of the network's deepest grid")
    overlap: float = Field(default=0.25, ge=0, lt=1, description="Share of a window shared with the next")
    blend: Literal["gaussian", "hann", "linear", "flat", "centre"] = "gaussian"
    output: Literal["logits", "probabilities", "binary_logit", "binary_probability"] = Field(
        default="logits", description="What the network gives; binary: one channel, for the second of two classes"
    )
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Logits are divided by it")
    nodata_fill: _Finite = Field(default=0.0, description="Where there is no observation, normalised: 0 = band mean")
    classes: tuple[CardClass, ...] = Field(min_length=1, max_length=255, description="In the order of the outputs")
    quantiles: dict[str, BandQuantiles] = Field(
        default={}, description="By band name, values by probability ('0.01': 0.016), as seen in training"
    )
    scores: Scores | None = Field(default=None, description="On data that was held out of the training")
    training: _Text = Field(default="", description="Data and method, in words")
    source: _Text = Field(default="", description="Paper or page to cite")

    @field_validator("kind")
    @classmethod
    def _of_a_known_format(cls, kind: str) -> str:
        try:
            known = find_format(kind)
        except ModelError as error:
            raise ValueError(str(error)) from error
        if known.build is None:
            raise ValueError("only describes models of other kinds: name the kind of the weights")
        return kind

    @field_validator("weights")
    @classmethod
    def _beside_the_card(cls, weights: str | None) -> str | None:
        if weights is None:
            return None
        if not weights.isprintable() or weights != Path(weights).name or "\\" in weights or ".." in weights:
            raise ValueError("is not a plain file name: put the weights beside the card and write their name only")
        return weights

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        names = [band.name for band in self.bands]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"bands {', '.join(twice)} are listed twice")
        if unknown := sorted(set(self.quantiles) - set(names)):
            raise ValueError(f"quantiles are given for {', '.join(unknown)}, which no band is called")
        if self.scores and (unknown := sorted(set(self.scores.iou) - {c.name for c in self.classes})):
            raise ValueError(f"scores are given for {', '.join(unknown)}, which no class is called")
        if self.window % self.output_stride:
            raise ValueError(f"window {self.window} is not a multiple of output_stride {self.output_stride}")
        self._check_dates(names)
        self._check_kind()
        try:
            _ = self.legend
        except ParameterError as error:
            raise ValueError(str(error)) from error
        return self

    def _check_dates(self, names: list[str]) -> None:
        dated = [name for name in names if name.startswith(DATES)]
        if self.dates == 1:
            if dated:
                raise ValueError(f"band {dated[0]} is of one date of two: write dates: 2")
            return
        if not find_format(self.kind).suffixes:
            raise ValueError(f"dates is 2, but kind {self.kind} sees one date: remove it")
        if len(dated) < len(names) or not all(any(name.startswith(date) for name in names) for date in DATES):
            raise ValueError(
                "a model of two dates needs bands of both, called before:NAME and after:NAME in the network's order"
            )
        if 0 not in {c.value for c in self.classes}:
            raise ValueError("classes of a model of two dates are changes, and the one of value 0 is no change: add it")

    def _check_kind(self) -> None:
        kind = find_format(self.kind)
        if not kind.by_name and self.architecture is not None:
            raise ValueError(f"architecture is given, but kind {self.kind} has none: remove it")
        if not kind.suffixes:
            for key in ("weights", "weights_sha256"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is given, but kind {self.kind} has none: remove it")
            if self.output != "logits":
                raise ValueError(f"output is given, but kind {self.kind} gives logits: remove it")
            return
        self._check_network(kind)

    def _check_network(self, kind: Format) -> None:
        for key in ("architecture", "weights", "bands"):
            if not getattr(self, key) and (key != "architecture" or kind.by_name):
                raise ValueError(f"kind {self.kind} needs {key}")
        if self.weights is not None and Path(self.weights).suffix.lower() not in kind.suffixes:
            mend = ": convert the weights to safetensors" if ".safetensors" in kind.suffixes else ""
            raise ValueError(f"weights {self.weights} end in none of {', '.join(kind.suffixes)}{mend}")
        if len(self.classes) < 2:
            raise ValueError(
                f"a network with one output cannot be read as classes: kind {self.kind} needs two or more; with one "
                "channel for one class name the other first, and write output: binary_logit"
            )
        if self.output.startswith("binary") and len(self.classes) != 2:
            raise ValueError(
                f"output {self.output} is one channel for the second of two classes, not {len(self.classes)}"
            )

    @property
    def n_outputs(self) -> int:
        """Channels that the network itself gives."""
        return 1 if self.output.startswith("binary") else len(self.classes)

    @property
    def legend(self) -> Legend:
        """Classes with names and colours, in the order of the outputs."""
        return Legend(classes=tuple(LegendClass(value=c.value, name=c.name, color=c.color) for c in self.classes))

    def to_yaml(self) -> str:
        """The card as YAML that :func:`card_from_yaml` reads back to an equal card."""
        plain = self.model_dump(mode="json", exclude_unset=True)
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)

    def to_json(self) -> str:
        """The card as JSON, which :func:`card_from_content` takes, parsed, for an equal card."""
        return json.dumps(self.model_dump(mode="json", exclude_unset=True))


def card_from_yaml(path: Path) -> ModelCard:
    """The card in a YAML file.

    Only plain YAML is read: no tags, anchors or aliases, at most 1 MiB, each key once, and no word that YAML
    takes for something else (``no``, ``010``).

    Args:
        path: A ``.yaml`` file.

    Returns:
        The validated card.

    Raises:
        ModelError: If the file cannot be read, or breaks a rule; all broken rules are named, with file and key.
    """
    shown = printable(path)
    try:
        content = read_plain_yaml(path)
    except PlainYamlError as error:
        raise ModelError(f"cannot read the card {shown}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{shown} is not a model card: it should hold keys such as name, kind, bands and classes")
    return card_from_content(content, source=path)


def card_from_content(content: dict[str, Any], *, source: object) -> ModelCard:
    """The card in plain values.

    Args:
        content: Keys as in a card's YAML file.
        source: Where they come from, for messages.

    Raises:
        ModelError: If a rule is broken; all broken rules are named, with source and key.
    """
    shown = printable(source)
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        problems = [_problem(dict(each)) for each in error.errors(include_url=False)]
        listed = "; ".join(problems) if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        raise ModelError(f"cannot use the card {shown}: {listed}") from error


def card_schema() -> dict[str, Any]:
    """JSON schema of a card, for editors that check YAML while it is written."""
    return ModelCard.model_json_schema()


_PARTS: dict[str, type[BaseModel]] = {
    "bands": CardBand,
    "classes": CardClass,
    "architecture": Architecture,
    "scores": Scores,
}


def _problem(error: dict[str, Any]) -> str:
    """One broken rule as ``bands[0].std: what is wrong``."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    where = printable(where) or "card"
    if error["type"] == "extra_forbidden":
        part = ModelCard if len(error["loc"]) == 1 else _PARTS[str(error["loc"][0])]
        return f"{where}: unknown key; known keys: {', '.join(part.model_fields)}"
    if error["type"] == "missing":
        return f"{where}: missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], str | int | float | None):
        return f"{where}: {message} (got {printable(repr(error['input']))})"
    return f"{where}: {message}"
