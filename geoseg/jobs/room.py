"""Whether the results of a scene fit the disk, seen before anything is computed."""

import math
import shutil
from pathlib import Path

from geoseg.errors import OutputError, printable
from geoseg.jobs.outcome import Options
from geoseg.jobs.plan import ScenePlan

__all__ = ["check_room", "needed_bytes"]

# Bytes per pixel when most is on the disk at once, measured on the sample scenes, whose classes are noisy: parts and
# both rasters with the uncompressed copies that they are made from 3.4, each class's probabilities likewise 1.1, the
# polygons in a GeoPackage 6.
_RASTERS = 3.4
_PER_CLASS = 1.1
_PER_FORMAT = 6.0
_NOTHING = 2.7  # outside of an area of interest only the uncompressed copies take room
_LEAST = 0.05
"""Share of that which a scene of large even fields or much nodata may get by with: with less room, none does."""


def needed_bytes(plan: ScenePlan, options: Options) -> int:
    """Bytes that a scene of noisy classes takes on the disk; one of large even fields takes a tenth of it."""
    n_probabilities = len(plan.recipe.legend) if options.probabilities else 0
    per_pixel = _RASTERS + _PER_CLASS * n_probabilities + _PER_FORMAT * len(options.formats)
    pixels, inside = math.prod(plan.recipe.shape), plan.recipe.inside
    wanted = pixels if inside is None else inside.n_pixels
    return int(wanted * per_pixel + (pixels - wanted) * _NOTHING)


def check_room(output: Path, needed: int) -> str | None:
    """What has to be said of the room that is left; None if it is enough.

    Args:
        output: A folder on the disk.
        needed: From `needed_bytes`.

    Raises:
        OutputError: If no scene of that size fits.
    """
    free = shutil.disk_usage(output).free
    if free >= needed:
        return None
    free_mib, needed_mib = (f"{n / 2**20:.0f} MiB" for n in (free, needed))
    shown = f"the disk of {printable(output)} has {free_mib} free, the scene takes about {needed_mib}"
    if free < _LEAST * needed:
        raise OutputError(f"{shown}; free some, or choose another --output, then run again")
    return f"{shown}: it may run full; what is finished by then is kept"
