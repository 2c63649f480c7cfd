"""What a run would do and take: windows, forward passes, blocks, memory and time, per scene."""

import os
import resource
import time
from collections.abc import Iterable

from geoseg.cli.show import show_table
from geoseg.inference.recipe import Recipe
from geoseg.jobs.outcome import Options, SceneOutcome
from geoseg.jobs.plan import ScenePlan
from geoseg.vector.vectorizer import BLOCK_PX

__all__ = ["print_plans"]

_POLYGON_BYTES = 25  # per pixel of the blocks in work: class map, confidence, labels and rings
_WRITING_SECONDS = 8e-8  # per pixel, on one core: both rasters, written, read back and hashed


def print_plans(plans: Iterable[ScenePlan | SceneOutcome], options: Options) -> int:
    """Print one line per scene; the exit code.

    Time is measured, not guessed: the model is run on one window of noise on this machine, as often as it takes to be
    warm, and multiplied by the windows of the scene. Windows without valid pixels will be skipped, so it is an upper
    bound where there is much nodata.
    """
    rows = []
    failed = 0
    for plan in plans:
        if isinstance(plan, SceneOutcome):
            failed += 1
            continue
        recipe = plan.recipe
        seconds, batch_size, peak = _measure(recipe)
        pixels = recipe.scene.height * recipe.scene.width
        block = plan.memory_bytes(batch_size, probabilities=options.probabilities)
        in_work = min(pixels, (2 + (os.cpu_count() or 1)) * BLOCK_PX**2)
        memory = peak + block + (_POLYGON_BYTES * in_work if options.formats else 0)
        total = seconds * plan.n_forward + _WRITING_SECONDS * pixels
        rows.append(
            (
                recipe.scene.id,
                f"{recipe.scene.width} x {recipe.scene.height}",
                plan.n_windows,
                plan.n_forward,
                len(plan.blocks),
                f"{memory / 2**20:.0f}",
                f"{total:.1f}",
            )
        )
    show_table(("scene", "pixels", "windows", "forward passes", "blocks", "memory MiB", "seconds"), rows)
    return 1 if failed else 0


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
