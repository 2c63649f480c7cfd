"""A picture of change: before, after, what changed, and the flows between classes. Drawn with matplotlib, offline."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.legend import Legend
from geoseg.outputs.aside import Published, publish

__all__ = [
    "ChangeView",
    "colors_of",
    "draw_legend",
    "draw_pixels",
    "publish_picture",
    "require_matplotlib",
    "short",
    "write_change_picture",
]

_SIZE_IN: Final = (20.0, 6.2)
_DPI: Final = 100
_EMPTY: Final = (1.0, 1.0, 1.0)
_GAP: Final = 0.02  # between bars, as a share of their height together
_LONGEST: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeView:
    """What is drawn: a coarse view of the maps, and the flows of all their pixels."""

    before: NDArray[np.uint8]
    """(rows, cols) place of each pixel in the legend; others are not observed."""
    after: NDArray[np.uint8]
    """Likewise on the second date."""
    codes: NDArray[np.uint8]
    """(rows, cols) change codes: values of ``change_legend``."""
    legend: Legend
    """Of both dates."""
    change_legend: Legend
    """Of the codes, no change first."""
    flows_ha: NDArray[np.float64]
    """(K, K) hectares that went from each class to each other."""
    titles: tuple[str, str]
    """Of the two maps."""


def require_matplotlib() -> None:
    """Refuse to draw where matplotlib is not installed.

    Raises:
        ParameterError: If it is not.
    """
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError as error:
        raise ParameterError(
            "a picture needs matplotlib, which is not installed: pip install 'geoseg[report]', or leave --picture out"
        ) from error


def write_change_picture(view: ChangeView, path: Path) -> Published:
    """Draw a comparison into a PNG.

    Args:
        view: What is drawn.
        path: Final name, ``.png``.

    Raises:
        ParameterError: If matplotlib is not installed.
        OutputError: If the file cannot be written, or is no such image when it is read back.
    """
    return publish_picture(path, _SIZE_IN, lambda figure: _draw(figure, view))


def publish_picture(path: Path, size_in: tuple[float, float], draw: Callable[[Any], None]) -> Published:
    """Publish what is drawn into a figure as a PNG.

    Args:
        path: Final name, ``.png``.
        size_in: Width and height in inches of 100 px.
        draw: Is given the figure.

    Raises:
        ParameterError: If matplotlib is not installed.
        OutputError: If the file cannot be written, or is no such image when it is read back.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def write(tmp: Path) -> None:
        figure = Figure(figsize=size_in, dpi=_DPI)
        canvas = FigureCanvasAgg(figure)  # no window, whatever the machine
        draw(figure)
        with warnings.catch_warnings():
            # a name in letters that the font lacks is drawn with boxes
            warnings.filterwarnings("ignore", message="Glyph")
            canvas.print_figure(tmp, format="png", dpi=_DPI, metadata={"Software": None})

    def verify(tmp: Path) -> None:
        from matplotlib.image import imread

        shape = imread(tmp).shape[:2]
        if shape != (round(size_in[1] * _DPI), round(size_in[0] * _DPI)):
            raise OutputError(f"the picture read back with {shape[1]} x {shape[0]} px")

    return publish(path, write, verify)


def _draw(figure: Any, view: ChangeView) -> None:
    axes = figure.subplots(1, 4, gridspec_kw={"left": 0.01, "right": 0.99, "top": 0.9, "bottom": 0.16, "wspace": 0.04})
    classes = np.array([c.rgb for c in view.legend]) / 255
    for ax, places, title in zip(axes, (view.before, view.after), view.titles, strict=False):
        draw_pixels(ax, _colored(places, classes), title)
    draw_pixels(axes[2], colors_of(view.change_legend)[view.codes], "Change")
    _flows(axes[3], view)
    draw_legend(figure, view.legend, loc="lower center", fontsize=10)


def colors_of(legend: Legend) -> NDArray[np.float64]:
    """(256, 3) colour of each class value, white where there is no class."""
    table = np.full((256, 3), _EMPTY)
    for c in legend:
        table[c.value] = np.array(c.rgb) / 255
    return table


