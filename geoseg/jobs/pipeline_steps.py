"""The steps of a pipeline file: what is made of each scene, and of each two dates of a place."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from geoseg.jobs.pipeline_parts import Line, Part, Written, parsed, plain_line

__all__ = ["AreasStep", "ChangeStep", "SegmentStep", "Steps", "VectorizeStep"]

_NUMBER = r"^ *[+]?[0-9.]+([eE][+-]?[0-9]{1,3})? *"
_AREA = Written(_NUMBER + "([pP][xX]|[mM][2²]|[hH][aA]|[kK][mM][2²]) *$", "0.5ha, 400m2, 1km2, 9px")
_DISTANCE = Written(_NUMBER + "([pP][xX]|[kK]?[mM]) *$", "10m, 1.5px")
_DEVICE = Written(r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$", "auto, cpu, cuda, cuda:1, mps")
_NOT_ZERO: dict[str, JsonValue] = {"not": {"const": 0}}


def _min_area(text: str) -> str:
    # geoseg.vector brings compiled code, which a file need not be read with; parse_min_area has the last word
    from geoseg.vector.min_area import parse_min_area

    return parsed(parse_min_area, text)


def _distance(text: str) -> str:
    from geoseg.vector.simplify import parse_distance

    return parsed(parse_distance, text)


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("gives no physical values: give a number that is not 0")
    return value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice: name each once")
    return values


def _prior(value: object) -> float | str:
    """A share, or the path of a table: told apart by hand, for a union would be told of in two messages."""
    if isinstance(value, str):
        return plain_line(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError("should be the share of the land that changes, above 0 and below 1, or a table (.csv)")
    return float(value)


_Finite = Annotated[float, Field(allow_inf_nan=False)]


class SegmentStep(Part):
    """How the model is run; the names are those of the options of geoseg run, None is the model's own choice."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {"anyOf": [{"required": ["aoi", "bbox"]}, {"required": ["cost_matrix", "min_confidence"]}]},
            "dependentRequired": {"bbox_crs": ["bbox"]},
        }
    )

    window: int | None = Field(default=None, ge=1, description="Pixels along a side of a window")
    overlap: float | None = Field(default=None, ge=0, lt=1, description="Share of a window that neighbours share")
    blend: Literal["gaussian", "hann", "linear", "flat", "centre"] | None = Field(
        default=None, description="Weight shape where windows overlap"
    )
    batch_size: int | None = Field(default=None, ge=1, description="Windows per forward pass")
    device: Annotated[str, _DEVICE] = Field(default="auto", description="Where it runs")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", description="Of the network")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of the network in each process")
    block_size: int | None = Field(default=None, ge=512, multiple_of=512, description="Side of a block in pixels")
    seed: int = Field(default=0, description="Of the pixels that kmeans looks at")
    force: bool = Field(default=False, description="Go on where unit or pixel size do not fit the model")
    native_grid: bool = Field(default=False, description="Results on the scene's own grid where it is resampled")
    tta: Literal["none", "flips", "d4"] = Field(default="none", description="Test-time augmentation: 4 or 8 passes")
    cost_matrix: Line | None = Field(default=None, description="CSV file of what mistakes cost: decide at least risk")
    min_confidence: float | None = Field(
        default=None, gt=0, le=1, description="Pixels whose most likely class is less probable are left undecided"
    )
    probabilities: bool = Field(default=False, description="Also leave the probability of each class")
    bands: Annotated[tuple[Line, ...], Field(min_length=1)] | None = Field(
        default=None, description="Names of the files' bands in file order"
    )
    scale: Annotated[_Finite, AfterValidator(_not_zero)] | None = Field(
        default=None, description="Physical value per stored unit, for all bands", json_schema_extra=_NOT_ZERO
    )
    offset: _Finite | None = Field(default=None, description="Physical value of a stored 0, for all bands")
    mask_clouds: bool = Field(default=False, description="Leave out cloud and shadow by the product's own mask")
    aoi: Line | None = Field(default=None, description="File of polygons, FILE or FILE:LAYER: what of scenes is wanted")
    bbox: Annotated[tuple[_Finite, ...], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="West, south, east and north instead, in degrees or in bbox_crs"
    )
    bbox_crs: Line | None = Field(default=None, description="What the box is in, x before y, such as EPSG:32633")

    @model_validator(mode="after")
    def _one_area(self) -> Self:
        if self.aoi is not None and self.bbox is not None:
            raise ValueError("aoi and bbox exclude one another: give one of them")
        if self.bbox_crs is not None and self.bbox is None:
            raise ValueError("bbox_crs is of no use without bbox: leave it out, or give the box")
        return self

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.cost_matrix is not None and self.min_confidence is not None:
            raise ValueError("cost_matrix and min_confidence exclude one another: give the matrix a row 'reject'")
        return self


