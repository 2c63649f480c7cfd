"""A scene -> what reads it, whatever kind of scene it is."""

from collections.abc import Sequence

from geoseg.scene.mosaic_reader import MosaicReader
from geoseg.scene.read import SceneReader
from geoseg.scene.resample import ResampledReader
from geoseg.scene.scene import Band, Scene

__all__ = ["reader_of"]


def reader_of(scene: Scene, bands: Sequence[Band] | None = None) -> SceneReader | MosaicReader | ResampledReader:
    """A reader of these bands of a scene, in this order; all by default.

    It opens files at the first read; use one reader in one thread only.
    """
    wanted = scene.bands if bands is None else tuple(bands)
    if scene.source is None:
        return _of_files(scene, wanted)
    by_name = {b.name: b for b in scene.source.bands}
    return ResampledReader(scene, _of_files(scene.source, [by_name[b.name] for b in wanted]))


def _of_files(scene: Scene, bands: Sequence[Band]) -> SceneReader | MosaicReader:
    return MosaicReader(scene, bands) if scene.members else SceneReader(scene, bands)