def _colored(places: NDArray[np.uint8], colors: NDArray[np.float64]) -> NDArray[np.float64]:
    table = np.full((256, 3), _EMPTY)
    table[: len(colors)] = colors
    return np.asarray(table[places])


def draw_pixels(ax: Any, pixels: NDArray[np.float64], title: str) -> None:
    """Draw (rows, cols, 3) colours as a map with a title."""
    ax.imshow(pixels, interpolation="nearest")
    ax.set_title(short(title, 2 * _LONGEST), fontsize=11, parse_math=False)
    ax.set_xticks([])
    ax.set_yticks([])


def draw_legend(where: Any, legend: Legend, **options: Any) -> None:
    """Draw the first 16 classes of a legend.

    Args:
        where: A figure or axes.
        legend: The classes.
        options: Of matplotlib's legend.
    """
    from matplotlib.patches import Patch

    shown = legend.classes[:16]
    handles = [Patch(facecolor=c.color, edgecolor="#888888", label=short(c.name)) for c in shown]
    made = where.legend(handles=handles, frameon=False, **{"ncols": min(8, len(handles)), **options})
    for text in made.get_texts():
        text.set_parse_math(False)


def _flows(ax: Any, view: ChangeView) -> None:
    """What each class lost on the left, what each gained on the right, and bands between them as wide as areas."""
    flows = view.flows_ha.copy()
    np.fill_diagonal(flows, 0)
    total = float(flows.sum())
    ax.set_axis_off()
    ax.set_title(f"{total:,.0f} ha changed" if total >= 10 else f"{total:.2f} ha changed", fontsize=12)
    ax.set_xlim(-0.45, 1.45)
    ax.set_ylim(1.02, -0.02)
    if not total:
        return
    sides = [_bars(flows.sum(axis=axis)) for axis in (1, 0)]
    scale = 1 / max(end for _, end in sides)
    for x, (tops, _), amounts in zip((0.0, 1.0), sides, (flows.sum(axis=1), flows.sum(axis=0)), strict=True):
        for k in np.flatnonzero(amounts):
            height = float(amounts[k] / total * scale)
            top = float(tops[k] * scale)
            ax.add_patch(_bar(x, top, height, view.legend.classes[k].color))
            if height > 0.012:
                label = f"{short(view.legend.names[k])}\n{amounts[k]:,.1f} ha"
                side = {"ha": "right", "x": x - 0.06} if x == 0 else {"ha": "left", "x": x + 0.06}
                ax.text(y=top + height / 2, s=label, va="center", fontsize=8, parse_math=False, **side)
    at = [tops.copy() for tops, _ in sides]
    for i, j in np.argwhere(flows):
        height = flows[i, j] / total
        left, right = at[0][i] * scale, at[1][j] * scale
        ax.add_patch(_band(float(left), float(right), float(height * scale), view.legend.classes[j].color))
        at[0][i] += height
        at[1][j] += height


def _bars(amounts: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Where the bar of each class begins, as a share of all, and where the last one ends."""
    heights = amounts / amounts.sum()
    steps = np.where(amounts > 0, heights + _GAP, 0)
    return np.concatenate([[0.0], np.cumsum(steps)[:-1]]), float(steps.sum() - _GAP)


def _bar(x: float, top: float, height: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.04, top), 0.08, height, facecolor=color, edgecolor="#555555", linewidth=0.5)


def _band(left: float, right: float, height: float, color: str) -> Any:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    x = (0.04, 0.5, 0.96)
    points = [
        (x[0], left), (x[1], left), (x[1], right), (x[2], right),
        (x[2], right + height), (x[1], right + height), (x[1], left + height), (x[0], left + height), (x[0], left),
    ]  # fmt: skip
    kinds = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3, Outline.CLOSEPOLY]
    return PathPatch(Outline(points, kinds), facecolor=color, alpha=0.55, linewidth=0)


def short(name: str, longest: int = _LONGEST) -> str:
    """A name for a picture, without its end where it is long."""
    text = printable(name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