class _Polygons(Part):
    """How polygons are drawn, of classes and of change alike."""

    formats: Annotated[
        tuple[Literal["gpkg", "shp", "fgb", "parquet", "geojson"], ...],
        AfterValidator(_once),
        Field(json_schema_extra={"uniqueItems": True}),
    ] = Field(default=("gpkg",), description="Of the polygons, the main one first; [] for none")
    min_area: Annotated[str, _AREA, AfterValidator(_min_area)] | None = Field(
        default=None,
        description="Smaller regions are merged into neighbours, in raster, polygons and tables alike: 0.5ha, 9px",
    )
    smooth: bool = Field(default=False, description="Round the stairs of pixels")
    simplify: Annotated[str, _DISTANCE, AfterValidator(_distance)] | None = Field(
        default=None, description="Simplify shared borders together, with a tolerance such as 10m or 1.5px"
    )
    connectivity: Literal[4, 8] = Field(default=4, description="With 8, pixels that touch at corners are one feature")


class VectorizeStep(_Polygons):
    """The polygons of the class map; without this step there are none."""


class _Zoned(Part):
    """Zones, and the column that names them."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"zones": ["zone_id"], "zone_id": ["zones"]}})

    zones: Line | None = Field(default=None, description="File of polygons, FILE or FILE:LAYER")
    zone_id: Line | None = Field(default=None, description="Its column of names or numbers")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.zones is None) != (self.zone_id is None):
            raise ValueError("zones and zone_id go together: give the file of the zones and their column")
        return self


class AreasStep(_Zoned):
    """Areas of classes in zones; areas of whole scenes are always made."""


_NEEDS_PROBABILITIES: dict[str, JsonValue] = {
    "properties": {"probabilities": {"const": True}},
    "required": ["probabilities"],
}


class ChangeStep(_Polygons, _Zoned):
    """Change of each scene against the previous date of the same place; the names are the options of geoseg change."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"zones": ["zone_id"], "zone_id": ["zones"]},
            "dependentSchemas": {"prior": _NEEDS_PROBABILITIES, "costs": _NEEDS_PROBABILITIES},
        }
    )

    tolerance: int = Field(default=0, ge=0, le=64, description="Pixels of misregistration that are no change")
    align: bool = Field(default=False, description="Move the later map by the shift that its class borders show")
    crosswalk: Line | None = Field(default=None, description="Table (.csv) of classes that count as others")
    plausible: Line | None = Field(default=None, description="Table (.csv) of transitions that can be or not")
    probabilities: bool = Field(
        default=False, description="Let the class probabilities decide; segment has to keep them"
    )
    prior: Annotated[
        float | str,
        PlainValidator(_prior),
        WithJsonSchema(
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                       {"type": "string", "minLength": 1}]}
        ),
    ] | None = Field(default=None, description="Share of the land that changes, or table (.csv) of shares")  # fmt: skip
    costs: Line | None = Field(default=None, description="Table (.csv) of what mistakes cost")
    picture: bool = Field(default=False, description="Also draw before, after, change and flows; needs matplotlib")
    strata_buffer: int | None = Field(
        default=None, ge=1, le=64, description="Also strata for a reference sample, in px"
    )

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        for name in ("prior", "costs"):
            if getattr(self, name) is not None and not self.probabilities:
                raise ValueError(f"{name} is of no use without probabilities: add 'probabilities: true'")
        return self


class Steps(Part):
    """What is made of each scene. A step without keys has its defaults."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"change": {"type": "object", **_NEEDS_PROBABILITIES}}, "required": ["change"]},
            "then": {"properties": {"segment": {"type": "object", **_NEEDS_PROBABILITIES}}, "required": ["segment"]},
        }
    )

    segment: SegmentStep | None = Field(default=SegmentStep(), description="Class map and confidence; always made")
    vectorize: VectorizeStep | None = Field(default=None, description="Polygons")
    areas: AreasStep | None = Field(default=None, description="Areas in zones")
    change: ChangeStep | None = Field(default=None, description="Change against the previous date of the same place")

    @field_validator("change")
    @classmethod
    def _kept(cls, change: ChangeStep | None, info: ValidationInfo) -> ChangeStep | None:
        # of a segment step that is broken itself nothing more is said
        segment = info.data.get("segment", SegmentStep(probabilities=True)) or SegmentStep()
        if change is not None and change.probabilities and not segment.probabilities:
            raise ValueError("probabilities needs those of the scenes: add 'probabilities: true' to segment, too")
        return change
