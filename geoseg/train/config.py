"""What a training is asked to do: the settings of a file or of the command line, validated."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from geoseg.errors import InputError, ParameterError, printable
from geoseg.models.card import Architecture, Place
from geoseg.models.load import list_models
from geoseg.models.plain_yaml import PlainYamlError, read_plain_yaml_with_lines
from geoseg.models.spec_file import validated

__all__ = ["Augment", "ClassSpec", "Split", "TrainSpec", "Training", "canonical", "load_training", "training_schema"]


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters: write one line of plain text")
    return text


_Line = Annotated[str, Field(max_length=4096), AfterValidator(_one_line)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt key must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ClassSpec(_Part):
    """A class of the model."""

    value: int = Field(ge=0, le=254, description="Number in label rasters and in the maps of the model")
    name: _Line = Field(description="What people call it; in a column of names, what is written there")
    color: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$", description="'#rrggbb' [geoseg's]")


class Split(_Part):
    """What is held out: scenes or blocks, never single pixels.

    A pixel's neighbours look as it does and have its label: held out pixel by pixel, the score would say how well the
    model remembers, not how well it does elsewhere.
    """

    by: Literal["scene", "block"] = Field(
        default="scene", description="Whole scenes, or squares of each scene; scenes are the harder, fairer test"
    )
    val: _Share | tuple[_Line, ...] = Field(
        default=0.2, description="Share of scenes or blocks that is held out, or, by scene, names of those scenes"
    )
    block_px: int = Field(default=256, ge=32, multiple_of=32, description="Side of a block")
    seed: int = Field(default=0, ge=0, description="Of the choice")
    draw: Literal["even", "random"] = Field(
        default="even",
        description="How a share is chosen: so that each class is on both sides, in that share, or anyhow",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.by == "block" and not isinstance(self.val, float | int):
            raise ValueError("val names scenes, but the split is by block: give a share, or split by scene")
        if not isinstance(self.val, float | int) and "draw" in self.model_fields_set:
            raise ValueError("draw says how a share is chosen, but val names scenes: leave out one of the two")
        if self.val in (0, 1, ()):
            raise ValueError(f"val {self.val!r} leaves nothing to {'hold out' if self.val != 1 else 'train on'}")
        return self


class Augment(_Part):
    """How training windows are varied; shares are of windows. All off: ``augment: {flip: 0, turn: false}``."""

    flip: _Share = Field(default=0.5, description="Mirrored, left to right")
    turn: bool = Field(default=True, description="By a random number of quarter turns")
    scale: tuple[_Positive, _Positive] | None = Field(
        default=None, description="Smallest and largest factor of size, such as [0.8, 1.25]"
    )
    elastic: _Share = Field(default=0.0, description="Bent smoothly by a few pixels")
    brightness: float = Field(default=0.0, ge=0, le=2, description="Standard deviation added to a band, in its own")
    contrast: float = Field(default=0.0, ge=0, le=1, description="Standard deviation of a band's log factor")
    noise: float = Field(default=0.0, ge=0, le=2, description="Standard deviation of each pixel, in the band's own")
    blur: _Share = Field(default=0.0, description="Blurred by a Gaussian of 0.5 to 1.5 px")
    band_dropout: _Share = Field(default=0.0, description="With one band replaced by its mean")
    cutmix: _Share = Field(default=0.0, description="With a rectangle of another window of the batch")
    copy_paste: _Share = Field(default=0.0, description="With all pixels of one class of another window of the batch")

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.scale is not None and not 0.25 <= self.scale[0] <= self.scale[1] <= 4:
            raise ValueError(f"scale {list(self.scale)} is no range from 0.25 to 4: write the smaller factor first")
        return self


class TrainSpec(_Part):
    """A training: images and labels in, a model out."""

    version: Literal[1] = Field(default=1, description="Of this format")
    images: tuple[_Line, ...] = Field(min_length=1, description="Files, folders (all levels) and globs")
    labels: _Line = Field(description="Folder or glob of label rasters, or a vector file (FILE or FILE:LAYER)")
    class_column: _Line | None = Field(
        default=None,
        description="Of a vector file: its column of class names or values [all shapes are of one class]",
    )
    background: ClassSpec | None = Field(
        default=None, description="Of a vector file: the class of what no shape covers, such as other [no label]"
    )
    classes: tuple[ClassSpec, ...] = Field(
        default=(), max_length=254, description="In the order of the outputs; any other value is an error [the labels']"
    )
    legend: _Line | None = Field(default=None, description="A well-known legend of the label rasters, such as nlcd")
    ignore: tuple[int, ...] = Field(default=(), description="Values of label rasters that are no label")
    bands: tuple[_Line, ...] | None = Field(default=None, description="Names of the files' bands, in file order")
    use_bands: tuple[_Line, ...] | None = Field(default=None, description="Bands the model takes, by name [all]")
    scale: float | None = Field(default=None, allow_inf_nan=False, description="Physical value per stored unit")
    offset: float | None = Field(default=None, allow_inf_nan=False, description="Physical value of a stored 0")
    split: Split = Field(default=Split(), description="What is held out")

    name: Annotated[str, Field(max_length=100), AfterValidator(_one_line)] = Field(
        default="trained", description="Of the model"
    )
    description: str = Field(default="", max_length=2000, description="For the card")
    license: str = Field(default="", max_length=200, description="For the card")
    place: Place | None = Field(
        default=None, description="For the card: west, south, east and north of where it is of use"
    )
    architecture: Architecture = Field(
        default=Architecture(name="Unet", encoder="resnet18"), description="Of the network, by name"
    )
    pseudo_labels: _Line | None = Field(
        default=None, description="A first model: what it is sure of is a label where there is none [no such labels]"
    )
    pseudo_confidence: float = Field(
        default=0.9, gt=0, le=1, description="How probable a class is to the first model to be such a label"
    )
    init: _Line = Field(
        default="none",
        description="Where weights start: none, imagenet (fetched), or a file of weights of the encoder or the network",
    )
    loss: tuple[dict[str, Any], ...] = Field(
        default=({"name": "ce"}, {"name": "dice"}), min_length=1, description="Losses with weight and options, added"
    )
    class_weights: Literal["none", "inverse", "effective"] = Field(default="none", description="For ce, bce and focal")
    window: int = Field(default=256, ge=32, le=4096, description="Pixels along a side of a training window")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Windows in a step")
    accumulate: int = Field(default=1, ge=1, le=1024, description="Batches whose gradients are added before a step")
    epochs: int = Field(default=30, ge=1, le=100_000, description="Times that is validated and saved")
    batches: int = Field(default=100, ge=1, le=1_000_000, description="Batches in an epoch")
    patience: int | None = Field(default=None, ge=1, description="Epochs without a better score until it stops")
    balance: _Share = Field(default=0.5, description="Share of windows drawn by class, so that rare ones are met")
    augment: Augment = Field(default=Augment(), description="How windows are varied")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Highest, of AdamW")
    weight_decay: float = Field(default=1e-3, ge=0, le=1, description="Of AdamW")
    warmup: _Share = Field(default=0.1, description="Share of the steps on which the rate rises; then it falls to 0")
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Largest norm of the gradient")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Of the arithmetic; weights stay float32"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Whether blocks of the encoder compute twice what they would else keep in memory"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Of weights, windows and their variation")
    cache_mib: int = Field(default=2048, ge=0, description="Images and labels up to so much are kept in memory")
    pictures: int = Field(default=4, ge=0, le=32, description="Windows of the picture that each epoch leaves")

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for what, items in (("value", [str(c.value) for c in self.classes]), ("name", [c.name for c in self.classes])):
            if twice := sorted({i for i in items if items.count(i) > 1}):
                raise ValueError(f"classes have the {what} {', '.join(twice)} twice: make each one unique")
        if both := sorted({c.value for c in self.classes} & set(self.ignore)):
            raise ValueError(f"{both[0]} is a class and to be ignored: leave it out of one of the two")
        if self.classes and self.legend is not None:
            raise ValueError("classes and legend both say what the values mean: leave one out")
        if len(self.classes) + (self.background is not None) == 1 and self.classes:
            raise ValueError("one class is nothing to tell apart: name two or more")
        if self.background is not None and self.class_column is None and len(self.classes) != 1:
            raise ValueError(
                "background is the class of what no shape covers: it goes with class_column, or, where all shapes are "
                "of one class, with that one in classes"
            )
        if self.pseudo_labels is None and "pseudo_confidence" in self.model_fields_set:
            raise ValueError(
                "pseudo_confidence is of no use without pseudo_labels: name a first model, or leave it out"
            )
        self._check_loss()
        return self

    def _check_loss(self) -> None:
        from geoseg.train.losses import build_loss

        try:
            build_loss(
                self.loss,
                class_weight=None if self.class_weights == "none" else [1.0, 1.0],
                n_classes=len(self.classes) + (self.background is not None) if self.classes else None,
            )
        except ParameterError as error:
            raise ValueError(f"loss: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that was asked for; its paths are absolute."""

    spec: TrainSpec
    """What is asked."""
    origin: str
    """Where it was asked, for messages."""


