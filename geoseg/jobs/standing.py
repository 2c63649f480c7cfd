"""How far a scene is before a run touches it: what a dry run shows, and what the run itself goes by."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import printable
from geoseg.inference.lattice import Block, blocks
from geoseg.inference.recipe import Recipe
from geoseg.jobs.outcome import Options
from geoseg.jobs.plan import ScenePlan
from geoseg.jobs.results import fault_in, read_item
from geoseg.outputs.vectors import FORMATS

__all__ = ["Finished", "Standing", "cut_of", "parts_key", "recut", "standing_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The results of a scene that an earlier run left."""

    same: bool
    """Whether they are all that is asked for now."""
    rasters: bool
    """Whether the rasters are those that would be computed now: then only what is made from them is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a scene is."""

    kind: Literal["new", "done", "again", "changed", "damaged", "taken"]
    """``done``: finished with the same scene, model and options. ``again``: the same, and to be computed once more.
    ``changed``: finished with others. ``damaged``: finished, but a file has gone or is another since. ``taken``: the
    folder holds something else, which is never replaced."""
    finished: Finished | None = None
    """What is there, where something whole is."""
    fault: str = ""
    """What is damaged."""

    def refusal(self, href: str, folder: Path, *, overwrite: bool) -> str | None:
        """Why a run leaves the scene alone; None where it does not."""
        if self.kind == "taken":
            return (
                f"{printable(href)}: its results would go to {printable(folder)}, which is there and holds no "
                "results of geoseg; move it away, or choose another --output"
            )
        if self.kind == "damaged" and not overwrite:
            return (
                f"{printable(href)}: the results in {printable(folder)} are damaged or were changed: {self.fault}; "
                "pass --overwrite to make them again, or choose another --output"
            )
        if self.kind == "changed" and not overwrite:
            return (
                f"{printable(href)}: {printable(folder)} holds results of another input, model or options; "
                "pass --overwrite to replace them, or choose another --output"
            )
        return None


def standing_of(folder: Path, recipe: Recipe, options: Options) -> Standing:
    """How far a scene is whose results go to a folder."""
    if not folder.exists():
        return Standing(kind="new")
    if not (folder / f"{folder.name}.json").is_file():
        return Standing(kind="taken")
    item = read_item(folder)
    fault = fault_in(folder, item, thorough=options.overwrite)
    if item is None or fault is not None:
        return Standing(kind="damaged", fault=fault or "")
    finished = _finished(folder, item, recipe.key, options)
    if finished is None or not finished.same:
        return Standing(kind="changed", finished=finished)
    # alone, either option leaves finished results as they are
    return Standing(kind="again" if options.restart and options.overwrite else "done", finished=finished)


def _finished(folder: Path, item: dict[str, Any], key: str, options: Options) -> Finished | None:
    """The whole results that a folder holds; None if they are of another scene or model.

    Args:
        folder: Of a scene.
        item: Their record.
        key: The recipe's.
        options: What has to be there.
    """
    made_with, assets = item["properties"]["geoseg:parameters"], item["assets"]
    if made_with["key"] != key:
        return None
    enough = not options.probabilities or "probabilities" in assets
    wanted = [folder / f"{folder.name}_polygons{FORMATS[name].suffix}" for name in options.formats]
    same = enough and all(made_with.get(name) == value for name, value in options.parameters.items())
    return Finished(
        same=same and all(p.is_file() for p in wanted),
        rasters=enough and made_with.get("min_area") is None,
    )


def parts_key(recipe: Recipe, *, probabilities: bool) -> str:
    """SHA-256 of all that shapes the parts of a scene.

    Beside the recipe's own key these are the device and the version of what computes on it: a scene is never put
    together from parts that differ in their last bits.
    """
    import torch

    content = (recipe.key, recipe.device, str(torch.__version__), probabilities)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def cut_of(cut: Sequence[Block]) -> tuple[int, int]:
    """Height and width of the blocks of a scene; those of the last row and column may be smaller."""
    return cut[0].height, cut[0].width


def recut(plan: ScenePlan, cut: tuple[int, int]) -> tuple[Block, ...]:
    """The blocks of a scene in another height and width."""
    return tuple(blocks(*plan.recipe.shape, block_height=cut[0], block_width=cut[1]))
