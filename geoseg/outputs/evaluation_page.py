"""An evaluation as one page: figures, tables and pictures of the worst windows."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.change.index import NONE
from geoseg.evaluate.calibration import Reliability
from geoseg.evaluate.counts import Window
from geoseg.evaluate.evaluation import Evaluation
from geoseg.evaluate.scene_scores import SceneScores
from geoseg.inference.lattice import Block
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.page import as_number, document, escaped, html_table, section, svg, swatch
from geoseg.outputs.png import data_uri
from geoseg.outputs.records import write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WORDS", "write_evaluation_page"]

WORDS: Final = {
    "accuracy": "pixel accuracy",
    "miou": "mean IoU",
    "mf1": "mean F1 (Dice)",
    "mprecision": "mean precision",
    "mrecall": "mean recall",
    "fwiou": "frequency-weighted IoU",
    "kappa": "kappa",
    "unmapped": "reference without a class in the map",
    "ece": "expected calibration error",
    "overconfidence": "mean confidence less accuracy",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
    "boundary_iou": "mean boundary IoU",
    "boundary_f1": "mean boundary F1",
    "asd_m": "mean surface distance, m",
    "surface_dice": "mean surface Dice",
}
"""What the measures of a summary are called where people read them."""

_HEADINGS: Final = {
    "class_name": "class",
    "f1": "F1",
    "iou": "IoU",
    "bias_pct": "bias, % of reference",
    "boundary_iou": "boundary IoU",
    "boundary_f1": "boundary F1",
    "surface_dice": "surface Dice",
    "asd_m": "surface distance, m",
    "beyond": "outline beyond reach",
    "pq": "panoptic quality",
    "sq": "segmentation quality",
    "rq": "recognition quality",
    "n_reference": "objects in reference",
    "n_mapped": "objects mapped",
    "n_found": "objects found",
    "ap": "AP",
    "ap50": "AP at 0.5",
    "ap75": "AP at 0.75",
    "pixels": "px",
}
"""What columns of tables are called, where they are not measures of a summary."""
_UNITS: Final = ("px", "ha", "m2", "m")

_WINDOWS: Final = 12
_LARGEST_MATRIX: Final = 40
_MOST_ROWS: Final = 500
_UNKNOWN: Final = (232, 232, 228)
_RIGHT: Final = (214, 224, 214)
_WRONG: Final = (200, 30, 30)


def write_evaluation_page(
    path: Path,
    evaluation: Evaluation,
    tables: "Mapping[str, pd.DataFrame]",
    *,
    title: str,
    notes: Sequence[str],
    failed: Iterable[tuple[str, str]],
) -> Published:
    """Write the page.

    Args:
        path: Final name, ``.html``.
        evaluation: What was found; its scenes are read again where their worst windows are.
        tables: Its tables by name, as they are written.
        title: What was scored.
        notes: What has to be said.
        failed: Scenes that could not be scored, and why.

    Raises:
        SceneError: If a scene cannot be read again.
        OutputError: If the page cannot be written or does not read back.
    """
    legend, calibration = evaluation.legend, evaluation.reliability
    parts = [
        f"<h1>{escaped(title)}</h1>",
        *(f'<p class="small">{escaped(note)}</p>' for note in notes),
        *(f'<p class="bad">{escaped(name)}: {escaped(why)}</p>' for name, why in failed),
        section("Overall", _summary(tables["summary"], evaluation.level)),
        section("Classes", _bars(tables["classes"], legend) + _table(tables["classes"], colours=legend)),
        section("Confusion: percent of each reference class", _matrix(evaluation.pixels, legend)),
        "" if calibration is None else section("Confidence and accuracy", _diagram(calibration)),
        section("Where most is wrong", _windows(evaluation)),
        *(
            section(words, _table(tables[name]))
            for name, words in (("objects", "Objects"), ("scenes", "Scenes"), ("zones", "Zones"))
            if name in tables
        ),
    ]
    return write_text(path, document(title, parts))


def _summary(summary: "pd.DataFrame", level: float) -> str:
    rows: list[tuple[str, str, str]] = []
    each: Any
    for each in summary.itertuples(index=False, name=None):
        measure, value, low, high = each
        between = "" if low != low else f"{low:.3f} to {high:.3f}"
        rows.append((escaped(WORDS.get(measure, measure)), as_number(value), between))
    return html_table(("measure", "value", f"{100 * level:g} % interval"), rows)


def _table(table: "pd.DataFrame", *, colours: Legend | None = None) -> str:
    columns = [str(c) for c in table.columns if c != "class_id"]
    rows: list[list[str]] = []
    for row in table.head(_MOST_ROWS)[columns].itertuples(index=False, name=None):
        cells = [as_number(v) if not isinstance(v, str) else escaped(v) for v in row]
        if colours is not None:
            cells[0] = swatch(colours.classes[len(rows)].color) + cells[0]
        rows.append(cells)
    more = len(table) - _MOST_ROWS
    rest = f'<p class="small">and {more} more, in the table beside this page</p>' if more > 0 else ""
    return html_table([heading(c) for c in columns], rows) + rest


def heading(column: str) -> str:
    """What a column of a table is called where people read it.

    Example:
        >>> [heading(c) for c in ("iou_low", "mapped_ha", "boundary_recall", "miou")]
        ['IoU, low', 'mapped, ha', 'boundary recall', 'mean IoU']
    """
    if column in _HEADINGS or column in WORDS:
        return _HEADINGS.get(column) or WORDS[column]
    name, _, last = column.rpartition("_")
    if name and last in ("low", "high", *_UNITS):
        return f"{heading(name)}, {last}"
    return column.replace("_", " ")


def _bars(classes: "pd.DataFrame", legend: Legend) -> str:
    """IoU of each class as a bar, with its interval as a line."""
    each: Sequence[Any] = list(classes.itertuples())
    shown = [(c, values) for c, values in zip(legend, each, strict=True) if values.iou == values.iou]
    height, left, width = 22, 170, 640
    parts = []
    for i, (c, values) in enumerate(shown):
        y = height * i + 4
        parts.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escaped(c.name[:24])}</text>'
            f'<rect x="{left}" y="{y}" width="{width * values.iou:.1f}" height="15" fill="{c.color}" '
            'stroke="#0003"/>'
            f'<text x="{left + width + 12}" y="{y + 12}">{values.iou:.3f}</text>'
        )
        if values.iou_low == values.iou_low:
            a, b = left + width * values.iou_low, left + width * values.iou_high
            parts.append(f'<path d="M{a:.1f} {y + 7.5}H{b:.1f}M{a:.1f} {y + 3}v9M{b:.1f} {y + 3}v9" stroke="#111"/>')
    bottom = height * len(shown) + 6
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * tick
        parts.append(
            f'<path d="M{x} 0V{bottom}" stroke="#0002"/><text x="{x}" y="{bottom + 14}" text-anchor="middle">{tick:g}'
            "</text>"
        )
    return svg(left + width + 70, bottom + 22, parts, "IoU of each class")


def _matrix(pixels: NDArray[np.int64], legend: Legend) -> str:
    k = len(legend)
    used = np.flatnonzero((pixels[:k].sum(axis=1) > 0) | (pixels[:, :k].sum(axis=0) > 0))
    if len(used) > _LARGEST_MATRIX:
        return f'<p class="small">{len(used)} classes: see the matrix in the table beside this page</p>'
    columns = [*used, k]
    names = [legend.names[i] for i in used]
    rows = []
    for i in used:
        total = int(pixels[i].sum())
        cells = [swatch(legend.classes[i].color) + escaped(legend.names[i])]
        for j in columns:
            share = pixels[i, j] / total if total else 0.0
            tint = "0,110,60" if i == j else "190,40,30"
            cells.append(
                f'<span style="background:rgba({tint},{min(0.8, share):.2f});padding:.1em .4em">{100 * share:.1f}'
                "</span>"
            )
        rows.append([*cells, f"{total:,}"])
    return html_table(("reference \\ prediction", *names, "no class", "pixels"), rows)


def _diagram(known: Reliability) -> str:
    """The reliability diagram: accuracy by confidence, with the share of pixels of each bin below."""
    side, left, top = 300, 50, 10
    middle = top + side // 2
    n = max(int(known.pixels.sum()), 1)
    parts = [f'<path d="M{left} {top + side}L{left + side} {top}" stroke="#888" stroke-dasharray="4 3"/>']
    for a, b, pixels, said, right in zip(
        known.edges[:-1], known.edges[1:], known.pixels, known.confidence, known.accuracy, strict=True
    ):
        if not pixels:
            continue
        x, w = left + side * a, side * (b - a) - 1
        parts.append(
            f'<rect x="{x:.1f}" y="{top + side * (1 - right):.1f}" width="{w:.1f}" height="{side * right:.1f}" '
            'fill="#4f7cac" fill-opacity=".75"/>'
            f'<circle cx="{left + side * said:.1f}" cy="{top + side * (1 - right):.1f}" r="3" fill="#a31515"/>'
            f'<rect x="{x:.1f}" y="{top + side + 34}" width="{w:.1f}" height="{60 * pixels / n:.1f}" fill="#999"/>'
        )
    parts += [
        f'<text x="{left + side * tick}" y="{top + side + 15}" text-anchor="middle">{tick:g}</text>'
        f'<text x="{left - 8}" y="{top + side * (1 - tick) + 4}" text-anchor="end">{tick:g}</text>'
        for tick in (0, 0.5, 1)
    ]
    parts += [
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="#999"/>',
        f'<text x="{left + side / 2}" y="{top + side + 29}" text-anchor="middle">confidence</text>',
        f'<text x="14" y="{middle}" transform="rotate(-90 14 {middle})" text-anchor="middle">accuracy</text>',
        f'<text x="{left + side + 14}" y="{top + side + 48}">share of pixels</text>',
        f'<text x="{left + side + 14}" y="{top + 16}">calibration error {known.ece:.4f}</text>',
        f'<text x="{left + side + 14}" y="{top + 34}">confidence less accuracy {known.overconfidence:+.4f}</text>',
    ]
    return svg(left + side + 230, top + side + 110, parts, "reliability diagram")


def _windows(evaluation: Evaluation) -> str:
    """The windows with the most wrong pixels of all scenes: reference, prediction, and what is wrong."""
    ranked = sorted(
        ((w, i) for i, s in enumerate(evaluation.scenes) for w in s.counts.worst), key=lambda pair: (pair[0], pair[1])
    )[:_WINDOWS]
    if not ranked:
        return '<p class="small">nothing is wrong</p>'
    figures = "".join(_figure(evaluation.scenes[i], w, evaluation.legend, evaluation.places[i]) for w, i in ranked)
    keys = "".join(f"{swatch(c.color)}{escaped(c.name)} &nbsp; " for c in evaluation.legend)
    note = "reference, prediction, and what differs (red)"
    return f'<p class="small">{note}; {keys}</p><div class="windows">{figures}</div>'


def _figure(scene: SceneScores, window: Window, legend: Legend, places: NDArray[np.int64]) -> str:
    side = scene.plan.window_px
    height, width = scene.plan.shape
    block = Block(
        row_off=window.row_off,
        col_off=window.col_off,
        height=min(side, height - window.row_off),
        width=min(side, width - window.col_off),
    )
    both = scene.plan.pixels(block)
    palette = np.full((256, 3), _UNKNOWN, dtype=np.uint8)
    for place, k in enumerate(places):
        palette[place] = legend.classes[k].rgb
    differs = np.where(both.truth == both.mapped, np.uint8(0), np.uint8(1))
    differs[(both.truth == NONE) | (both.mapped == NONE)] = 2
    pictures = (palette[both.truth], palette[both.mapped], np.array([_RIGHT, _WRONG, _UNKNOWN], np.uint8)[differs])
    images = "".join(
        f'<img alt="{what}" src="{data_uri(picture)}">'
        for what, picture in zip(("reference", "prediction", "difference"), pictures, strict=True)
    )
    where = (
        f"{escaped(scene.name)}, row {window.row_off}, column {window.col_off}{_lonlat(scene, block)}: "
        f"{100 * window.n_wrong / max(window.n, 1):.1f} % of {window.n:,} px wrong"
    )
    return f'<figure><div class="three">{images}</div><figcaption>{where}</figcaption></figure>\n'


def _lonlat(scene: SceneScores, block: Block) -> str:
    """Where the middle of a block is, so that it can be found on a map."""
    grid = scene.plan.geobox
    if grid.crs is None:
        return ""
    a, row, col = grid.affine, block.row_off + block.height / 2, block.col_off + block.width / 2
    x, y = a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f
    lon, lat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True).transform(x, y)
    return f" ({lat:.5f}, {lon:.5f})" if np.isfinite([lon, lat]).all() else ""
