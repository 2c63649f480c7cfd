"""A pipeline's steps as what `geoseg run` is asked for, and the digest that tells one asking from another."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geoseg.errors import GeosegError
from geoseg.inference.decision import Costs, Decision, read_costs
from geoseg.inference.recipe import FORMAT_VERSION, Choices
from geoseg.jobs.outcome import Options
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_steps import AreasStep, SegmentStep, VectorizeStep
from geoseg.models.load import Model, load_model
from geoseg.vector.min_area import parse_min_area
from geoseg.vector.simplify import parse_distance
from geoseg.vector.vectorizer import Outlines

if TYPE_CHECKING:
    from geoseg.area.aoi import Aoi
    from geoseg.jobs.change_options import ChangeOptions

__all__ = ["Asked", "asked_of"]

_CHOICES = ("window", "overlap", "blend", "batch_size", "device", "precision", "threads", "seed", "force", "tta",
            "min_confidence", "native_grid")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a pipeline asks of each scene."""

    model: Model
    """As loaded."""
    options: Options
    """How it is run, and what is made of the class map."""
    change: "ChangeOptions | None" = None
    """How each scene is compared with the previous date of its place; None where it is not."""
    notes: tuple[str, ...]
    """What was found in the zones and the area of interest that a user would want to know."""

    @property
    def settings(self) -> str:
        """SHA-256 of all that shapes results beside the scene itself.

        What only says where and how fast it is computed is left out.
        """
        options, choices = self.options, self.options.choices
        content = {
            "format": FORMAT_VERSION,
            "model": self.model.digest,
            "choices": [choices.window, choices.overlap, choices.blend, choices.precision, choices.seed, choices.force],
            **_asked_extras(choices),
            "pixels": [options.bands, options.scale, options.offset, options.mask_clouds],
            "outputs": [options.formats, options.probabilities],
            "parameters": options.parameters,
            **({} if options.aoi is None else {"aoi": options.aoi.zones.digest}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def asked_of(pipeline: Pipeline) -> Asked:
    """The model and the options of a pipeline.

    Raises:
        GeosegError: If the model, the zones, the area of interest or a table cannot be used; the message names file,
            line and key.
    """
    from geoseg.area.zone_file import read_zones

    steps = pipeline.spec.steps
    segment, vectorize = steps.segment or SegmentStep(), steps.vectorize or VectorizeStep(formats=())
    areas = steps.areas or AreasStep()
    try:
        model = load_model(pipeline.model, trust=pipeline.spec.trust_model)
    except GeosegError as error:
        raise type(error)(f"{pipeline.where(('model',))}: {error}") from error
    zones = None
    if areas.zones is not None and areas.zone_id is not None:
        try:
            zones = read_zones(str(pipeline.resolve(areas.zones)), id_column=areas.zone_id)
        except GeosegError as error:
            raise type(error)(f"{pipeline.where(('steps', 'areas', 'zones'))}: {error}") from error
    aoi = _aoi_of(pipeline, segment)
    costs = _costs_of(pipeline, segment, model)
    options = Options(
        choices=Choices(**{name: getattr(segment, name) for name in _CHOICES}, costs=costs),
        bands=segment.bands,
        scale=segment.scale,
        offset=segment.offset,
        mask_clouds=segment.mask_clouds,
        block_size=segment.block_size,
        formats=vectorize.formats,
        probabilities=segment.probabilities,
        outlines=Outlines(
            connectivity=vectorize.connectivity,
            smooth=vectorize.smooth,
            simplify=None if vectorize.simplify is None else parse_distance(vectorize.simplify),
        ),
        min_area=None if vectorize.min_area is None else parse_min_area(vectorize.min_area),
        zones=zones,
        aoi=aoi,
    )
    change = None
    if steps.change is not None:
        from geoseg.jobs.pipeline_change import change_options  # brings compiled code, which others do without

        change = change_options(pipeline, options.choices.decision.legend(model.legend))
    noted = [
        each.notes
        for each in (zones, None if change is None else change.zones, None if aoi is None else aoi.zones)
        if each is not None
    ]
    # the zones of both steps are one file as a rule
    return Asked(model=model, options=options, change=change, notes=tuple(dict.fromkeys(n for ns in noted for n in ns)))


def _costs_of(pipeline: Pipeline, segment: SegmentStep, model: Model) -> Costs | None:
    if segment.cost_matrix is None:
        return None
    try:
        return read_costs(pipeline.resolve(segment.cost_matrix), model.legend)
    except GeosegError as error:
        raise type(error)(f"{pipeline.where(('steps', 'segment', 'cost_matrix'))}: {error}") from error


def _asked_extras(choices: Choices) -> dict[str, Any]:
    """What shapes the map only where it was asked for: without it scenes that are finished stay so."""
    return {
        **({} if choices.decision == Decision() else {"decision": asdict(choices.decision)}),
        **({} if choices.tta == "none" else {"tta": choices.tta}),
        **({"native_grid": True} if choices.native_grid else {}),
    }


def _aoi_of(pipeline: Pipeline, segment: SegmentStep) -> "Aoi | None":
    """The area of interest of a pipeline."""
    from geoseg.area.aoi import LON_LAT, bbox_aoi, file_aoi

    key = "bbox" if segment.aoi is None else "aoi"
    try:
        if segment.aoi is not None:
            return file_aoi(str(pipeline.resolve(segment.aoi)))
        return None if segment.bbox is None else bbox_aoi(segment.bbox, segment.bbox_crs or LON_LAT)
    except GeosegError as error:
        raise type(error)(f"{pipeline.where(('steps', 'segment', key))}: {error}") from error
