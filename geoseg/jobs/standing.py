"""How far a scene is before a run touches it: what a dry run shows, and what the run itself goes by."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.errors import printable
from geoseg.inference.lattice import Block, blocks
from geoseg.inference.recipe import Recipe
from geoseg.jobs.outcome import Options
from geoseg.jobs.plan import ScenePlan
from geoseg.outputs.vectors import FORMATS

__all__ = ["Finished", "Standing", "cut_of", "finished_results", "parts_key", "recut", "standing_of"]


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

    kind: Literal["new", "done", "changed", "taken"]
    """``done``: finished with the same scene, model and options. ``changed``: finished with others. ``taken``: the
    folder holds something else, which is never replaced."""
    finished: Finished | None = None
    """What is there, where something is."""

    def refusal(self, href: str, folder: Path, *, overwrite: bool) -> str | None:
        """Why a run leaves the scene alone; None where it does not."""
        if self.kind == "taken":
            return (
                f"{printable(href)}: its results would go to {printable(folder)}, which is there and holds no "
                "results of geoseg; move it away, or choose another --output"
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
    finished = finished_results(folder, recipe.key, options)
    done = finished is not None and finished.same
    return Standing(kind="done" if done else "changed", finished=finished)


def finished_results(folder: Path, key: str, options: Options) -> Finished | None:
    """The results that a folder holds; None if they are not whole, or of another scene or model.

    Args:
        folder: Of a scene.
        key: The recipe's.
        options: What has to be there.
    """
    try:
        item = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))
        made_with, assets = item["properties"]["geoseg:parameters"], item["assets"]
        sizes = {folder / asset["href"]: asset["file:size"] for asset in assets.values()}
        if made_with.get("key") != key or any(path.stat().st_size != size for path, size in sizes.items()):
            return None
        enough = not options.probabilities or "probabilities" in assets
        wanted = [folder / f"{folder.name}_polygons{FORMATS[name].suffix}" for name in options.formats]
        same = enough and all(made_with.get(name) == value for name, value in options.parameters.items())
        return Finished(
            same=same and all(p.is_file() for p in wanted),
            rasters=enough and made_with.get("min_area") is None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


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
    scene = plan.recipe.scene
    return tuple(blocks(scene.height, scene.width, block_height=cut[0], block_width=cut[1]))