def load_training(path: Path | None, options: Mapping[str, Any], *, folder: Path) -> Training:
    """The training that a file and options ask for; an option wins over the file's key.

    Relative paths of a file start at its folder, those of options at ``folder``. Only plain YAML is read.

    Args:
        path: A YAML file of the keys of `TrainSpec`; None if the options say all.
        options: Keys and values of the command line, those that were given.
        folder: Where the command was given.

    Raises:
        InputError: If the file cannot be read, or breaks a rule; all broken rules are named, with line and key.
    """
    content: dict[str, Any] = {}
    lines: dict[tuple[str | int, ...], int] = {}
    if path is not None:
        try:
            read, lines = read_plain_yaml_with_lines(path)
        except PlainYamlError as error:
            raise InputError(f"cannot read the settings {printable(path)}: {error}") from error
        if not isinstance(read, dict):
            raise InputError(f"{printable(path)} holds no settings: it should hold keys such as images and labels")
        content = _with_paths(read, path.resolve().parent)
    given = _with_paths({k: v for k, v in options.items() if k != "output"}, folder)
    merged = _merged(content, given)
    shown = path if path is not None else Path("the options")
    if isinstance(merged.get("architecture"), dict):
        merged["architecture"] = _with_defaults(merged["architecture"])
    if isinstance(merged.get("images"), str):
        merged["images"] = [merged["images"]]
    return Training(
        spec=validated(TrainSpec, merged, path=shown, lines=lines, what="training", options=_keys(given)),
        origin=printable(shown),
    )


