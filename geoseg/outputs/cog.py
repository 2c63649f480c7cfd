"""Class map, confidence and probabilities as cloud-optimized GeoTIFFs, assembled from the parts.

The parts are first copied, strip by strip, into one plain GeoTIFF beside the output, then GDAL's COG driver makes the
file from that. No VRT: its driver is switched off where images of strangers are read (``GDAL_SKIP=VRT``), and the copy
costs little. Memory is a row of tiles as wide as the widest part and GDAL's block cache.

What lies on the disk only while this works, the plain file and the overviews that GDAL makes beside the COG, is not
compressed where it is small: compressing and decoding it again took 1.9 s of CPU time of 5.9 s at 8192 x 8192 px, both
rasters together. Of larger rasters it is compressed, so that the disk needs their compressed pixels twice at most.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.windows import Window

from geoseg.errors import ParameterError, printable
from geoseg.inference.lattice import TILE
from geoseg.legend import NODATA, PROBABILITY_STEPS, Legend
from geoseg.outputs.aside import Published, publish
from geoseg.outputs.cog_check import Expected, check_cog, kept_crs
from geoseg.outputs.parts import Kind, Part, iter_strips
from geoseg.outputs.style import pam_xml, raster_qml
from geoseg.scene.class_names import names_tag

__all__ = ["write_class_cog", "write_confidence_cog", "write_probability_cog"]

_RAW_UP_TO = 1 << 30
"""Bytes of a raster whose temporary files are not compressed; they take 4/3 of that."""

# DEFLATE because every reader has it. Levels measured at 8192 x 8192 px on two cores. Classes, level 1: 1.0 s and
# 10.0 MB, 4: 0.8 s and 5.5 MB, 6: 1.2 s and 3.7 MB, 9: 7.6 s and 3.1 MB. Confidence, level 1 without and with
# predictor: 1.0 s, 30.1 and 27.9 MB; level 6: 3.5 s, 27.5 and 25.4 MB.
_PROFILES: Final[dict[Kind, dict[str, Any]]] = {
    "classes": {"level": 6, "predictor": "NO", "overview_resampling": "mode"},
    # the average counts valid pixels only, because the source declares its nodata
    "confidence": {"level": 1, "predictor": "YES", "overview_resampling": "average"},
    # likewise; GDAL's COG driver lays the bands of a tile together, which every reader knows. Six classes at 3000 x
    # 3000 px, level 1 without and with predictor: 0.5 s, 15.1 and 16.5 MB; 4: 0.5 s, 14.3 and 16.2; 6: 0.8 s, 13.4
    "probabilities": {"level": 4, "predictor": "NO", "overview_resampling": "average"},
}


def write_class_cog(
    path: Path,
    parts: Sequence[Part],
    *,
    geobox: GeoBox,
    legend: Legend,
    metadata: Mapping[str, str],
    description: str = "land cover",
) -> Published:
    """Class map as a COG with palette, class names (``.aux.xml``) and a QGIS style (``.qml``) beside it.

    The names are in a tag ``CLASSES``, too, for where the file goes alone, as far as a tag can hold them.

    Args:
        path: Final name, ``.tif``.
        parts: Parts that cover the scene, each pixel once.
        geobox: The scene's pixel grid; CRS and transform are kept exactly, rotated and south-up ones too.
        legend: Classes, colours and nodata.
        metadata: Tags, such as model, parameters and versions.
        description: Of the band.

    Returns:
        The published file; every tile was compared with the parts' checksums, every overview with the level below.

    Raises:
        ParameterError: If the parts do not cover the scene.
        OutputError: If a part is damaged, or the file cannot be written or does not read back.
    """
    names = names_tag({c.value: c.name for c in legend})
    expected = Expected(
        geobox=geobox,
        nodata=legend.nodata,
        descriptions=(description,),
        tags=_tags({**metadata, **({"CLASSES": names} if names else {})}),
        colormap={c.value: (*c.rgb, 255) for c in legend} | {legend.nodata: (0, 0, 0, 0)},
    )

    def write(tmp: Path) -> None:
        _write(tmp, parts, "classes", expected)
        _write_pam(tmp, geobox, legend)
        tmp.with_suffix(".qml").write_text(raster_qml(legend), "utf-8")

    return publish(path, write, lambda tmp: _verify(tmp, parts, "classes", expected))


def write_confidence_cog(
    path: Path, parts: Sequence[Part], *, geobox: GeoBox, metadata: Mapping[str, str]
) -> Published:
    """Confidence in percent as a COG, nodata 255; arguments, checks and errors as :func:`write_class_cog`."""
    expected = Expected(geobox=geobox, nodata=NODATA, descriptions=("confidence (percent)",), tags=_tags(metadata))
    return _publish_plain(path, parts, "confidence", expected)


def write_probability_cog(
    path: Path, parts: Sequence[Part], *, geobox: GeoBox, legend: Legend, metadata: Mapping[str, str]
) -> Published:
    """Probability of each class as a COG of one band per class, in the order of the legend, named after the classes.

    Stored in steps of 1/254, which is the bands' scale; nodata 255. The bands of a pixel add up to 254, those of an
    overview pixel only nearly: there each band is an average of its own, rounded. Other arguments, checks and errors as
    :func:`write_class_cog`.

    Raises:
        ParameterError: Also if the parts hold no probabilities, or those of another number of classes.
    """
    for part in parts:
        if part.n_probabilities != len(legend):
            raise ParameterError(
                f"the part {printable(part.path)} holds the probabilities of {part.n_probabilities} classes, the "
                f"legend has {len(legend)}: compute the parts with the probabilities of this legend"
            )
    expected = Expected(
        geobox=geobox,
        nodata=NODATA,
        descriptions=tuple(printable(name).strip() for name in legend.names),  # TIFF metadata drops outer blanks
        scale=1 / PROBABILITY_STEPS,
        tags=_tags(metadata),
    )
    return _publish_plain(path, parts, "probabilities", expected)


def _publish_plain(path: Path, parts: Sequence[Part], kind: Kind, expected: Expected) -> Published:
    """Publish a raster that has neither palette nor style."""

    def write(tmp: Path) -> None:
        _write(tmp, parts, kind, expected)
        _write_pam(tmp, expected.geobox, None)

    return publish(path, write, lambda tmp: _verify(tmp, parts, kind, expected))


def _write(tmp: Path, parts: Sequence[Part], kind: Kind, expected: Expected) -> None:
    _check_cover(parts, expected.geobox)
    plain = _plain(tmp)
    raw = expected.geobox.shape[0] * expected.geobox.shape[1] * len(expected.descriptions) <= _RAW_UP_TO
    _write_plain(plain, parts, kind, expected, {} if raw else {"compress": "ZSTD", "zstd_level": 1})
    # a name that GDAL does not document: a version without it compresses, as it does by itself
    with rasterio.Env(COG_TMP_COMPRESSION="NONE" if raw else "ZSTD"):
        rasterio.shutil.copy(
            plain,
            tmp,
            driver="COG",
            blocksize=TILE,
            compress="DEFLATE",
            bigtiff="IF_SAFER",
            num_threads="ALL_CPUS",
            **_PROFILES[kind],
        )


def _verify(tmp: Path, parts: Sequence[Part], kind: Kind, expected: Expected) -> None:
    """Compare the COG with the parts, then remove what only served to make it.

    Not before: on a full disk GDAL may leave a broken COG without an error, and room that was freed in the meantime
    would hide why.
    """
    check_cog(tmp, parts, kind, expected)
    plain = _plain(tmp)
    plain.unlink()
    # GDAL keeps a CRS that GeoTIFF keys cannot express in a side file
    plain.with_name(f"{plain.name}.aux.xml").unlink(missing_ok=True)


def _plain(tmp: Path) -> Path:
    """The intermediate file: it shares the stem of what is published, so that on an error it goes with it."""
    return tmp.with_name(f"{tmp.stem}.plain.tif")


def _write_plain(
    plain: Path, parts: Sequence[Part], kind: Kind, expected: Expected, compression: Mapping[str, Any]
) -> None:
    """All parts in one tiled GeoTIFF with everything the COG is to carry."""
    geobox = expected.geobox
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        height=geobox.shape[0],
        width=geobox.shape[1],
        count=len(expected.descriptions),
        dtype="uint8",
        crs=_crs(geobox),
        transform=geobox.affine,
        nodata=expected.nodata,
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        photometric="MINISBLACK",  # three or four bands are no colours, and the fourth is no mask
        bigtiff="IF_SAFER",
        num_threads="ALL_CPUS",
        **compression,
    ) as dataset:
        dataset.descriptions = expected.descriptions
        if expected.scale != 1:
            dataset.scales = (expected.scale,) * dataset.count
            dataset.offsets = (0.0,) * dataset.count
        dataset.update_tags(**expected.tags)
        if expected.colormap:
            dataset.write_colormap(1, expected.colormap)
        for part in sorted(parts, key=lambda p: (p.block.row_off, p.block.col_off)):
            for row, pixels in iter_strips(part, kind):
                bands = pixels.reshape(dataset.count, -1, part.block.width)
                window = Window(part.block.col_off, part.block.row_off + row, part.block.width, bands.shape[1])
                dataset.write(bands, window=window)


def _write_pam(tmp: Path, geobox: GeoBox, legend: Legend | None) -> None:
    """The ``.aux.xml``: class names, and the CRS where GeoTIFF keys cannot express it."""
    pam = tmp.with_name(f"{tmp.name}.aux.xml")
    srs = None if geobox.crs is None or kept_crs(tmp, geobox) else geobox.crs.proj.to_wkt()
    if legend is None and srs is None:
        return
    existing = pam.read_text("utf-8") if pam.exists() else None
    pam.write_text(pam_xml(legend, srs_wkt=srs, existing=existing), "utf-8")


def _check_cover(parts: Sequence[Part], geobox: GeoBox) -> None:
    """Refuse parts that leave a pixel out, overlap or reach beyond the scene."""
    height, width = geobox.shape
    blocks = [p.block for p in parts]
    # on the grid of all block edges each cell belongs to one block or the cut is wrong
    rows = np.unique([0, height, *(r for b in blocks for r in (b.row_off, b.row_end))])
    cols = np.unique([0, width, *(c for b in blocks for c in (b.col_off, b.col_end))])
    count = np.zeros((len(rows) - 1, len(cols) - 1), np.int32)
    for b in blocks:
        r0, r1 = np.searchsorted(rows, (b.row_off, b.row_end))
        c0, c1 = np.searchsorted(cols, (b.col_off, b.col_end))
        count[r0:r1, c0:c1] += 1
    if rows[-1] != height or cols[-1] != width:
        raise ParameterError(f"a part reaches beyond the scene of {width} x {height} px: give the parts of this scene")
    for what, wrong in (("missing", count == 0), ("there twice", count > 1)):
        if wrong.any():
            r, c = np.argwhere(wrong)[0]
            raise ParameterError(
                f"the part at row {rows[r]}, column {cols[c]} is {what}: "
                f"give parts that cover the scene of {width} x {height} px once"
            )


def _crs(geobox: GeoBox) -> CRS | None:
    return None if geobox.crs is None else CRS.from_wkt(geobox.crs.proj.to_wkt())


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags that read back as they were given: TIFF metadata is XML, which has no control characters."""
    for key in metadata:
        if not key.replace("_", "").replace(":", "").isalnum():
            raise ParameterError(f"tag {key!r} is not a name: use letters, digits and underscores")
    return {key: printable(value) for key, value in metadata.items()}
