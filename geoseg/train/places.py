"""Where labels are: counts of each class by cell, and which cells are for training and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import Legend
from geoseg.train.config import Split
from geoseg.train.draws import drawn
from geoseg.train.labels import UNKNOWN, unknown_values
from geoseg.train.outline import outline
from geoseg.train.pairs import Pair, Pairs

__all__ = ["CELL", "Places", "count_cells", "held_out_scenes", "same_ground", "split_places"]

CELL = 32
"""Pixels along a side of a cell, the grain in which it is known where classes are."""

_SAME = 0.01
"""Scenes that share more of the smaller one than this show the same ground; neighbours may touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The cells of all scenes, those of training and those held out."""

    counts: tuple[NDArray[np.uint16], ...]
    """Of each scene: labelled pixels (cell row, cell col, class)."""
    held_out: tuple[NDArray[np.bool_], ...]
    """Of each scene: whether a cell is held out (cell row, cell col)."""
    notes: tuple[str, ...]
    """What was decided and should be said aloud."""

    def pixels(self, *, held_out: bool) -> NDArray[np.int64]:
        """Labelled pixels of each class, in training or held out."""
        parts = [c[h == held_out].sum(axis=0, dtype=np.int64) for c, h in zip(self.counts, self.held_out, strict=True)]
        total: NDArray[np.int64] = np.sum(parts, axis=0)
        return total

    def cells(self) -> NDArray[np.int64]:
        """Cells of training that have a class, for each class."""
        parts = [(c[~h] > 0).sum(axis=0, dtype=np.int64) for c, h in zip(self.counts, self.held_out, strict=True)]
        total: NDArray[np.int64] = np.sum(parts, axis=0)
        return total


def count_cells(pair: Pair, legend: Legend, ignore: Sequence[int], *, filled: bool = False) -> NDArray[np.uint16]:
    """Labelled pixels of each class in each cell of a scene: (cell row, cell col, class). Reads all labels once.

    Args:
        pair: The scene.
        legend: All classes.
        ignore: Values of label rasters that are no label.
        filled: Whether what a first model is sure of counts as labelled, too.

    Raises:
        InputError: If a label raster holds a value that is neither a class nor to be ignored.
    """
    height, width = pair.scene.height, pair.scene.width
    down, across, n = -(-height // CELL), -(-width // CELL), len(legend)
    counts = np.zeros((down, across, n), np.uint16)  # a cell has 1024 pixels
    labels = pair.training_labels() if filled else pair.labels()
    column = np.arange(width) // CELL * 256
    try:
        for cell_row in range(down):
            row = cell_row * CELL
            strip = labels.read(row, 0, min(CELL, height - row), width)
            if (strip == UNKNOWN).any():
                assert pair.raster is not None
                raise unknown_values(pair.raster, legend, ignore)
            counts[cell_row] = np.bincount((strip + column).ravel(), minlength=across * 256).reshape(across, 256)[:, :n]
    finally:
        labels.close()
    return counts


def split_places(pairs: Pairs, counts: Sequence[NDArray[np.uint16]], split: Split) -> Places:
    """Which cells are held out.

    Raises:
        InputError: If either part would be without labels.
        ParameterError: If a scene that is named is not there.
    """
    held_out = _by_scene(pairs, counts, split) if split.by == "scene" else _by_block(pairs, counts, split)
    places = Places(counts=tuple(counts), held_out=held_out, notes=())
    for is_held, what in ((False, "left to train on"), (True, "held out")):
        if not places.pixels(held_out=is_held).any():
            scenes = f"{len(counts)} scene{'s' if len(counts) != 1 else ''}"
            raise InputError(
                f"no labelled pixel is {what}, with a split by {split.by} over {scenes}: "
                "label more, hold out another share, or split by block"
            )
    notes = [_held_out_in_words(pairs, places, split)]
    for is_held, what in ((False, "no pixel to train on"), (True, "no pixel held out, so it is not scored")):
        absent = [c.name for c, n in zip(pairs.legend, places.pixels(held_out=is_held), strict=True) if not n]
        if absent:
            notes.append(f"{what}: {', '.join(map(printable, absent))}")
    return Places(counts=places.counts, held_out=places.held_out, notes=tuple(notes))


def _held_out_in_words(pairs: Pairs, places: Places, split: Split) -> str:
    held, all_of = (places.pixels(held_out=True).sum(), sum(int(c.sum()) for c in places.counts))
    scenes = held_out_scenes(pairs, places)
    shown = ", ".join(map(printable, scenes[:5])) + (f" and {len(scenes) - 5} more" if len(scenes) > 5 else "")
    what = shown if split.by == "scene" else f"blocks of {split.block_px} px in {shown}"
    return f"held out: {what} ({held / all_of:.0%} of the labelled pixels)"


def held_out_scenes(pairs: Pairs, places: Places) -> list[str]:
    """Names of the scenes of which something is held out."""
    return [p.scene.id for p, held in zip(pairs.items, places.held_out, strict=True) if held.any()]


def same_ground(pairs: Sequence[Pair]) -> list[int]:
    """A number for each scene, the same for scenes that show the same ground, directly or by way of others.

    Two dates of a place, held apart, would let the model meet in training what it is scored on.
    """
    footprints = [outline(pair.scene.geobox, "EPSG:4326") for pair in pairs]
    group = list(range(len(pairs)))
    for i, j in shapely.STRtree(footprints).query(footprints, predicate="intersects").T.tolist():
        shared = shapely.area(shapely.intersection(footprints[i], footprints[j]))
        if group[i] != group[j] and shared > _SAME * min(shapely.area(footprints[i]), shapely.area(footprints[j])):
            old, new = max(group[i], group[j]), min(group[i], group[j])
            group = [new if g == old else g for g in group]
    return group


def _by_scene(pairs: Pairs, counts: Sequence[NDArray[np.uint16]], split: Split) -> tuple[NDArray[np.bool_], ...]:
    names, groups = [p.scene.id for p in pairs.items], same_ground(pairs.items)
    if isinstance(split.val, tuple):
        if unknown := [n for n in split.val if n not in names]:
            raise ParameterError(
                f"split.val names scenes that have no labels or are not there: {printable(', '.join(unknown))}; "
                f"there are {printable(', '.join(names[:10]))}"
            )
        chosen = set(split.val)
        apart = {g for g, n in zip(groups, names, strict=True) if n in chosen}
        if both := [n for g, n in zip(groups, names, strict=True) if g in apart and n not in chosen]:
            raise ParameterError(
                f"split.val holds out scenes that show the same ground as {printable(', '.join(both[:3]))}, which "
                "would be trained on: hold these out too, or split by block"
            )
    else:
        labelled = sorted({g for g, c in zip(groups, counts, strict=True) if c.any()})
        of_groups = [
            np.sum([c.sum(axis=(0, 1), dtype=np.int64) for c, o in zip(counts, groups, strict=True) if o == g], axis=0)
            for g in labelled
        ]
        held = {labelled[i] for i in _drawn(of_groups, split)}
        chosen = {n for g, n in zip(groups, names, strict=True) if g in held}
    return tuple(np.full(c.shape[:2], n in chosen) for n, c in zip(names, counts, strict=True))


def _by_block(pairs: Pairs, counts: Sequence[NDArray[np.uint16]], split: Split) -> tuple[NDArray[np.bool_], ...]:
    side = split.block_px // CELL
    groups = same_ground(pairs.items)
    for first, other in zip(pairs.items, (pairs.items[g] for g in groups), strict=True):
        if first.scene.geobox != other.scene.geobox:
            raise ParameterError(
                f"{printable(first.scene.id)} and {printable(other.scene.id)} show the same ground on different grids, "
                "so blocks of one are not those of the other: split by scene, or bring both onto one grid"
            )
    # all dates of a block go together
    found: dict[tuple[int, int, int], NDArray[np.int64]] = {}
    for scene, each in enumerate(counts):
        down, across = each.shape[:2]
        for row in range(0, down, side):
            for col in range(0, across, side):
                pixels = each[row : row + side, col : col + side].sum(axis=(0, 1), dtype=np.int64)
                if pixels.any():
                    block = (groups[scene], row, col)
                    found[block] = found.get(block, np.zeros_like(pixels)) + pixels
    blocks = sorted(found)
    held_out = tuple(np.zeros(c.shape[:2], np.bool_) for c in counts)
    for i in _drawn([found[b] for b in blocks], split):
        group, row, col = blocks[i]
        for apart, g in zip(held_out, groups, strict=True):
            if g == group:
                apart[row : row + side, col : col + side] = True
    return held_out


def _drawn(labels: Sequence[NDArray[np.int64]], split: Split) -> list[int]:
    """Which of some things are held out, by the labelled pixels (class,) of each."""
    assert isinstance(split.val, float | int)
    n = len(labels)
    if n < 2:
        raise InputError(
            f"the labels lie in {n} {split.by}{'s' if n != 1 else ''} (what shows the same ground counts once), and a "
            f"split by {split.by} needs two or more: "
            + (
                "split by block"
                if split.by == "scene"
                else f"choose smaller blocks than {split.block_px} px (block_px)"
            )
        )
    return drawn(np.stack(labels), share=split.val, seed=split.seed, even=split.draw == "even")
