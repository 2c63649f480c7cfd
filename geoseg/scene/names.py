"""Names of bands: what people and products call them, and the common names by which models ask for them."""

import re

__all__ = ["COMMON_NAMES", "PLAIN_NAMES", "common_name", "landsat_names"]

# Only names that mean one band whatever the sensor: "B4" is red on Landsat 8 and near infrared on Landsat 5.
_COMMON_NAMES = {
    "b02": "blue", "b03": "green", "b04": "red", "b05": "rededge071", "b06": "rededge075", "b07": "rededge078",
    "b08": "nir", "b8a": "nir08", "b11": "swir16", "b12": "swir22", "b01": "coastal", "b09": "nir09",
    "nir1": "nir", "near infrared": "nir", "near-infrared": "nir", "nearinfrared": "nir",
    "swir1": "swir16", "swir_1": "swir16", "swir 1": "swir16",
    "swir2": "swir22", "swir_2": "swir22", "swir 2": "swir22",
}  # fmt: skip
PLAIN_NAMES = {"coastal", "blue", "green", "red", "nir"}
"""Common names that are words of their own."""
COMMON_NAMES = frozenset(_COMMON_NAMES.values()) | PLAIN_NAMES
"""Names of bands that mean the same in every scene and model."""
_LANDSAT_OLI = {
    "sr_b1": "coastal", "sr_b2": "blue", "sr_b3": "green", "sr_b4": "red", "sr_b5": "nir",
    "sr_b6": "swir16", "sr_b7": "swir22",
}  # fmt: skip


def landsat_names(names: list[str]) -> list[str]:
    """Common names for surface reflectance bands that can only be of Landsat 8 and 9; others are kept.

    Only they have a surface reflectance band 6; on 5 and 7, band 2 is green.
    """
    return [_LANDSAT_OLI.get(n, n) for n in names] if "sr_b6" in names else names


def common_name(text: str) -> str:
    """The common name for a band's description; unknown descriptions are kept, in lower case.

    Example:
        >>> [common_name(t) for t in ("B02", "B5 nir", "SWIR 1", "Red edge 1", "elevation")]
        ['blue', 'nir', 'swir16', 'red edge 1', 'elevation']
    """
    word = text.strip().lower()
    if word in _COMMON_NAMES:
        return _COMMON_NAMES[word]
    words = {_COMMON_NAMES.get(w, w) for w in re.split(r"[^a-z0-9]+", word)} & COMMON_NAMES
    return words.pop() if len(words) == 1 and "edge" not in word else word
