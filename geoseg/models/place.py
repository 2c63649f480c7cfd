"""Where on the earth a model is of use: outside of it pictures may look alike to a computer and be of another land."""

from pyproj import Transformer

from geoseg.scene.scene import Scene

__all__ = ["lies_in", "place_note"]


def lies_in(scene: Scene, place: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a scene lies in a box of longitudes and latitudes."""
    lon, lat = _middle(scene)
    west, south, east, north = place
    return west <= lon <= east and south <= lat <= north


def place_note(name: str, place: tuple[float, float, float, float] | None, scene: Scene) -> str | None:
    """What is said of a scene that lies outside of a model's place; None where it does not, or the model has none."""
    if place is None or lies_in(scene, place):
        return None
    lon, lat = _middle(scene)
    west, south, east, north = place
    return (
        f"model {name} is of use in longitudes {west:g} to {east:g} and latitudes {south:g} to {north:g}, and the "
        f"scene's middle lies at {lon:.4g}, {lat:.4g}: look at its map before you use it"
    )


def _middle(scene: Scene) -> tuple[float, float]:
    """Longitude and latitude in degrees; infinity where the scene's CRS has none for it."""
    rows, cols = scene.geobox.shape
    crs = scene.geobox.crs
    assert crs is not None  # a scene has one
    x, y = scene.geobox.transform @ (cols / 2, rows / 2)
    lon, lat = Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    return float(lon), float(lat)
