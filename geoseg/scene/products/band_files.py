"""One file per band: the files that a pattern with ``{band}`` names, or that are plainly called after their bands."""

import re
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import ParameterError, SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.guard import DRIVERS
from geoseg.scene.names import common_name, landsat_names
from geoseg.scene.products import hls, landsat, sentinel2
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.raster import date_in
from geoseg.scene.scene import Scene

__all__ = ["BAND", "QUALITY", "band_patterns", "name_of_pattern", "open_band_files", "plain_patterns"]

BAND = "{band}"
"""What stands for the name of a band in a pattern."""
_BAND_NAME = r"[A-Za-z0-9][\w-]*?"
_PLAIN = re.compile(
    r"(?P<before>|.*[_.\- ])(?P<band>B(?:0[1-9]|1[0-2]|8A)|coastal|blue|green|red|nir|nir0[89]|rededge0?7?\d|"
    r"swir_?[12]|swir16|swir22|SR_B[1-7]|SCL|QA_PIXEL|Fmask)(?P<after>(?:_\d0m)?\.\w+)$",
    re.IGNORECASE,
)
"""Names of files that are plainly called after a band."""
_COMPANIONS = re.compile(r"(?:.*[_.\- ])?(?:TCI|AOT|WVP)(?:_\d0m)?\.\w+$", re.IGNORECASE)
"""What Sentinel-2 has beside its bands: a picture, aerosol and water vapour."""
QUALITY = {
    "scl": QualityLayer(href="", title="SCL", values=sentinel2.SCL_NO_GROUND),
    "qa_pixel": QualityLayer(href="", title="QA_PIXEL", bits=landsat.NO_GROUND_BITS),
    "fmask": QualityLayer(href="", title="Fmask", values=hls.NO_GROUND_VALUES, bits=hls.NO_GROUND_BITS),
}
"""Bands of quality that are called so in every product that has them, without their files."""
_SENTINEL_2 = re.compile(r"(?:.*_)?T\d\d[A-Z]{3}_\d{8}T\d{6}_B\w\w(?:_\d0m)?\.jp2$")
"""Images of Sentinel-2, in which 0 is no data by specification, though no file says so."""


def band_patterns(folder: Path, names: Iterable[str], pattern: str) -> dict[str, list[str]]:
    """The patterns of single scenes that a pattern stands for in a folder, and the files of each.

    Args:
        folder: Where the files are.
        names: Of its files.
        pattern: A file's name with ``{band}`` in the place of the band, and ``*`` for what tells scenes apart.

    Returns:
        Paths with ``{band}`` to names, sorted; a scene has at least one file.

    Raises:
        ParameterError: If the pattern has no ``{band}``, has it twice, or is a path.
    """
    if pattern.count(BAND) != 1 or "/" in pattern or "\\" in pattern:
        raise ParameterError(
            f"--band-files {printable(pattern)}: write the name of a file with {BAND} once in the place of the band, "
            "such as 'B{band}.tif' or '*_B{band}.TIF'"
        )
    matcher = re.compile(re.escape(pattern).replace(re.escape(BAND), f"(?P<band>{_BAND_NAME})").replace(r"\*", "(.*?)"))
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        match = matcher.fullmatch(name)
        if match is not None and _is_raster(name):
            stars = (match[i] for i in range(1, matcher.groups + 1) if i != matcher.groupindex["band"])
            one = re.sub(r"\*", lambda _, stars=stars: next(stars), pattern)  # type: ignore[misc]
            found.setdefault(str(folder / one), []).append(name)
    return found


