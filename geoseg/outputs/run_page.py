"""What a run made, as one page: maps to look at, shares of classes, and what failed and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.page import as_number, document, escaped, html_table, section, svg, swatch
from geoseg.outputs.png import data_uri
from geoseg.outputs.records import write_text
from geoseg.outputs.tables import read_rows

__all__ = ["SceneLine", "write_run_page"]

_SIDE: Final = 256
_MOST_MAPS: Final = 60
_MOST_BARS: Final = 200
_MOST_ROWS: Final = 500
_EMPTY: Final = (236, 236, 232)
_OTHER: Final = "#bbbbb5"
_WRONG: Final = ("failed", "quarantined", "refused")
_FULL: Final = 100  # confidence is in percent


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneLine:
    """What became of one input, for the page."""

    name: str
    """Of its outputs, or the input where there are none."""
    status: str
    """In a word. Those that failed, were quarantined or refused come first, with their errors."""
    error: str | None = None
    """Why it failed, or was passed over."""
    table: Path | None = None
    """CSV file of its areas; the rasters lie beside it."""
    seconds: float = 0.0
    """That it took."""
    pixels: int = 0
    """Of the scene."""
    n_polygons: int | None = None
    """None where none were made."""
    notes: tuple[str, ...] = ()
    """What was said of it."""


def write_run_page(
    path: Path,
    scenes: Sequence[SceneLine],
    legend: Legend,
    *,
    title: str,
    facts: Mapping[str, object],
    output: Path | None = None,
) -> Published:
    """Write the page.

    There are pictures of the first 60 scenes, bars of the first 200 and rows of the first 500: its size and the time
    that it takes do not grow with the run.

    Args:
        path: Final name, ``.html``.
        scenes: All inputs of the run, in order.
        legend: Of the class maps.
        title: What was made.
        facts: What it was made with, by name.
        output: Folder that links to outputs are relative to; by default that of the page.

    Raises:
        OutputError: If the page cannot be written or does not read back.
    """
    mapped = [s for s in scenes if s.table is not None]
    parts = [
        f"<h1>{escaped(title)}</h1>",
        f'<p class="small">{_count(scenes)}</p>',
        *_at_most(_MOST_ROWS, [f'<p class="bad">{escaped(s.error)}</p>' for s in scenes if s.status in _WRONG]),
        section("Share of each class", _shares(mapped, legend)),
        section("Maps", _maps(output or path.parent, mapped, legend)),
        section("Scenes", _table(scenes)),
        section("Made with", html_table(("", ""), [(escaped(k), escaped(v)) for k, v in facts.items()])),
    ]
    return write_text(path, document(title, parts))


def _count(scenes: Sequence[SceneLine]) -> str:
    words = dict.fromkeys(s.status for s in scenes)
    return escaped(", ".join(f"{sum(s.status == word for s in scenes):,} {word}" for word in words))


def _at_most(most: int, parts: list[str]) -> list[str]:
    rest = len(parts) - most
    return parts if rest <= 0 else [*parts[:most], f'<p class="small">and {rest:,} more: see run.json</p>']


def _keys(legend: Legend) -> str:
    return f'<p class="small">{"".join(f"{swatch(c.color)}{escaped(c.name)} &nbsp; " for c in legend)}</p>'


def _shares(scenes: Sequence[SceneLine], legend: Legend) -> str:
    """One bar a scene, as long as all of its mapped area."""
    colours = {str(c.class_id): c.color for c in legend}
    height, left, width = 22, 230, 620
    parts = []
    for i, scene in enumerate(scenes[:_MOST_BARS]):
        assert scene.table is not None
        rows = read_rows(scene.table)
        total = sum(float(row["area_m2"]) for row in rows)
        y, x = height * i + 4, float(left)
        parts.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escaped(_short(scene.name))}</text>')
        for row in rows:
            share = float(row["area_m2"]) / total if total else 0.0
            words = f"{row['class_name']}: {100 * share:.1f} %, {float(row['area_ha']):,.1f} ha"
            parts.append(
                f'<rect x="{x:.2f}" y="{y}" width="{width * share:.2f}" height="15" '
                f'fill="{colours.get(row["class_id"], _OTHER)}"><title>{escaped(words)}</title></rect>'
            )
            x += width * share
        parts.append(f'<text x="{left + width + 10}" y="{y + 12}">{total / 1e4:,.1f} ha</text>')
    if not parts:
        return ""
    rest = len(scenes) - _MOST_BARS
    more = f'<p class="small">and {rest:,} more: see areas.csv</p>' if rest > 0 else ""
    drawn = svg(left + width + 150, height * min(len(scenes), _MOST_BARS) + 8, parts, "share of each class by scene")
    return _keys(legend) + drawn + more


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:20]}...{name[-9:]}"


def _maps(folder: Path, scenes: Sequence[SceneLine], legend: Legend) -> str:
    if not scenes:
        return ""
    figures = "".join(_figure(folder, scene, legend) for scene in scenes[:_MOST_MAPS])
    rest = len(scenes) - _MOST_MAPS
    more = f'<p class="small">and {rest:,} more without a picture here</p>' if rest > 0 else ""
    note = '<p class="small">class map, and confidence from white (sure) to black</p>'
    return f'{note}{_keys(legend)}<div class="windows">{figures}</div>{more}'


def _figure(folder: Path, scene: SceneLine, legend: Legend) -> str:
    assert scene.table is not None
    place, name = scene.table.parent, scene.name
    palette = np.full((256, 3), _EMPTY, dtype=np.uint8)
    for c in legend:
        palette[c.value] = c.rgb
    greys = np.full((256, 3), _EMPTY, dtype=np.uint8)
    greys[: _FULL + 1] = np.linspace(0, 255, _FULL + 1).round().astype(np.uint8)[:, None]
    images, links = [], []
    for what, colours in (("classes", palette), ("confidence", greys)):
        raster = place / f"{name}_{what}.tif"
        try:
            images.append(f'<img alt="{what}" src="{data_uri(colours[_coarse(raster)])}">')
        except (RasterioError, OSError) as error:  # the run is done, whatever became of its files since
            links.append(f'<span class="bad">{escaped(error)}</span>')
    links += [
        f'<a href="{quote(found.relative_to(folder).as_posix())}">{escaped(found.name.removeprefix(f"{name}_"))}</a>'
        for found in sorted(place.glob("*"))
        if found.name.startswith(f"{name}_") and found.suffix not in (".xml", ".qml")
    ]
    notes = "".join(f"<br>{escaped(note)}" for note in scene.notes)
    caption = f"<b>{escaped(name)}</b><br>{' '.join(links)}{notes}"
    return f'<figure><div class="two">{"".join(images)}</div><figcaption>{caption}</figcaption></figure>\n'


def _coarse(raster: Path) -> NDArray[np.uint8]:
    """A raster in at most 256 pixels a side, from its overviews."""
    with rasterio.open(raster) as dataset:
        scale = max(dataset.height, dataset.width) / _SIDE
        shape = dataset.height, dataset.width
        if scale > 1:
            shape = max(1, round(dataset.height / scale)), max(1, round(dataset.width / scale))
        pixels: NDArray[np.uint8] = dataset.read(1, out_shape=shape)
    return pixels


def _table(scenes: Sequence[SceneLine]) -> str:
    header = ("scene", "became", "seconds", "pixels", "polygons", "why")
    rows = [
        (
            escaped(s.name),
            escaped(s.status),
            f"{s.seconds:,.1f}" if s.seconds else "",
            as_number(s.pixels or None),
            as_number(s.n_polygons),
            "see above" if s.status in _WRONG else escaped(s.error or ""),
        )
        for s in scenes[:_MOST_ROWS]
    ]
    rest = len(scenes) - _MOST_ROWS
    more = f'<p class="small">and {rest:,} more: see run.json</p>' if rest > 0 else ""
    return html_table(header, rows) + more
