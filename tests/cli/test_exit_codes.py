"""What is refused before anything starts ends with 2, whichever command it is asked of."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Command, WriteScene

OUT = Path("out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "SCENE", "-o", OUT, "-m", "change-siamese"], "model change-siamese takes 2 dates: give both with"),
        (["check", "SCENE", "-m", "change-siamese"], "model change-siamese takes 2 dates: give both with"),
        (["run", "SCENE", "-o", OUT, "-m", "kmeans:2", "--seed", -1], "-1 is not in the range x>=0"),
        (
            ["run", "SCENE", "-o", OUT, "-m", "kmeans:2", "--band-files", "B"],
            "--band-files B: write the name",
        ),
        (["check", "SCENE", "-m", "kmeans:2", "--band-files", "B"], "--band-files B: write the name"),
        (
            ["run", "SCENE", "-o", OUT, "-m", "kmeans:2", "--bbox", "0,0,1,1", "--dry-run"],
            "none of the 1 scenes touches the area of interest",
        ),
        (["change", "MAP", "MAP", "-o", OUT, "--legend", "nosuch"], "no legend is called 'nosuch'"),
        (["series", "MAP", "MAP", "MAP", "-o", OUT, "--legend", "nosuch"], "no legend is called 'nosuch'"),
        (["change", "MAP", "MAP", "-o", OUT, "--no-polygons", "--smooth"], "--smooth is of no use with --no-polygons"),
        (
            ["series", "MAP", "MAP", "MAP", "-o", OUT, "--no-polygons", "-f", "shp"],
            "--format is of no use",
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_is_refused_before_anything_starts_ends_with_2(
    words: list[object], message: str, write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    known = {
        "SCENE": write_scene(shape=(32, 32)),
        "MAP": write_scene("map.tif", pixels=np.ones((1, 32, 32), np.uint8)),
        OUT: tmp_path / OUT,
    }
    ended = geoseg_command(*(known.get(word, word) if isinstance(word, str | Path) else word for word in words))
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / OUT).exists()
