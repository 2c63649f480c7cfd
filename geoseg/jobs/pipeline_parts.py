"""The parts of a pipeline file: what each key means, and which values it takes."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from geoseg.errors import ParameterError
from geoseg.jobs.cron import Cron, parse_cron, time_zone
from geoseg.jobs.duration import DURATION, parse_duration

__all__ = ["AreasStep", "Compute", "Notify", "Part", "Retention", "Retries", "Schedule", "SegmentStep", "Steps",
           "VectorizeStep"]  # fmt: skip

_AREA = r"^ *[+]?[0-9.]+([eE][+-]?[0-9]{1,3})? *([pP][xX]|[mM][2²]|[hH][aA]|[kK][mM][2²]) *$"
_DISTANCE = r"^ *[+]?[0-9.]+([eE][+-]?[0-9]{1,3})? *([pP][xX]|[kK]?[mM]) *$"
_NOT_ZERO: dict[str, JsonValue] = {"not": {"const": 0}}


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters: write one line of plain text")
    return text


def _min_area(text: str) -> str:
    # geoseg.vector brings compiled code, which a file need not be read with; parse_min_area has the last word
    from geoseg.vector.min_area import parse_min_area

    return _parsed(parse_min_area, text)


def _distance(text: str) -> str:
    from geoseg.vector.simplify import parse_distance

    return _parsed(parse_distance, text)


def _parsed(parse: object, text: str) -> str:
    assert callable(parse)
    try:
        parse(text)
    except ParameterError as error:
        raise ValueError(str(error)) from error
    return text


def _duration(text: str) -> str:
    return _parsed(parse_duration, text)


def _cron(text: str) -> str:
    return _parsed(parse_cron, text)


def _zone(text: str) -> str:
    return _parsed(time_zone, text)


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("gives no physical values: give a number that is not 0")
    return value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice: name each once")
    return values


def _webhook(url: str) -> str:
    if not urlsplit(url).hostname:
        raise ValueError("names no host: write a whole address, such as https://example.org/hook")
    return url


Line = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_one_line)]
"""One line of plain text."""
Duration = Annotated[str, Field(pattern=DURATION), AfterValidator(_duration)]
"""A number and its unit: 90min, 6h, 30d."""
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """Frozen and strict, and an unknown key is an error: a misspelt key must not become a silent default."""

    # no key is ever read as what it is not: "4" is no number, and yes is no truth
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SegmentStep(Part):
    """How the model is run; the names are those of the options of geoseg run, None is the model's own choice."""

    window: int | None = Field(default=None, ge=1, description="Pixels along a side of a window")
    overlap: float | None = Field(default=None, ge=0, lt=1, description="Share of a window that neighbours share")
    blend: Literal["gaussian", "hann", "linear", "flat", "centre"] | None = Field(
        default=None, description="Weight shape where windows overlap"
    )
    batch_size: int | None = Field(default=None, ge=1, description="Windows per forward pass")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$", description="Where it runs")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", description="Of the network")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of the network in each process")
    block_size: int | None = Field(default=None, ge=512, multiple_of=512, description="Side of a block in pixels")
    seed: int = Field(default=0, description="Of the pixels that kmeans looks at")
    force: bool = Field(default=False, description="Go on where unit or pixel size do not fit the model")
    probabilities: bool = Field(default=False, description="Also leave the probability of each class")
    bands: Annotated[tuple[Line, ...], Field(min_length=1)] | None = Field(
        default=None, description="Names of the files' bands in file order"
    )
    scale: Annotated[_Finite, AfterValidator(_not_zero)] | None = Field(
        default=None, description="Physical value per stored unit, for all bands", json_schema_extra=_NOT_ZERO
    )
    offset: _Finite | None = Field(default=None, description="Physical value of a stored 0, for all bands")
    mask_clouds: bool = Field(default=False, description="Leave out cloud and shadow by the product's own mask")


