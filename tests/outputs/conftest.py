"""Small scenes with known content, and a disk that is too small for them."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.inference.lattice import Block
from geoseg.legend import Legend, LegendClass
from geoseg.outputs.parts import Part, PartWriter

Rasters = tuple[NDArray[np.uint8], ...]
WriteParts = Callable[[Path, Rasters, Sequence[Block]], list[Part]]


@pytest.fixture(scope="session")
def legend() -> Legend:
    """Values with gaps, names with what XML, CSV and shells care about."""
    return Legend(
        classes=(
            LegendClass(value=1, name='Wald & <Wiese> "alt"', color="#1b7837"),
            LegendClass(value=2, name="水", color="#2166ac"),
            LegendClass(value=7, name="=SUM(A1)", color="#B2182B"),
        )
    )


@pytest.fixture(scope="session")
def rasters() -> Rasters:
    """A class map and its confidence, 700 rows and 1100 columns: blobs, specks, a nodata corner."""
    rng = np.random.default_rng(7)
    coarse = rng.choice(np.array([1, 2, 7], np.uint8), (70, 110))
    classes = coarse.repeat(10, axis=0).repeat(10, axis=1)
    specks: NDArray[np.bool_] = rng.random(classes.shape) < 0.05
    classes[specks] = rng.choice(np.array([1, 2, 7], np.uint8), int(specks.sum()))
    classes[:130, :97] = 255
    confidence = rng.integers(30, 101, classes.shape, dtype=np.uint8)
    confidence[classes == 255] = 255
    return classes, confidence


@pytest.fixture(scope="session")
def probabilities(rasters: Rasters) -> NDArray[np.uint8]:
    """For each class of the legend (class, row, col) some of 254 steps, nodata where the class map has it."""
    rng = np.random.default_rng(8)
    first, second = np.sort(rng.integers(0, 255, (2, *rasters[0].shape), dtype=np.uint8), axis=0)
    shares = np.stack([first, second - first, 254 - second])
    shares[:, rasters[0] == 255] = 255
    return shares


@pytest.fixture(scope="session")
def geobox(rasters: Rasters) -> GeoBox:
    return GeoBox(rasters[0].shape, Affine(10, 0, 399960, 0, -10, 5000040), "EPSG:32633")


@pytest.fixture(scope="session")
def write_parts() -> WriteParts:
    def write(folder: Path, rasters: Rasters, blocks: Sequence[Block]) -> list[Part]:
        parts = []
        for i, b in enumerate(blocks):
            window = np.s_[b.row_off : b.row_end, b.col_off : b.col_end]
            shares = rasters[2][:, *window] if len(rasters) > 2 else None
            n_probabilities = 0 if shares is None else len(shares)
            with PartWriter(folder / f"part{i}.tif", block=b, n_probabilities=n_probabilities) as writer:
                writer.write_rows(rasters[0][window], rasters[1][window], shares)
                parts.append(writer.finish())
        return parts

    return write


@pytest.fixture(scope="session")
def whole() -> Callable[[Rasters], Block]:
    """The block that is all of a raster."""
    return lambda rasters: Block(row_off=0, col_off=0, height=rasters[0].shape[0], width=rasters[0].shape[1])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that gives an empty disk of so many kilobytes; needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")

    def resize(kib: int) -> Path:
        for file in disk.iterdir():
            file.unlink()
        subprocess.run(["mount", "-o", f"remount,size={kib}k", disk], check=True)
        return disk

    yield resize
    subprocess.run(["umount", disk], check=True)
