"""Which shipped model a run takes where none is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyproj import Transformer

from geoseg.errors import GeosegError, printable
from geoseg.models.load import load_model
from geoseg.models.match import match
from geoseg.scene.gsd import gsd_m
from geoseg.scene.scene import Scene

__all__ = ["FALLBACK", "Choice", "choose_model"]

FALLBACK = "spectral"
"""Rules that hold anywhere: taken where they fit, and where nothing does, so that they say what is lacking."""

_PLACES = {
    "chesapeake-cover": (-81.5, 37.0, -79.5, 38.5),
    "dubai-cover": (54.8, 24.7, 55.8, 25.5),
    "forest-amazon": (-74.0, -18.0, -44.0, 6.0),
    "zion-cover": (-113.8, 36.8, -112.3, 37.9),
}
"""West, south, east and north of where a trained model is of use: elsewhere, and for models that are not listed, only
who names one wants it, as the pictures may look alike to a computer and be of another land."""

_SCENES = 3
_LARGEST_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A shipped model, and why it."""

    name: str
    """What `load_model` takes."""
    why: str
    """In words."""

    @property
    def said(self) -> str:
        """What is said aloud of it."""
        return f"no model is named, so it is {self.name}: {self.why} (-m names another; see geoseg models)"


def choose_model(hrefs: Sequence[str], open_one: Callable[[str], Scene]) -> Choice:
    """The shipped model that fits the first scene, or the next ones where none fits it.

    `FALLBACK` comes first, because it was made for no place. Models that were trained come after it, by name, where the
    scene lies in their place and fits as it is: bands, unit, values and, within a factor of 1.5, pixel size. Of the
    scenes three at most are looked at.

    Args:
        hrefs: Scenes.
        open_one: Opens one, as the run will.
    """
    opened = []
    for href in hrefs[:_SCENES]:
        try:
            opened.append(open_one(href))
        except GeosegError:
            continue  # the run names it with the reason
    for scene in opened:
        # no pixels for this one, which is nearly always taken: of scenes that are finished, the run reads none
        if _fits(FALLBACK, scene, look=False):
            return Choice(name=FALLBACK, why=f"rules that hold anywhere, and {printable(scene.id)} has what they need")
        for name, place in _PLACES.items():
            if _lies_in(scene, place) and _fits(name, scene, look=True):
                about = load_model(name).card.description.split(". ")[0].rstrip(".")
                why = f"{printable(scene.id)} has what it needs, and not what {FALLBACK} needs. {about}"
                return Choice(name=name, why=why)
    return Choice(name=FALLBACK, why="rules that hold anywhere; no shipped model was found that fits as it is")


def _lies_in(scene: Scene, place: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a scene lies in a box of longitudes and latitudes."""
    rows, cols = scene.geobox.shape
    crs = scene.geobox.crs
    assert crs is not None  # a scene has one
    x, y = scene.geobox.transform @ (cols / 2, rows / 2)
    lon, lat = Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    west, south, east, north = place
    return bool(west <= lon <= east and south <= lat <= north)


def _fits(name: str, scene: Scene, *, look: bool) -> bool:
    """Whether a scene is, as it is, what a model was made for; by a look at some pixels, too, or without."""
    model = load_model(name)
    wanted = model.card.gsd_m
    if wanted is not None:
        factor = gsd_m(scene.geobox) / wanted
        if not 1 / _LARGEST_FACTOR <= factor <= _LARGEST_FACTOR:
            return False
    try:
        match(model, scene, look=look)
    except GeosegError:  # one that cannot be read fits nothing, either: the run names it
        return False
    return True
