"""`geoseg check`: whether scenes fit a model, without running it."""

import json
from typing import Any

import click

from geoseg.cli.input_options import aoi_of, aoi_options, band_files_option, band_options, clouds_option
from geoseg.cli.options import chosen_of, of_one_date, trust_option

__all__ = ["check"]


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@click.option("-m", "--model", help="As for geoseg run. [the one that it would take, which is said]")
@trust_option
@band_options
@aoi_options
@clouds_option
@band_files_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(inputs: tuple[str, ...], model: str | None, as_json: bool, **asked: Any) -> int:
    """Say for each scene whether it fits a model: bands, units, pixel size, pixels, validity. Nothing is computed.

    INPUTS are files, folders, globs or URLs, as for geoseg run. A few windows of each are read.

    Exit codes: 0 all fit, 1 some do not, 2 wrong usage.
    """
    from geoseg.cli.show import show_table
    from geoseg.models.load import load_model
    from geoseg.scene.inputs import find_rasters

    aoi = aoi_of(asked)
    pixels = {name: asked[name] for name in ("bands", "scale", "offset", "mask_clouds")}
    scenes = find_rasters(inputs, band_files=asked["band_files"])
    chosen = None if model is not None else chosen_of(asked, scenes)
    if chosen is not None:
        click.echo(chosen.said, err=True)
    loaded = of_one_date(load_model(chosen.name if chosen is not None else str(model), trust=asked["trust_model"]))
    verdicts = [_verdict(href, loaded, pixels, aoi) for href in scenes]
    if as_json:
        click.echo(json.dumps({"model": loaded.card.name, "scenes": verdicts}, indent=2))
    else:
        columns = ("scene", "fits", "bands", "units", "gsd_m", "pixels", "valid_percent", "why")
        show_table(columns, [[_shown(v[c]) for c in columns] for v in verdicts])
    return 0 if all(v["fits"] for v in verdicts) else 1


def _shown(value: Any) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(value)
    return "" if value is None else value


def _verdict(href: str, model: Any, pixels: dict[str, Any], aoi: Any) -> dict[str, Any]:
    """What is known of one scene, as plain values."""
    from geoseg.errors import GeosegError, printable
    from geoseg.models.at_gsd import at_gsd_of
    from geoseg.models.match import examine
    from geoseg.scene.gsd import gsd_m
    from geoseg.scene.guard import without_query
    from geoseg.scene.open import open_scene

    verdict: dict[str, Any] = dict.fromkeys(("bands", "units", "gsd_m", "pixels", "valid_percent"))
    verdict = {"scene": printable(without_query(href)), "fits": False} | verdict | {"why": [], "notes": []}
    try:
        scene = open_scene(href, **pixels)
        gsd = gsd_m(scene.geobox)
        scene, notes = at_gsd_of(model, scene)
        found = examine(model, scene, look=True)
        inside = None if aoi is None else aoi.inside(scene.geobox)
    except GeosegError as error:
        return verdict | {"why": [_without(href, str(error))]}
    kinds: set[str] = {problem.kind for problem in found.problems}
    why = [_without(href, problem.message) for problem in found.problems]
    if aoi is not None and inside is None:
        why.append(f"lies outside of the area of interest ({aoi.label})")
    return verdict | {
        "fits": not why,
        "bands": "missing" if found.fit is None else ",".join(b.name for b in found.fit.bands),
        "units": "not known" if "units" in kinds else model.card.units,
        "gsd_m": float(f"{gsd:.4g}"),
        "pixels": _state_of_pixels(found, kinds),
        "valid_percent": None if found.look is None else round(100 * found.look.valid_share, 1),
        "why": why,
        "notes": [*notes, *(() if found.fit is None else found.fit.notes)],
    }


def _state_of_pixels(found: Any, kinds: set[str]) -> str:
    if "damaged" in kinds:
        return "damaged"
    if "pixels" in kinds:
        return "doubtful"
    if found.fit is None or "units" in kinds:
        return "not known"
    return "none valid" if found.look is not None and not len(found.look.values) else "plausible"


def _without(href: str, message: str) -> str:
    """A message without the name of the file, which stands beside it."""
    from geoseg.errors import printable

    return message.removeprefix(f"{printable(href)}: ")
