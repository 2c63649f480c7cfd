"""`geoseg doctor`: versions, drivers, devices, threads, and what is wrong with them."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

__all__ = ["doctor"]

_RASTER_DRIVERS = ("GTiff", "COG", "VRT", "JP2OpenJPEG", "HFA", "ENVI", "PNG", "JPEG")
_VECTOR_DRIVERS = ("GPKG", "ESRI Shapefile", "FlatGeobuf", "GeoJSON")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Show versions, GDAL drivers, devices and threads, and what is wrong with them.

    Exit code 1 when something that a run needs does not work.
    """
    from geoseg.jobs.versions import versions

    problems: list[str] = []
    facts: dict[str, Any] = {"versions": versions(), "drivers": _drivers(problems), "machine": _machine(problems)}
    _check_proj(problems)
    if as_json:
        click.echo(json.dumps(facts | {"problems": problems}, indent=2))
    else:
        for section, content in facts.items():
            click.echo(section)
            for name, value in content.items():
                click.echo(f"  {name:30} {value}")
        for problem in problems:
            click.echo(f"problem: {problem}", err=True)
        if not problems:
            click.echo("no problems found")
    return 1 if problems else 0


def _drivers(problems: list[str]) -> dict[str, str]:
    import pyogrio
    import rasterio

    with rasterio.Env() as env:
        raster = env.drivers()
    vector = pyogrio.list_drivers(write=True)
    found = {name: "yes" if name in raster else "missing" for name in _RASTER_DRIVERS}
    found |= {name: "yes" if name in vector else "missing" for name in _VECTOR_DRIVERS}
    problems += [
        f"GDAL has no driver {name}: files of that kind cannot be read or written; install rasterio and pyogrio wheels"
        for name, state in found.items()
        if state == "missing"
    ]
    return found


def _machine(problems: list[str]) -> dict[str, object]:
    import torch

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    temporary = Path(tempfile.gettempdir())
    free = shutil.disk_usage(temporary).free
    if free < 1 << 30:
        problems.append(f"{temporary} has {free >> 20} MiB free: set TMPDIR to a folder with more")
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        problems.append("OMP_WAIT_POLICY is not PASSIVE: on busy cores the network runs 3 to 4 times slower; unset it")
    return {
        "cores": os.cpu_count() or 1,
        "torch threads": torch.get_num_threads(),
        "memory MiB": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "devices": ", ".join(devices),
        "free in temporary folder MiB": free >> 20,
    }


def _check_proj(problems: list[str]) -> None:
    """A PROJ_DATA left by another program breaks rasterio's CRSs while pyproj and pyogrio go on."""
    import rasterio.crs
    from rasterio.errors import CRSError

    try:
        rasterio.crs.CRS.from_epsg(32633).to_wkt()
    except CRSError as error:
        names = [n for n in ("PROJ_DATA", "PROJ_LIB") if n in os.environ]
        mend = f"unset {' and '.join(names)}" if names else "reinstall rasterio"
        problems.append(f"rasterio's PROJ database does not work ({error}): {mend}")
