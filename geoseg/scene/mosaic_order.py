"""Which scenes of a mosaic go first: those named first, those taken last, or those with least cloud."""

import math
from collections.abc import Sequence
from contextlib import closing
from typing import Literal, get_args

from geoseg.errors import SceneError
from geoseg.scene.scene import Scene

__all__ = ["PRIORITIES", "Priority", "in_order"]

Priority = Literal["order", "newest", "least-cloud"]
"""Which of several files that are valid at a pixel is taken there."""

PRIORITIES: tuple[Priority, ...] = get_args(Priority)

_ALONG = 8
"""Windows along each side of a scene that are looked at for how much of it is observed."""
_SIDE = 64


def in_order(scenes: Sequence[Scene], priority: Priority) -> list[Scene]:
    """The scenes of a mosaic, those that go first first; of equals those named first.

    Args:
        scenes: In the order named.
        priority: ``order``: those named first; ``newest``: those taken last, then those without a date;
            ``least-cloud``: those with least cloud by their metadata, where all of them say so, else those of which
            most is observed.
    """
    if priority == "newest":
        return sorted(scenes, key=_age)
    if priority == "least-cloud":
        stated = [scene.cloud_percent for scene in scenes]
        known = [percent for percent in stated if percent is not None]
        ranks = known if len(known) == len(scenes) else [-_observed_share(scene) for scene in scenes]
        return [scenes[i] for i in sorted(range(len(scenes)), key=ranks.__getitem__)]
    return list(scenes)


def _age(scene: Scene) -> float:
    """Less for what was taken later; most where that is not known."""
    return math.inf if scene.acquired is None else -scene.acquired.timestamp()


def _observed_share(scene: Scene) -> float:
    """How much of a scene is observed, by a lattice of windows; nothing of one that cannot be read."""
    seen, valid = 0, 0
    starts = [
        sorted({round(i * max(length - _SIDE, 0) / (_ALONG - 1)) for i in range(_ALONG)})
        for length in (scene.height, scene.width)
    ]
    try:
        with closing(scene.reader()) as reader:
            for row in starts[0]:
                for col in starts[1]:
                    size = min(_SIDE, scene.height - row), min(_SIDE, scene.width - col)
                    _, where = reader.read(row, col, *size)
                    seen, valid = seen + where.size, valid + int(where.sum())
    except SceneError:
        return 0.0  # whoever reads it for its pixels will say what is wrong
    return valid / seen
