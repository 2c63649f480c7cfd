"""Worked examples that lie beside the repository, and pairs of small maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from geoseg.area.pixel_area import PixelAreas
from geoseg.change.index import NONE

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
CLASSES = 3


def examples(name: str) -> list[Any]:
    """The worked examples of a file, as parameters; one that skips where the file is not there."""
    path = REFERENCE / f"{name}.json"
    if not path.is_file():
        why = f"the worked examples of {name} lie beside the repository, in shared/reference, and are not there"
        return [pytest.param({}, marks=pytest.mark.skip(reason=why))]
    return [pytest.param(e, id=e["id"]) for e in json.loads(path.read_text())["examples"]]


def maps(shape: Any, *, n_classes: int = CLASSES) -> Any:
    """Places in a legend of some classes, some without an observation."""
    value = st.sampled_from([*range(n_classes), NONE])
    return hnp.arrays(np.uint8, shape, elements=value)


@st.composite
def pairs(draw: Any, *, n: int = 2) -> Any:
    """Maps of one shape."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return tuple(draw(maps(shape)) for _ in range(n))


def areas_of(shape: tuple[int, int]) -> PixelAreas:
    """True areas of a grid on which they vary from pixel to pixel."""
    return PixelAreas.of(GeoBox(shape, Affine(0.1, 0, 10, 0, -0.1, 60), "EPSG:4326"))
