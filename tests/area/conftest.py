"""Worked examples that lie beside the repository, where there are any, and grids all over the Earth."""

import json
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
SINUSOIDAL = "+proj=sinu +R=6371007.181 +type=crs"


@pytest.fixture
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The worked example that a test names, as ``file/id``."""
    name, _, example_id = request.param.partition("/")
    path = REFERENCE / f"{name}.json"
    if not path.is_file():
        pytest.skip("worked examples are not here")
    found: list[dict[str, Any]] = [e for e in json.loads(path.read_text())["examples"] if e["id"] == example_id]
    assert found, f"{request.param} is not among the worked examples"
    return found[0]


GRIDS = {
    "UTM": GeoBox((10980, 10980), Affine(10, 0, 600_000, 0, -10, 5_000_040), "EPSG:32633"),
    "UTM far from its meridian, rotated": GeoBox((3000, 2000), Affine(8, -6, 100_000, -6, -8, 5_000_040), "EPSG:32633"),
    "UTM across the antimeridian": GeoBox((1000, 1000), Affine(100, 0, 750_000, 0, -100, 7_900_000), "EPSG:32660"),
    "Web Mercator": GeoBox((5000, 7000), Affine(10, 0, 1_113_194, 0, -10, 8_399_737), "EPSG:3857"),
    "Web Mercator, a whole country": GeoBox((60_000, 40_000), Affine(30, 0, 1e6, 0, -30, 9e6), "EPSG:3857"),
    "geographic": GeoBox((1800, 3600), Affine(0.1, 0, -180, 0, -0.1, 90), "EPSG:4326"),
    "geographic, south-up": GeoBox((100, 100), Affine(0.01, 0, 5, 0, 0.01, 50), "EPSG:4326"),
    "geographic, rotated": GeoBox((400, 400), Affine(0.009, -0.003, 5, -0.003, -0.009, 50), "EPSG:4326"),
    "geographic, across the antimeridian": GeoBox((50, 100), Affine(0.1, 0, 175, 0, -0.1, -10), "EPSG:4326"),
    "geographic on another datum": GeoBox((1000, 1000), Affine(0.001, 0, -100, 0, -0.001, 40), "EPSG:4267"),
    "polar stereographic with the pole": GeoBox((1000, 1001), Affine(1000, 0, -5e5, 0, -1000, 5e5), "EPSG:3413"),
    "south polar with the pole": GeoBox((1001, 1000), Affine(1000, 0, -5e5, 0, -1000, 5e5), "EPSG:3031"),
    "MODIS sinusoidal": GeoBox(
        (2400, 2400), Affine(463.3127165, 0, 1_111_950.52, 0, -463.3127165, 6_671_703.12), SINUSOIDAL
    ),
    "equal-area, 25 km": GeoBox((584, 1388), Affine(25025.26, 0, -17367530.44, 0, -25025.26, 7307375.92), "EPSG:6933"),
    "LAEA Europe, few rows": GeoBox((3, 3000), Affine(10, 0, 4e6, 0, -10, 3e6), "EPSG:3035"),
    "drone": GeoBox((5000, 7000), Affine(0.02, 0, 1_113_194, 0, -0.02, 8_399_737), "EPSG:3857"),
    "one pixel": GeoBox((1, 1), Affine(10, 0, 600_000, 0, -10, 5_000_040), "EPSG:32633"),
}
"""Scenes of every kind of grid."""


@pytest.fixture(params=sorted(GRIDS))
def grid(request: pytest.FixtureRequest) -> GeoBox:
    """One of the grids."""
    return GRIDS[request.param]
