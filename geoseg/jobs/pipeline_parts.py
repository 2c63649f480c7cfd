"""The parts of a pipeline file but its steps: what each key means, and which values it takes."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from geoseg.errors import ParameterError
from geoseg.jobs.cron import Cron, parse_cron, time_zone
from geoseg.jobs.duration import DURATION, parse_duration

__all__ = ["Compute", "Duration", "Line", "Notify", "Part", "Retention", "Retries", "Schedule", "Written", "parsed",
           "plain_line"]  # fmt: skip


def plain_line(text: str) -> str:
    """The text, if it is one line of plain text."""
    if not text.strip() or not text.isprintable():
        raise ValueError("is blank or holds control characters: write one line of plain text")
    return text


def parsed(parse: object, text: str) -> str:
    """The text, if a function of geoseg can parse it."""
    assert callable(parse)
    try:
        parse(text)
    except ParameterError as error:
        raise ValueError(str(error)) from error
    return text


def _duration(text: str) -> str:
    return parsed(parse_duration, text)


def _cron(text: str) -> str:
    return parsed(parse_cron, text)


def _zone(text: str) -> str:
    return parsed(time_zone, text)


def _webhook(url: str) -> str:
    if not urlsplit(url).hostname:
        raise ValueError("names no host: write a whole address, such as https://example.org/hook")
    return url


@dataclass(frozen=True, slots=True)
class Written:
    """The form of a text: a pattern in the schema, examples in messages."""

    pattern: str
    """The whole text is like this."""
    like: str
    """Examples."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"pattern": self.pattern}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"write it like this: {self.like}")
        return text


Line = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(plain_line)]
"""One line of plain text."""
Duration = Annotated[str, Written(DURATION, "90min, 6h, 30d"), AfterValidator(_duration)]
"""A number and its unit: 90min, 6h, 30d."""
_ADDRESS = Written(r"^https?://[!-~]+$", "https://example.org/hook")
_CRON = Written(r"^ *(@[A-Za-z]+|[^ @]+( +[^ ]+){4}) *$", "0 6 * * 1 (minute hour day month weekday), @daily")
_ZONE = Written(r"^[A-Za-z0-9_+/-]+$", "Europe/Berlin, UTC")


class Part(BaseModel):
    """Frozen and strict, and an unknown key is an error: a misspelt key must not become a silent default."""

    # no key is ever read as what it is not: "4" is no number, and yes is no truth
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    webhook: Annotated[str, _ADDRESS, AfterValidator(_webhook)] | None = Field(
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

    cron: Annotated[str, _CRON, AfterValidator(_cron)] = Field(
        description="minute hour day month weekday, such as '0 6 * * 1' for Mondays at 6:00"
    )
    time_zone: Annotated[str, _ZONE, AfterValidator(_zone)] = Field(
        default="UTC", description="Name of a time zone, such as Europe/Berlin"
    )

    @property
    def times(self) -> Cron:
        """When."""
        return parse_cron(self.cron)
