"""Which shipped model a run takes where none is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from geoseg.errors import GeosegError, printable
from geoseg.models.card import ModelCard
from geoseg.models.load import list_models, load_model
from geoseg.models.match import match
from geoseg.models.place import lies_in
from geoseg.scene.gsd import gsd_m
from geoseg.scene.scene import Scene

__all__ = ["FALLBACK", "Choice", "choose_model"]

FALLBACK = "spectral"
"""Rules that hold anywhere: taken where they fit, and where nothing does, so that they say what is lacking."""

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
    if not opened:
        return Choice(name=FALLBACK, why="rules that hold anywhere; nothing could be opened to see which model fits")
    for scene in opened:
        # no pixels for this one, which is nearly always taken: of scenes that are finished, the run reads none
        if _fits(FALLBACK, scene, look=False):
            return Choice(name=FALLBACK, why=f"rules that hold anywhere, and {printable(scene.id)} has what they need")
        for card in _of_places():
            if card.place and lies_in(scene, card.place) and _fits(card.name, scene, look=True):
                about = card.description.split(". ")[0].rstrip(".")
                why = f"{printable(scene.id)} has what it needs, and not what {FALLBACK} needs. {about}"
                return Choice(name=card.name, why=why)
    return Choice(name=FALLBACK, why="rules that hold anywhere; no shipped model was found that fits as it is")


def _of_places() -> list[ModelCard]:
    """Of the shipped models those that were made for some place, by name: others only who names one wants."""
    cards = (load_model(info.name).card for info in list_models())
    return [card for card in cards if card.place is not None]


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