def plain_patterns(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """As `band_patterns`, of files that are plainly called after their bands: two or more that differ in nothing else.

    Files that Sentinel-2 has beside its bands go with them.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    names = sorted(names)
    for name in names:
        match = _PLAIN.match(name)
        if match is not None and _is_raster(name):
            suffix = Path(name).suffix
            groups.setdefault((match["before"], suffix), []).append((match["band"].lower(), name))
    found = {}
    for (before, suffix), members in groups.items():
        if len({band for band, _ in members if band not in QUALITY}) >= 2:
            beside = [n for n in names if n.startswith(before) and _COMPANIONS.match(n)]
            found[str(folder / f"{before}{BAND}{suffix}")] = [n for _, n in members] + beside
    return found


def _is_raster(name: str) -> bool:
    return Path(name).suffix.lower() in DRIVERS


def name_of_pattern(href: str) -> str:
    """Name of the scene of a pattern: what its files have in common, else their folder's.

    Example:
        >>> [name_of_pattern(p) for p in ("a/S2_20240501_B{band}.tif", "a/B{band}.tif", "a/{band}_x.tif")]
        ['S2_20240501', 'a', 'x']
    """
    path = Path(href)
    before, _, after = path.stem.partition(BAND)
    before = re.sub(r"(^|[_.\- ])(sr_)?(b|band)?[_.\- ]*$", "", before, flags=re.IGNORECASE)
    after = after.strip("_.- ")
    return "_".join(part for part in (before, after) if part) or path.parent.absolute().name or "scene"


def open_band_files(href: str, wanted: Wanted) -> Scene:
    """The scene of the files that a pattern names, one band in each.

    Bands are called by what stands in the place of ``{band}``; ``B{band}`` with ``02`` is B02. Files called SCL,
    QA_PIXEL or Fmask are masks of clouds, used where that is asked for. Of a band in several pixel sizes
    (``B02_10m``, ``B02_20m``) the finest is taken.

    Args:
        href: A path whose last part has ``{band}`` in it.
        wanted: What the user asks for.

    Raises:
        SceneError: If no file fits, two are the same band, or a file has several bands.
        ParameterError: If the names that are given do not fit.
    """
    path = Path(href)
    try:
        listed = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise SceneError(f"{printable(href)}: cannot be read: {error.strerror or error}; check the path") from error
    files = _files(path, band_patterns(path.parent, listed, path.name).get(str(path), []))
    quality = {token: name for token, name in files.items() if token.lower() in QUALITY}
    bands = {token: name for token, name in files.items() if token.lower() not in QUALITY}
    if not bands:
        raise SceneError(f"{printable(href)}: no file has such a name; check the folder and the place of {BAND}")
    names = _names(href, path, list(bands), wanted)
    layers = [
        Layer(
            name=name,
            href=str(path.with_name(file)),
            title=_title(path, token),
            scale=wanted.scaling(1.0, 0.0)[0] if wanted.scaled else None,
            offset=wanted.scaling(1.0, 0.0)[1] if wanted.scaled else None,
            nodata=0 if _SENTINEL_2.match(file) else None,
        )
        for name, (token, file) in zip(names, bands.items(), strict=True)
    ]
    if not quality:
        wanted.refuse_clouds(href, f"has no file called {', '.join(q.title for q in QUALITY.values())}")
    masks = [
        QualityLayer(href=str(path.with_name(file)), title=known.title, values=known.values, bits=known.bits)
        for token, file in quality.items()
        for known in (QUALITY[token.lower()],)
    ]
    return assemble(
        href,
        layers,
        scene_id="",
        product=f"one file per band: {', '.join(layer.title for layer in layers)}",
        quality=masks if wanted.mask_clouds else (),
        clouds=", ".join(f"{m.title}: cloud and shadow" for m in masks),
        acquired=date_in(name_of_pattern(href)),
        scaled=True if wanted.scaled else None,
    )


def _files(path: Path, names: list[str]) -> dict[str, str]:
    """Files by what stands in the place of the band, without a pixel size; of several sizes the finest."""
    before, _, after = path.name.partition(BAND)
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        token = name[len(before) : len(name) - len(after)]
        size = re.search(r"_(\d0)m$", token)
        ranked = (int(size[1]) if size else 0, name)
        token = re.sub(r"_\d0m$", "", token)
        found[token] = min(found.get(token, ranked), ranked)
    return {token: name for token, (_, name) in found.items() if not _COMPANIONS.match(f"{token}.x")}


def _title(path: Path, token: str) -> str:
    """What a band is called: ``02`` after a B is B02."""
    before = path.name.partition(BAND)[0]
    return f"B{token}" if token[:1].isdigit() and before[-1:] in ("B", "b") else token


def _names(href: str, path: Path, tokens: list[str], wanted: Wanted) -> list[str]:
    """Names of the bands: 1. what the user says, in the order of the files, 2. what the files are called."""
    titles = [_title(path, token) for token in tokens]
    if wanted.bands is not None and len(wanted.bands) != len(titles):
        raise ParameterError(
            f"{printable(href)}: {len(wanted.bands)} band names for {len(titles)} files "
            f"({printable(', '.join(titles))}); name each once, in this order"
        )
    names = landsat_names([common_name(t) for t in (titles if wanted.bands is None else wanted.bands)])
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        same = [t for t, n in zip(titles, names, strict=True) if n == twice[0]]
        raise SceneError(
            f"{printable(href)}: {printable(' and '.join(same))} are both {twice[0]}; name one scene with the pattern, "
            "or pass --bands"
        )
    return names
