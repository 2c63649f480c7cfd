"""What a first model is sure of, as labels of pixels that have none.

Lee (2013), Pseudo-Label: the class that a trained model gives an unlabelled sample is taken for its label; here only
where the model is sure of it, and never in place of a label that is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, ModelError, printable
from geoseg.legend import Legend
from geoseg.scene.class_raster import open_class_raster
from geoseg.train.labels import check_grid
from geoseg.train.pairs import Pairs
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.places import Places, count_cells

__all__ = ["classes_of", "filled", "with_maps"]


def classes_of(first: Legend, wanted: Legend, *, name: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """From the values of a first model's maps to class indices, by the names of the classes, and what is not wanted.

    A value that is none of its classes, such as that of pixels it leaves undecided, is no label.

    Args:
        first: Classes of the first model.
        wanted: Classes of the training.
        name: Of the first model, for messages.

    Returns:
        (256,) index of the class of each value, `IGNORE` for those that are none; names of classes that are not wanted.

    Raises:
        ModelError: If no class of the one is a class of the other.
    """
    places = {c.name.strip().casefold(): i for i, c in enumerate(wanted)}
    index = np.full(256, IGNORE, np.uint8)
    lacking = []
    for each in first:
        place = places.get(each.name.strip().casefold())
        if place is None:
            lacking.append(each.name)
        else:
            index[each.value] = place
    if len(lacking) == len(first):
        raise ModelError(
            f"the first model {printable(name)} has none of the classes of the labels: its are "
            f"{printable(', '.join(first.names[:10]))}, the labels' are {printable(', '.join(wanted.names[:10]))}; "
            "name them alike"
        )
    return index, tuple(lacking)


def with_maps(pairs: Pairs, maps: Mapping[str, str], index: NDArray[np.uint8]) -> Pairs:
    """The images with the maps of a first model as labels where there are none.

    Args:
        pairs: All images.
        maps: Class rasters by the names of scenes; a scene without one stays as it is.
        index: Of the values of the maps, from `classes_of`.

    Raises:
        InputError: If a map is not on the grid of its image.
    """
    items = []
    for pair in pairs.items:
        if pair.scene.id in maps:
            said = open_class_raster(maps[pair.scene.id])
            check_grid(said.href, said.geobox, pair.scene.href, pair.scene.geobox)
            items.append(replace(pair, said=said, said_index=index))
        else:
            items.append(pair)
    return replace(pairs, items=tuple(items))


def filled(pairs: Pairs, places: Places, ignore: Sequence[int]) -> tuple[Places, NDArray[np.int64]]:
    """Where labels are when those of a first model count in training, and how many pixels it adds to each class.

    What is held out has the labels of people alone.

    Raises:
        InputError: If it adds none.
    """
    counts = tuple(
        np.where(held[..., None], own, count_cells(pair, pairs.legend, ignore, filled=True))
        for pair, own, held in zip(pairs.items, places.counts, places.held_out, strict=True)
    )
    now = replace(places, counts=counts)
    added = now.pixels(held_out=False) - places.pixels(held_out=False)
    if not added.any():
        raise InputError(
            "the first model adds no label: it is nowhere so sure where there is none; lower pseudo_confidence, or "
            "leave pseudo_labels out"
        )
    return now, added
