"""However a scene is cut and wherever its blocks run, the result is the same to the bit."""

from pathlib import Path

import pytest

from tests.conftest import Command, WriteScene, blobs

CUTS: dict[str, list[str]] = {
    "small blocks": ["--block-size", "512"],
    "batches of 3": ["--batch-size", "3"],
    "two processes": ["-j", "2", "--block-size", "512"],
}
FILES = ("classes.tif", "confidence.tif", "areas.csv")


def results(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.rglob("*") if p.name.endswith(FILES) and p.name != "areas.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["spectral", "network"])
def test_blocks_batches_and_processes_change_nothing(
    model: str, write_scene: WriteScene, geoseg_command: Command, random_unet: Path
) -> None:
    if model == "network":
        path = write_scene(shape=(540, 560), nodata=0, tiled=True, blockxsize=256, blockysize=128)
        words: list[object] = ["-m", random_unet, "--no-polygons"]
    else:
        pixels = blobs(530, 1060, n_bands=4)
        pixels[:, 490:530, 200:700] = 0
        path = write_scene(pixels=pixels, nodata=0, descriptions=("blue", "green", "red", "nir"))
        words = ["-m", "spectral", "--scale", 0.0001, "--no-polygons"]
    whole = path.parents[1] / "whole"
    ended = geoseg_command("run", path, "-o", whole, *words)
    assert ended.code == 0, ended.err
    expected = results(whole)
    assert len(expected) == 3
    # convolutions of another batch may round otherwise, see tests/inference/test_rows.py
    cuts = [cut for name, cut in CUTS.items() if not (model == "network" and name == "batches of 3")]
    for i, cut in enumerate(cuts):
        out = path.parents[1] / f"cut{i}"
        ended = geoseg_command("run", path, "-o", out, *words, *cut)
        assert ended.code == 0, ended.err
        assert results(out) == expected, cut


def test_the_order_of_inputs_changes_nothing_but_the_order_of_the_table(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    paths = [write_scene(f"in/{name}.tif", seed=i) for i, name in enumerate("abc")]
    outs = [paths[0].parents[1] / name for name in ("there", "back")]
    for out, order in zip(outs, (paths, paths[::-1]), strict=True):
        assert geoseg_command("run", *order, "-o", out, "-m", "kmeans:3", "--no-polygons").code == 0
    assert results(outs[0]) == results(outs[1])
    there, back = (sorted((out / "areas.csv").read_text("utf-8").splitlines()) for out in outs)
    assert there == back
