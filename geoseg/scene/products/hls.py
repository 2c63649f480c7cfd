"""Harmonized Landsat and Sentinel-2 (HLS) version 2: the files of one granule, known by their common name."""

import re
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.scene import Scene

__all__ = ["GRANULE", "NO_GROUND_BITS", "NO_GROUND_VALUES", "open_hls"]

GRANULE = re.compile(r"(?P<id>HLS\.(?P<kind>[SL]30)\.T\w{5}\.(?P<time>\d{7}T\d{6})\.v2\.\d)(?:\.(?P<band>\w+)\.tif)?$")
"""Name of a granule, or of one of its files."""
_NAMES = {
    "S30": {
        "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
        "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
        "B12": "swir22",
    },
    "L30": {
        "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "nir", "B06": "swir16", "B07": "swir22",
        "B09": "cirrus",
    },
}  # fmt: skip
"""Bands of reflectance; the thermal bands of L30 are degrees and are left out."""
_SCALE, _FILL = 0.0001, -9999
NO_GROUND_BITS = 1 << 1 | 1 << 2 | 1 << 3
"""Of Fmask: cloud, beside cloud or shadow, cloud shadow."""
NO_GROUND_VALUES = (255,)
"""Of Fmask: no data."""


def open_hls(href: str, wanted: Wanted) -> Scene:
    """The scene of an HLS granule, in surface reflectance: scale 0.0001 and fill -9999 by the product's specification.

    Args:
        href: The folder and the name of the granule, such as ``.../HLS.S30.T33UVU.2023156T101559.v2.0``.
        wanted: What the user asks for.

    Raises:
        SceneError: If none of its band files is there.
        ParameterError: If bands are named that have names.
    """
    granule = Path(href)
    match = GRANULE.match(granule.name)
    assert match is not None  # only such a name leads here
    files = {band: granule.with_name(f"{match['id']}.{band}.tif") for band in (*_NAMES[match["kind"]], "Fmask")}
    present = {band: str(path) for band, path in files.items() if path.is_file()}
    names = {band: name for band, name in _NAMES[match["kind"]].items() if band in present}
    if not names:
        raise SceneError(
            f"{printable(href)}: none of its band files ({granule.name}.B02.tif ...) is there; download it"
        )
    wanted.refuse_names(href, list(names.values()))
    if "Fmask" not in present:
        wanted.refuse_clouds(href, "has no Fmask file")
    quality = (
        (QualityLayer(href=present["Fmask"], title="Fmask", values=NO_GROUND_VALUES, bits=NO_GROUND_BITS),)
        if wanted.mask_clouds
        else ()
    )
    scale, offset = wanted.scaling(_SCALE, 0.0)
    return assemble(
        href,
        [
            Layer(name=name, href=present[band], title=band, scale=scale, offset=offset, nodata=_FILL)
            for band, name in names.items()
        ],
        scene_id="",
        product=f"HLS {match['kind']}, surface reflectance, scale {scale:g}",
        quality=quality,
        clouds="Fmask: cloud, beside cloud, shadow" if "Fmask" in present else "",
        acquired=datetime.strptime(match["time"], "%Y%jT%H%M%S").replace(tzinfo=UTC),
        scaled=True,
    )
