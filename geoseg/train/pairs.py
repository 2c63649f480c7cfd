"""Images and their labels: which belong together, what the classes are, and windows of both."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.area.vector_file import FORMATS
from geoseg.errors import InputError, ModelError, ParameterError, printable
from geoseg.legend import Legend
from geoseg.scene.class_raster import ClassRaster
from geoseg.scene.gsd import gsd_m
from geoseg.scene.guard import is_remote
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import open_scene, scene_name
from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Band, Scene
from geoseg.train.config import TrainSpec
from geoseg.train.labels import (
    FilledLabels,
    LabelReader,
    NoLabels,
    RasterLabels,
    check_grid,
    class_index,
    legend_of_rasters,
    open_label_raster,
)
from geoseg.train.polygon_labels import Polygons, read_polygons

__all__ = ["Pair", "Pairs", "find_pairs"]

_ROLE = re.compile(r"[ _.-]?(images?|img|scene|labels?|masks?|truth|classes|gt)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An image and its labels, as plain values; files are opened by who reads."""

    scene: Scene
    """The image."""
    bands: tuple[Band, ...]
    """Those of the model, in its order."""
    raster: ClassRaster | None = None
    """Its labels, where they are a raster."""
    polygons: Polygons | None = None
    """Its labels, where they are shapes."""
    index: NDArray[np.uint8] | None = None
    """From values of ``raster`` to class indices."""
    said: ClassRaster | None = None
    """What a first model is sure of, on the scene's grid."""
    said_index: NDArray[np.uint8] | None = None
    """From values of ``said`` to class indices."""

    def labels(self) -> LabelReader:
        """A reader of its labels."""
        if self.raster is not None and self.index is not None:
            return RasterLabels(self.raster, self.index)
        return NoLabels() if self.polygons is None else self.polygons.on(self.scene.geobox)

    def training_labels(self) -> LabelReader:
        """A reader of its labels and, where there are none, of what a first model is sure of."""
        if self.said is None or self.said_index is None:
            return self.labels()
        return FilledLabels(self.labels(), RasterLabels(self.said, self.said_index))

    def pixels(self) -> SceneReader:
        """A reader of its image."""
        return SceneReader(self.scene, self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All images with labels, and what they have in common."""

    items: tuple[Pair, ...]
    """By the names of their scenes."""
    legend: Legend
    """Classes, in the order of the network's outputs."""
    units: str
    """``reflectance`` where a scale is stated, else ``dn``: stored numbers as they are."""
    gsd_m: float
    """Metres of ground per pixel, the median."""
    notes: tuple[str, ...]
    """What was decided and should be said aloud."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """In the order of the network's inputs."""
        return tuple(b.name for b in self.items[0].bands)


def find_pairs(spec: TrainSpec) -> Pairs:
    """The images and labels of a training, opened, checked and matched; no pixels of images are read.

    A label raster belongs to the image of the same name; ``_image``, ``_label``, ``_mask``, ``_truth`` and the like at
    the end of a name do not count.

    Raises:
        InputError: If an image or a label cannot be used, nothing belongs together, or images differ in bands, unit or
            pixel size.
        ParameterError: If a name of the settings is none of the data's.
    """
    vector = Path(spec.labels.rpartition(":")[0] or spec.labels)
    is_vector = any(p.suffix.lower() in FORMATS for p in (Path(spec.labels), vector))
    for named in spec.images if is_vector else (*spec.images, spec.labels):
        if not (is_remote(named) or glob.has_magic(named) or Path(named).exists()):
            raise InputError(f"there is no file or folder {printable(named)}: check the path")
    _check_kind(spec, is_vector=is_vector)
    return _with_polygons(spec) if is_vector else _with_rasters(spec)


def _check_kind(spec: TrainSpec, *, is_vector: bool) -> None:
    """Refuse settings for labels of the other kind, which would have no effect."""
    if is_vector:
        if spec.legend is not None:
            raise ParameterError(
                f"legend says what the values of label rasters mean, and {printable(spec.labels)} is a vector file: "
                "write its classes in classes, or leave legend out"
            )
        return
    for key, given in (("class_column", spec.class_column), ("background", spec.background)):
        if given is not None:
            raise ParameterError(
                f"{key} is for labels of a vector file, and {printable(spec.labels)} is none: name the file, or leave "
                f"{key} out"
            )


def _scenes(spec: TrainSpec, hrefs: Sequence[str]) -> list[Scene]:
    opened = [open_scene(h, bands=spec.bands, scale=spec.scale, offset=spec.offset) for h in hrefs]
    named: dict[str, Scene] = {}
    for scene in opened:
        if scene.id in named:
            raise InputError(
                f"{printable(scene.href)} and {printable(named[scene.id].href)} have the same name: rename one"
            )
        named[scene.id] = scene
    return [named[name] for name in sorted(named)]


def _with_polygons(spec: TrainSpec) -> Pairs:
    polygons = read_polygons(spec.labels, spec)
    pairs: list[Pair] = []
    bare: list[Pair] = []
    for scene in _scenes(spec, find_rasters(spec.images)):
        if len(polygons.on(scene.geobox)):
            pairs.append(Pair(scene=scene, bands=_bands(scene, spec), polygons=polygons))
        else:
            bare.append(Pair(scene=scene, bands=_bands(scene, spec)))
    if not pairs:
        raise InputError(
            f"{polygons.name}: none of its {len(polygons.frame)} shapes lies on one of the {len(bare)} images; "
            "check the CRS of both"
        )
    notes = _without([p.scene.id for p in bare], spec)
    if polygons.repaired:
        cross = "1 shape crosses itself and was" if polygons.repaired == 1 else "shapes cross themselves and were"
        number = "" if polygons.repaired == 1 else f"{polygons.repaired} "
        notes.append(f"{polygons.name}: {number}{cross} repaired")
    if spec.pseudo_labels is not None:
        pairs = sorted(pairs + bare, key=lambda p: p.scene.id)
    return _together(pairs, polygons.legend, notes)


def _without(names: Sequence[str], spec: TrainSpec) -> list[str]:
    """What to say of images that have no label."""
    if not names:
        return []
    one = len(names) == 1
    if spec.pseudo_labels is None:
        what = "is left out" if one else "are left out"
    else:
        what = f"{'has' if one else 'have'} those of the first model alone"
    return [f"{'1 image has' if one else f'{len(names)} images have'} no label and {what}: {_some(names)}"]


def _with_rasters(spec: TrainSpec) -> Pairs:
    labels = _label_files(spec)
    images = [h for h in find_rasters(spec.images) if h not in labels.values()]
    matched = {h: labels[_key(h)] for h in images if _key(h) in labels}
    if not matched and len(images) == 1 and Path(spec.labels).is_file():
        # one image and one label, each named by its file: there is nothing else that they could belong to
        matched = {images[0]: spec.labels}
    if not matched:
        raise InputError(_no_match(images, list(labels.values())))
    scenes = _scenes(spec, list(matched) if spec.pseudo_labels is None else images)
    rasters = {s.id: open_label_raster(matched[s.href], spec) for s in scenes if s.href in matched}
    for scene in scenes:
        if scene.id in rasters:
            check_grid(rasters[scene.id].href, rasters[scene.id].geobox, scene.href, scene.geobox)
    legend = legend_of_rasters(list(rasters.values()), spec)
    pairs = [
        Pair(
            scene=scene,
            bands=_bands(scene, spec),
            raster=rasters.get(scene.id),
            index=class_index(rasters[scene.id], legend, spec.ignore) if scene.id in rasters else None,
        )
        for scene in scenes
    ]
    notes = _without([scene_name(h) for h in images if h not in matched], spec)
    if lonely := sorted(set(labels.values()) - set(matched.values())):
        what = "1 label raster has" if len(lonely) == 1 else f"{len(lonely)} label rasters have"
        notes.append(f"{what} no image of that name: {_some([Path(h).name for h in lonely])}")
    return _together(pairs, legend, notes)


def _no_match(images: Sequence[str], labels: Sequence[str]) -> str:
    """Why no image has a label."""
    if not labels:
        return (
            "there are no label rasters beside the images: in one folder their names end in _label, _mask or the like"
        )
    if not images:
        return f"all files are label rasters ({_some([Path(h).name for h in labels])}): name images, too"
    shown = f"{_some([Path(h).name for h in images])}"
    lacks = f"the image {shown} has no" if len(images) == 1 else f"none of the {len(images)} images ({shown}) has a"
    return f"{lacks} label raster of its name among {_some([Path(h).name for h in labels])}: name them alike"


def _label_files(spec: TrainSpec) -> dict[str, str]:
    """Label rasters by the key of their image."""
    found: dict[str, str] = {}
    try:
        hrefs = find_rasters([spec.labels])
    except InputError as error:
        folder = Path(spec.labels)
        shapes = sorted(p for p in folder.iterdir() if p.suffix.lower() in FORMATS) if folder.is_dir() else []
        if shapes:
            raise InputError(
                f"{printable(folder)}: has no label rasters; labels that are shapes are one file for all images, so "
                f"name it: {_some([str(p) for p in shapes])}"
            ) from error
        raise
    if set(hrefs) & set(find_rasters(spec.images)):
        # images and labels in one folder: the end of a name says which is which
        hrefs = [h for h in hrefs if (role := _ROLE.search(Path(h).stem)) and role[1].lower()[:2] not in ("im", "sc")]
    for href in hrefs:
        key = _key(href)
        if key in found:
            raise InputError(
                f"{printable(href)} and {printable(found[key])} are both labels of {printable(key)}: keep one of them"
            )
        found[key] = href
    return found


def _key(href: str) -> str:
    return _ROLE.sub("", scene_name(href))


def _some(names: Sequence[str]) -> str:
    return ", ".join(printable(n) for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _bands(scene: Scene, spec: TrainSpec) -> tuple[Band, ...]:
    if spec.use_bands is None:
        return scene.bands
    by_name = {b.name: b for b in scene.bands}
    if missing := [n for n in spec.use_bands if n not in by_name]:
        raise ModelError(
            f"{printable(scene.href)}: lacks the bands {printable(', '.join(missing))}; it has "
            f"{printable(', '.join(by_name))}; pass --bands with a name for each band in file order, or use others"
        )
    return tuple(by_name[n] for n in spec.use_bands)


def _together(pairs: list[Pair], legend: Legend, notes: list[str]) -> Pairs:
    """See that all images are of one kind."""
    first = pairs[0]
    names = [b.name for b in first.bands]
    for pair in pairs[1:]:
        if [b.name for b in pair.bands] != names:
            raise InputError(
                f"{printable(pair.scene.href)}: has the bands {printable(', '.join(b.name for b in pair.bands))}, and "
                f"{printable(first.scene.href)} has {printable(', '.join(names))}; leave out one kind, pass --bands "
                "with names for both, or choose those that both have with --use-bands"
            )
        if pair.scene.scaled != first.scene.scaled:
            raise InputError(
                f"{printable(pair.scene.href)} and {printable(first.scene.href)}: one states a scale, the other does "
                "not, so their numbers mean different things; pass --scale and --offset"
            )
    sizes = {pair.scene.id: gsd_m(pair.scene.geobox) for pair in pairs}
    middle = float(np.median(list(sizes.values())))
    for pair in pairs:
        if not abs(sizes[pair.scene.id] - middle) <= 0.25 * middle:
            raise InputError(
                f"{printable(pair.scene.href)}: pixels of {sizes[pair.scene.id]:.3g} m, and the others have "
                f"{middle:.3g} m; resample it first (gdalwarp -tr), or leave it out"
            )
    return Pairs(
        items=tuple(pairs),
        legend=legend,
        units="reflectance" if first.scene.scaled else "dn",
        gsd_m=middle,
        notes=tuple(notes),
    )
