"""A scene -> what reads it, whatever kind of scene it is."""

from collections.abc import Sequence

from geoseg.scene.read import SceneReader
from geoseg.scene.resample import ResampledReader
from geoseg.scene.scene import Band, Scene

__all__ = ["reader_of"]


def reader_of(scene: Scene, bands: Sequence[Band] | None = None) -> SceneReader | ResampledReader:
    """A reader of these bands of a scene, in this order; all by default.

    It opens files at the first read; use one reader in one thread only.
    """
    wanted = scene.bands if bands is None else tuple(bands)
    if scene.source is None:
        return SceneReader(scene, wanted)
    by_name = {b.name: b for b in scene.source.bands}
    return ResampledReader(scene, SceneReader(scene.source, [by_name[b.name] for b in wanted]))
