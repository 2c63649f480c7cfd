"""`geoseg info`: what geoseg sees in a raster, and which models fit it."""

import json
from typing import Any

import click

from geoseg.cli.input_options import band_files_option, band_options, clouds_option
from geoseg.errors import GeosegError, printable

__all__ = ["info"]


@click.command()
@click.argument("raster")
@band_options
@clouds_option
@band_files_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(raster: str, as_json: bool, band_files: str | None, **asked: Any) -> None:
    """Show what geoseg sees in RASTER: grid, bands, pixel size on the ground, validity, and which models fit.

    RASTER is a file, a URL, a product (a folder, an archive, its metadata), or a path with {band} in it.
    """
    from geoseg.cli.show import show_table
    from geoseg.scene.gsd import gsd_m
    from geoseg.scene.open import open_scene

    if band_files is not None:
        from geoseg.scene.inputs import find_rasters

        found = find_rasters([raster], band_files=band_files)
        if len(found) > 1:
            raise click.UsageError(f"{band_files} fits {len(found)} scenes; name one: {printable(found[0])}")
        raster = found[0]
    scene = open_scene(raster, **asked)
    box = scene.geobox
    assert box.crs is not None  # open_scene refuses scenes without one
    facts: dict[str, Any] = {
        "file": scene.href,
        "product": scene.product or None,
        "size": f"{scene.width} x {scene.height} px",
        "crs": str((box.crs.to_epsg() and f"EPSG:{box.crs.to_epsg()}") or box.crs.proj.name),
        "transform": ", ".join(f"{v:.10g}" for v in box.transform[:6]),
        "gsd_m": float(f"{gsd_m(box):.4g}"),
        "validity": "nodata values and NaN" + (", alpha or mask" if scene.validity == "mask" else ""),
        "clouds": _clouds(scene),
        "cloudy": None if scene.cloud_percent is None else f"{scene.cloud_percent:g} %",
        "blocks": f"{scene.block_shape[1]} x {scene.block_shape[0]} px",
        "acquired": scene.acquired.isoformat() if scene.acquired else None,
        "driver": scene.driver,
    }
    bands = [_band(i, b, scene) for i, b in enumerate(scene.bands, 1)]
    models = _verdicts(scene)
    if as_json:
        content = facts | {"bands": [b | {"nodata": None if b["nodata"] is None else str(b["nodata"])} for b in bands]}
        click.echo(json.dumps(content | {"models": models}, indent=2))
        return
    for name, value in facts.items():
        if value is not None or name not in ("product", "clouds", "cloudy"):  # a plain raster is none, and has none
            click.echo(f"{name:10} {'not known' if value is None else printable(value)}")
    click.echo()
    show_table(
        tuple(bands[0]),
        [tuple("" if v is None else v for v in b.values()) for b in bands],
    )
    show_table(("model", "fits", "why"), [(m["model"], m["fits"], m["why"]) for m in models])


def _band(number: int, band: Any, scene: Any) -> dict[str, Any]:
    """What is known of a band; ``pixels`` is their size in pixels of the scene."""
    from geoseg.scene.guard import without_query

    return {
        "band": number if scene.files else band.index,
        "name": band.name,
        "dtype": band.dtype,
        "scale": band.scale,
        "offset": band.offset,
        "nodata": band.nodata,
        "title": band.title,
        "pixels": 1.0 if band.sampling is None else float(f"{1 / band.sampling.row_step:.6g}"),
        "file": printable(without_query(band.href).replace(chr(92), "/").rpartition("/")[2]) if scene.files else "",
    }


def _clouds(scene: Any) -> str | None:
    if not scene.clouds:
        return None
    return f"{scene.clouds} ({'left out' if scene.masks else 'kept; --mask-clouds leaves them out'})"


def _verdicts(scene: Any) -> list[dict[str, str]]:
    """For each shipped model whether it fits the scene, and what it says."""
    from geoseg.models.at_gsd import at_gsd_of
    from geoseg.models.load import list_models, load_model
    from geoseg.models.match import match

    verdicts = []
    for entry in list_models():
        try:
            model = load_model(entry.name)
            there, notes = at_gsd_of(model, scene)
            fit = match(model, there)
            verdicts.append({"model": entry.name, "fits": "yes", "why": "; ".join((*notes, *fit.notes))})
        except GeosegError as error:
            why = str(error).removeprefix(f"{printable(scene.href)}: ")
            verdicts.append({"model": entry.name, "fits": "no", "why": why})
    return verdicts