class VectorizeStep(Part):
    """The polygons of the class map; without this step there are none."""

    formats: Annotated[
        tuple[Literal["gpkg", "shp", "fgb", "parquet", "geojson"], ...],
        AfterValidator(_once),
        Field(json_schema_extra={"uniqueItems": True}),
    ] = Field(default=("gpkg",), description="Of the polygons, the main one first; [] for none")
    min_area: Annotated[str, Field(pattern=_AREA), AfterValidator(_min_area)] | None = Field(
        default=None,
        description="Smaller regions are merged into neighbours, in class map, polygons and areas alike: 0.5ha, 9px",
    )
    smooth: bool = Field(default=False, description="Round the stairs of pixels")
    simplify: Annotated[str, Field(pattern=_DISTANCE), AfterValidator(_distance)] | None = Field(
        default=None, description="Simplify shared borders together, with a tolerance such as 10m or 1.5px"
    )
    connectivity: Literal[4, 8] = Field(default=4, description="With 8, pixels that touch at corners are one feature")


class AreasStep(Part):
    """Areas of classes in zones; areas of whole scenes are always made."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"zones": ["zone_id"], "zone_id": ["zones"]}})

    zones: Line | None = Field(default=None, description="File of polygons, FILE or FILE:LAYER")
    zone_id: Line | None = Field(default=None, description="Its column of names or numbers")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.zones is None) != (self.zone_id is None):
            raise ValueError("zones and zone_id go together: give the file of the zones and their column")
        return self


class Steps(Part):
    """What is made of each scene. A step without keys has its defaults."""

    segment: SegmentStep | None = Field(default=SegmentStep(), description="Class map and confidence; always made")
    vectorize: VectorizeStep | None = Field(default=None, description="Polygons")
    areas: AreasStep | None = Field(default=None, description="Areas in zones")


class Compute(Part):
    """Where it is computed: in one process, in several on this machine, or on a Dask cluster."""

    model_config = ConfigDict(json_schema_extra={"maxProperties": 1})

    workers: int = Field(default=0, ge=0, description="Processes on this machine; 0 computes in one and opens no port")
    scheduler: Line | None = Field(default=None, description="A running Dask scheduler, such as tcp://host:8786")
    scheduler_file: Line | None = Field(default=None, description="Its connection file instead")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) > 1:
            raise ValueError("workers, scheduler and scheduler_file exclude one another: give one of them")
        return self


class Retries(Part):
    """How often a scene that fails is tried, and how long it waits: twice as long after each failure."""

    limit: int = Field(default=5, ge=1, le=1000, description="Tries in all; then it is listed only")
    backoff: Duration = Field(default="12h", description="Wait after the first failure")
    longest: Duration = Field(default="14d", description="Longest wait")


class Retention(Part):
    """Which dates of a place are kept; scenes without a date always are."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    keep_dates: int | None = Field(default=None, ge=1, description="The newest so many dates of each place")
    keep_days: int | None = Field(default=None, ge=1, description="So many days before the newest date of each place")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.keep_dates is None) == (self.keep_days is None):
            raise ValueError("give one of keep_dates and keep_days, or leave retention out to keep everything")
        return self


class Notify(Part):
    """Who is told at the end: a program gets the summary as JSON on its standard input, an address by POST."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["command"]}, {"required": ["webhook"]}]})

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="A program and its arguments, run without a shell in the folder of this file"
    )
    webhook: Annotated[str, Field(pattern=r"^https?://[!-~]+$"), AfterValidator(_webhook)] | None = Field(
        default=None, description="An http or https address"
    )
    when: Literal["always", "problems"] = Field(
        default="always", description="problems: only when something failed or was left undone"
    )
    timeout: Duration = Field(default="30s", description="Longest time either may take")

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if self.command is None and self.webhook is None:
            raise ValueError("give a command or a webhook, or leave notify out")
        return self


class Schedule(Part):
    """When it runs: read by geoseg batch schedule and geoseg batch serve."""

    cron: Annotated[str, Field(pattern=r"^ *(@[A-Za-z]+|[^ @]+( +[^ ]+){4}) *$"), AfterValidator(_cron)] = Field(
        description="minute hour day month weekday, such as '0 6 * * 1' for Mondays at 6:00"
    )
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]+$"), AfterValidator(_zone)] = Field(
        default="UTC", description="Name of a time zone, such as Europe/Berlin"
    )

    @property
    def times(self) -> Cron:
        """When."""
        return parse_cron(self.cron)


def check_input(text: str) -> str:
    """What can be told of an input by its name."""
    if re.search(r"\.(geo)?json$", text, re.IGNORECASE):
        raise ValueError("STAC items and GeoJSON are not read as inputs yet: name raster files, folders or globs")
    return text
