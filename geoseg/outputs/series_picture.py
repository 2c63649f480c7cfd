"""A picture of a series: when land changed first, how often, and the areas of classes over time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.change_picture import colors_of, draw_legend, draw_pixels, publish_picture, short

__all__ = ["SeriesView", "write_series_picture"]

_SIZE_IN: Final = (20.0, 6.2)
_MOST_LINES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesView:
    """What is drawn."""

    first: NDArray[np.uint8]
    """(rows, cols) a coarse view of the raster of first change: values of its legend."""
    count: NDArray[np.uint8]
    """(rows, cols) likewise of the numbers of changes."""
    first_legend: Legend
    """Dates."""
    count_legend: Legend
    """Numbers."""
    areas: Any
    """Area of each class on each date, a DataFrame: see `geoseg.change.series_tables.area_series`."""
    legend: Legend
    """Of the classes."""
    times: tuple[datetime, ...] | None
    """Of the dates; None draws them evenly spaced."""


def write_series_picture(view: SeriesView, path: Path) -> Published:
    """Draw a series into a PNG.

    Args:
        view: What is drawn.
        path: Final name, ``.png``.

    Raises:
        ParameterError: If matplotlib is not installed.
        OutputError: If the file cannot be written, or is no such image when it is read back.
    """
    return publish_picture(path, _SIZE_IN, lambda figure: _draw(figure, view))


def _draw(figure: Any, view: SeriesView) -> None:
    shape = {"width_ratios": (1, 1, 1.4), "left": 0.01, "right": 0.985, "top": 0.9, "bottom": 0.2, "wspace": 0.1}
    axes = figure.subplots(1, 3, gridspec_kw=shape)
    for ax, pixels, legend, title in (
        (axes[0], view.first, view.first_legend, "First change"),
        (axes[1], view.count, view.count_legend, "Number of changes"),
    ):
        draw_pixels(ax, colors_of(legend)[pixels], title)
        there = set(np.unique(pixels).tolist()) | {0}
        shown = tuple(c for c in legend if c.value in there)
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 3, "fontsize": 9}
        draw_legend(ax, Legend(classes=shown, nodata=legend.nodata), **below)
    _lines(axes[2], view)


def _lines(ax: Any, view: SeriesView) -> None:
    """Percent of what was observed on each date: hectares would move with the clouds."""
    table = view.areas
    labels = list(dict.fromkeys(table["date"]))
    along: Any = np.arange(len(labels)) if view.times is None else [t.replace(tzinfo=None) for t in view.times]
    largest = table.groupby("class_id")["percent"].max().sort_values(ascending=False)
    shown = [c for c in view.legend if c.value in set(largest.index[:_MOST_LINES])]
    for c in shown:
        percent = table[table["class_id"] == c.class_id]["percent"].to_numpy()
        ax.plot(along, percent, color=c.color, marker="o", linewidth=2, markersize=4, label=short(c.name))
    ax.set_ylim(bottom=0)
    ax.set_ylabel("percent of the observed area")
    ax.set_title("Area of each class", fontsize=11)
    ax.set_xticks(along, [short(label, 10) for label in labels], rotation=30, ha="right", fontsize=9)
    ax.grid(visible=True, axis="y", color="#dddddd")
    ax.spines[["top", "right"]].set_visible(False)
    handles, names = ax.get_legend_handles_labels()
    made = ax.legend(handles, names, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=4, frameon=False, fontsize=9)
    for text in made.get_texts():
        text.set_parse_math(False)
