"""A pipeline's step of change as what `geoseg change` is asked for."""

from collections.abc import Callable
from typing import TypeVar

from geoseg.change.comparison import Rules
from geoseg.change.legends import common_legend, read_crosswalk
from geoseg.change.plausible import implausible_pairs, read_plausible
from geoseg.change.posterior_rule import USUAL_PRIOR, PosteriorRule, pair_weights, read_pair_numbers
from geoseg.errors import GeosegError
from geoseg.jobs.change_options import ChangeOptions
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_steps import ChangeStep
from geoseg.legend import Legend
from geoseg.vector.min_area import parse_min_area
from geoseg.vector.simplify import parse_distance
from geoseg.vector.vectorizer import Outlines

__all__ = ["change_options"]

T = TypeVar("T")


def change_options(pipeline: Pipeline, legend: Legend) -> ChangeOptions | None:
    """How the scenes of a pipeline are compared; None where they are not.

    Args:
        pipeline: Whose step.
        legend: Of the model: a table that names another class is refused before anything is computed.

    Raises:
        GeosegError: If tables or zones cannot be used; the message names file, line and key.
    """
    from geoseg.area.zone_file import read_zones

    step = pipeline.spec.steps.change
    if step is None:
        return None

    def of(key: str, make: Callable[[], T]) -> T:
        """A value, whose error is told with the place of its key."""
        try:
            return make()
        except GeosegError as error:
            raise type(error)(f"{pipeline.where(('steps', 'change', key))}: {error}") from error

    def path(text: str) -> str:
        return str(pipeline.resolve(text))

    crosswalk, plausible, source = step.crosswalk, step.plausible, step.zones
    zones = None if source is None else of("zones", lambda: read_zones(path(source), id_column=step.zone_id or ""))
    rules = Rules(
        crosswalk=() if crosswalk is None else of("crosswalk", lambda: read_crosswalk(path(crosswalk))),
        tolerance=step.tolerance,
        align=step.align,
        plausible=() if plausible is None else of("plausible", lambda: read_plausible(path(plausible))),
        posterior=_posterior(step, path, of) if step.probabilities else None,
    )
    common = of("crosswalk", lambda: common_legend(legend, legend, crosswalk=rules.crosswalk)).legend
    of("plausible", lambda: implausible_pairs(common, rules.plausible))
    if rules.posterior is not None:
        # one after the other, so that the key of the one that is wrong is named
        posterior = rules.posterior
        of("prior", lambda: pair_weights(common, PosteriorRule(prior=posterior.prior)))
        of("costs", lambda: pair_weights(common, PosteriorRule(costs=posterior.costs)))
    return of(
        "picture",
        lambda: ChangeOptions(
            rules=rules,
            min_area=None if step.min_area is None else parse_min_area(step.min_area),
            formats=step.formats,
            outlines=Outlines(
                connectivity=step.connectivity,
                smooth=step.smooth,
                simplify=None if step.simplify is None else parse_distance(step.simplify),
            ),
            zones=zones,
            picture=step.picture,
            strata_buffer=step.strata_buffer,
            # what is there of another comparison is replaced; what is finished and the same never is
            overwrite=True,
        ),
    )


def _posterior(
    step: ChangeStep, path: Callable[[str], str], of: Callable[[str, Callable[[], PosteriorRule]], PosteriorRule]
) -> PosteriorRule:
    """How probabilities decide."""
    prior = USUAL_PRIOR if step.prior is None else step.prior

    def with_prior() -> PosteriorRule:
        return PosteriorRule(prior=read_pair_numbers(path(prior), "share") if isinstance(prior, str) else prior)

    rule, costs = of("prior", with_prior), step.costs
    if costs is None:
        return rule
    return of("costs", lambda: PosteriorRule(prior=rule.prior, costs=read_pair_numbers(path(costs), "cost")))