def _with_defaults(architecture: dict[str, Any]) -> dict[str, Any]:
    """An architecture of which only the name or only the encoder is given; a network of one's own needs no encoder."""
    from geoseg.models.network import ARCHITECTURES

    named = {"name": "Unet"} | architecture
    return {"encoder": "resnet18"} | named if named["name"] in ARCHITECTURES else named


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where ``above`` wins; parts such as ``split`` are merged key by key."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return both


def _keys(options: Mapping[str, Any]) -> set[tuple[str | int, ...]]:
    """Keys of the values that options give, those of parts such as ``split`` one by one."""
    return {(key, part) for key, value in options.items() if isinstance(value, Mapping) for part in value} | {
        (key,) for key, value in options.items() if not isinstance(value, Mapping)
    }


def _with_paths(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content with absolute paths; what is not a path is left for the validation to refuse."""
    found = dict(content)
    for key in ("images", "labels", "init"):
        value = found.get(key)
        if isinstance(value, str) and not (key == "init" and value in ("none", "imagenet")):
            found[key] = str(folder / value)
        elif isinstance(value, list | tuple):
            found[key] = [str(folder / v) if isinstance(v, str) else v for v in value]
    first = found.get("pseudo_labels")
    # a bare word is a shipped model first, as everywhere
    if isinstance(first, str) and (folder / first).exists() and first not in {m.name for m in list_models()}:
        found["pseudo_labels"] = str(folder / first)
    return found


def training_schema() -> dict[str, Any]:
    """JSON schema of a training file, for editors that check YAML while it is written."""
    schema = TrainSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def canonical(spec: TrainSpec) -> str:
    """The settings that shape the model as one line of JSON, the same for the same ones.

    Where data and first model lie shapes nothing, nor does what only saves memory.
    """
    without = {"pseudo_labels"} if spec.pseudo_labels is not None else {"pseudo_labels", "pseudo_confidence"}
    content = spec.model_dump(mode="json", exclude={"images", "labels", "gradient_checkpointing", *without})
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
