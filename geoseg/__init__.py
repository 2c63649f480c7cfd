"""geoseg: from a folder of satellite or aerial images to a land-cover map, polygons, areas and change.

Example:
    >>> import geoseg
    >>> scene = geoseg.open_scene("scene.tif")  # doctest: +SKIP
    >>> maps = geoseg.segment(scene, geoseg.load_model("spectral"))  # doctest: +SKIP
    >>> areas = geoseg.class_areas(maps.classes)  # doctest: +SKIP
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.area.class_areas import class_areas
    from geoseg.change.change_series import change_series
    from geoseg.change.detect import detect_change
    from geoseg.change.pair_scene import pair_scenes
    from geoseg.evaluate.assess import evaluate_map
    from geoseg.inference.recipe import Choices
    from geoseg.inference.segment import segment
    from geoseg.models.load import load_model
    from geoseg.scene.open import open_scene
    from geoseg.vector.vectorizer import vectorize

__all__ = [
    "Choices",
    "__version__",
    "change_series",
    "class_areas",
    "detect_change",
    "evaluate_map",
    "load_model",
    "open_scene",
    "pair_scenes",
    "segment",
    "vectorize",
]

__version__ = "0.1.0.dev0"

# libgomp's threads spin while they wait: with anything else running, networks are 3 to 4 times slower. It is read once,
# when torch is imported, so it is set here, where command line, Python callers and Dask workers all come through.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "Choices": "geoseg.inference.recipe",
    "change_series": "geoseg.change.change_series",
    "class_areas": "geoseg.area.class_areas",
    "detect_change": "geoseg.change.detect",
    "evaluate_map": "geoseg.evaluate.assess",
    "load_model": "geoseg.models.load",
    "open_scene": "geoseg.scene.open",
    "pair_scenes": "geoseg.change.pair_scene",
    "segment": "geoseg.inference.segment",
    "vectorize": "geoseg.vector.vectorizer",
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is first asked for, so that ``import geoseg`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
