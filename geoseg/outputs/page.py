"""Pages of HTML in one file that open offline and run no script: a report, an evaluation.

Every text that comes from a file is escaped; colours come from legends, which have checked them.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from geoseg.errors import printable

__all__ = ["as_number", "document", "escaped", "html_table", "section", "svg", "swatch"]

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1a; background: #fff; max-width: 1080px; margin: 2em auto;
  padding: 0 1.2em; overflow-wrap: break-word; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .22em .7em; text-align: right; border-bottom: 1px solid #e4e4e0; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #999; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .small { color: #55554f; font-size: .88em; } .bad { color: #a31515; }
.swatch { display: inline-block; width: .8em; height: .8em; border: 1px solid #0003; margin-right: .45em; }
.windows { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 1.4em; }
svg { max-width: 100%; height: auto; }
figure { margin: 0; min-width: 0; } figcaption { font-size: .85em; margin-top: .3em; overflow-wrap: anywhere; }
.two { display: flex; gap: 4px; } .two img { width: 49%; image-rendering: pixelated; border: 1px solid #0002; }
.three { display: flex; gap: 4px; } .three img { width: 33%; image-rendering: pixelated; border: 1px solid #0002; }
""".strip()


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: As text.
        parts: Of its body, as HTML; empty ones are left out.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        # no script, nothing from elsewhere, whatever a text should hold
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{_STYLE}\n</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def escaped(value: object) -> str:
    """A value as text that is shown, whatever it holds."""
    return escape(printable(value))


def section(heading: str, content: str) -> str:
    """HTML under a heading; nothing where there is none."""
    return f'<h2>{escaped(heading)}</h2>\n<div class="wide">{content}</div>' if content else ""


def as_number(value: Any) -> str:
    """A number as people read it; nothing where there is none."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return escaped(value)
    number = float(value)
    if number == int(number) and abs(number) >= 1:
        return f"{int(number):,}"
    return f"{number:,.4f}" if abs(number) < 10 else f"{number:,.1f}"


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML under a header that is text."""
    head = "".join(f"<th>{escaped(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def swatch(colour: str) -> str:
    """A small square of a colour, ``#rrggbb``."""
    return f'<span class="swatch" style="background:{colour}"></span>'


def svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    """A drawing of this many pixels, with what it shows as text for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escaped(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" '
        f'font-size="12" fill="#1c1c1a" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )
