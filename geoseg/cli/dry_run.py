"""What a run would do and take: how far each scene is, windows, forward passes, blocks, memory, disk and time."""

import math
import os
import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.cli.show import show_table
from geoseg.errors import ModelError
from geoseg.inference.recipe import Recipe
from geoseg.inference.turns import turns_of
from geoseg.jobs.journal import finished_blocks
from geoseg.jobs.lock import STATE
from geoseg.jobs.outcome import Event, Listener, Options, SceneOutcome
from geoseg.jobs.plan import ScenePlan
from geoseg.jobs.room import needed_bytes
from geoseg.jobs.standing import parts_key, recut, standing_of
from geoseg.models.match import look_for_doubts
from geoseg.vector.vectorizer import BLOCK_PX

__all__ = ["print_plans"]

_POLYGON_BYTES = 25  # per pixel of the blocks in work: class map, confidence, labels and rings
_WRITING_SECONDS = 8e-8  # per pixel, on one core: both rasters, written, read back and hashed


def print_plans(
    runs: Sequence[tuple[Path, Iterable[ScenePlan | SceneOutcome]]], options: Options, *, listen: Listener
) -> int:
    """Print one line per scene; the exit code.

    A scene is ``new``, ``done`` (skipped), ``again`` (the same, with ``--restart --overwrite``), ``resumable`` (some of
    its blocks are finished), ``changed`` (finished with another input, model or options) or ``damaged``, and replaced,
    or ``refused`` (the same without ``--overwrite``, or the name of its folder is taken).

    Time is measured, not guessed: the model is run on one window of noise on this machine, as often as it takes to be
    warm, and multiplied by the windows of the scene. Windows without valid pixels will be skipped, so it is an upper
    bound where there is much nodata.

    Args:
        runs: Output folder and plans of each run that is to be.
        options: Of the runs.
        listen: Told of scenes whose pixels do not fit.
    """
    rows = []
    failed = 0
    engines: dict[str, tuple[float, int, int]] = {}
    for output, plan in ((output, plan) for output, plans in runs for plan in plans):
        if isinstance(plan, SceneOutcome):
            failed += plan.status == "failed"
            continue
        recipe = plan.recipe
        state, left, computes = _state(plan, output, options)
        share = left / len(plan.blocks) if state not in ("done", "refused") else 0.0
        pixels = math.prod(recipe.shape)
        memory, seconds = 0.0, 0.0
        if share and computes:
            try:
                look_for_doubts(recipe.model, recipe.scene, recipe.bands, force=options.choices.force)
            except ModelError as error:
                listen(Event(kind="failed", scene=recipe.scene.id, text=str(error)))
                failed += 1
                continue
        if share:
            if recipe.model.digest not in engines:
                engines[recipe.model.digest] = _measure(recipe)
            per_window, batch_size, peak = engines[recipe.model.digest]
            block = plan.memory_bytes(batch_size, probabilities=options.probabilities)
            in_work = min(pixels, (2 + (os.cpu_count() or 1)) * BLOCK_PX**2)
            memory = peak + block + (_POLYGON_BYTES * in_work if options.formats else 0)
            seconds = per_window * plan.n_forward * share * computes + _WRITING_SECONDS * pixels
        rows.append(
            (
                recipe.scene.id,
                state,
                f"{recipe.shape[1]} x {recipe.shape[0]}",
                plan.n_windows,
                plan.n_forward * len(turns_of(recipe.tta)),
                len(plan.blocks),
                left if share else 0,
                f"{memory / 2**20:.0f}",
                f"{needed_bytes(plan, options) / 2**20 if share else 0:.0f}",
                f"{seconds:.1f}",
            )
        )
    columns = ("scene", "state", "pixels", "windows", "forward passes", "blocks", "blocks left", "memory MiB",
               "disk MiB", "seconds")  # fmt: skip
    show_table(columns, rows)
    return 1 if failed else 0


def _state(plan: ScenePlan, output: Path, options: Options) -> tuple[str, int, bool]:
    """How far a scene is, in a word, the blocks that are left of it, and whether the model has to be run for them."""
    scene = plan.recipe.scene
    standing = standing_of(output / scene.id, plan.recipe, options)
    if standing.refusal(scene.href, output / scene.id, overwrite=options.overwrite) is not None:
        return "refused", len(plan.blocks), False
    computes = options.restart or standing.finished is None or not standing.finished.rasters
    key = parts_key(plan.recipe, probabilities=options.probabilities)
    begun = None if options.restart or standing.kind == "done" else finished_blocks(output / STATE, scene.id, key)
    if begun is not None and begun[1]:
        cut, n_finished = begun
        before = plan if options.block_size is not None else replace(plan, blocks=recut(plan, cut))
        if (before.blocks[0].height, before.blocks[0].width) == cut:
            return "resumable", len(before.blocks) - n_finished, computes
    return standing.kind, len(plan.blocks), computes


def _measure(recipe: Recipe) -> tuple[float, int, int]:
    """Seconds per window, batch size, and this process's peak memory in bytes with the network warm."""
    import torch

    from geoseg.inference.rows import engine_for

    engine = engine_for(recipe)
    side = recipe.lattice.rows.window
    windows = torch.randn(engine.batch_size, len(recipe.bands), side, side, device=engine.device)
    windows = windows.to(memory_format=torch.channels_last)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        engine(windows).sum().item()
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if os.uname().sysname == "Linux" else 1)
    return min(times) / engine.batch_size, engine.batch_size, peak
