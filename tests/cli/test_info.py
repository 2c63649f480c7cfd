"""`geoseg info`, `models` and `doctor`, as text and as JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from geoseg.models.load import list_models, load_model
from tests.conftest import Command, WriteScene, blobs


def test_info_says_what_is_in_a_raster_and_which_models_fit(write_scene: WriteScene, geoseg_command: Command) -> None:
    names = ("blue", "green", "red", "nir")
    path = write_scene("in/s_20230517.tif", pixels=blobs(40, 50, n_bands=4, seed=3), descriptions=names, nodata=0)
    told = json.loads(geoseg_command("info", path, "--json").out)
    assert told["crs"] == "EPSG:32633"
    assert told["size"] == "50 x 40 px"
    assert told["gsd_m"] == pytest.approx(10, rel=0.01)
    assert told["acquired"].startswith("2023-05-17")
    assert [b["name"] for b in told["bands"]] == list(names)
    assert {b["nodata"] for b in told["bands"]} == {"0.0"}
    fits = {m["model"]: m for m in told["models"]}
    assert set(fits) == {m.name for m in list_models()}
    assert fits["kmeans"]["fits"] == "yes"
    assert fits["spectral"]["fits"] == "no"
    assert "pass --scale" in fits["spectral"]["why"]

    text = geoseg_command("info", path, "--scale", 0.0001)
    assert text.code == 0
    assert "EPSG:32633" in text.out
    assert "spectral,yes" in text.out
    assert "4,nir,uint16,0.0001" in text.out


def test_info_on_what_is_no_raster_ends_with_2(geoseg_command: Command, tmp_path: Path) -> None:
    ended = geoseg_command("info", tmp_path / "no.tif")
    assert ended.code == 2
    assert ended.err.startswith(f"error: {tmp_path / 'no.tif'}: cannot be read: no such file")


def test_models_are_listed_and_shown(geoseg_command: Command) -> None:
    names = [m.name for m in list_models()]
    text = geoseg_command("models", "list")
    assert [line.split(",")[0] for line in text.out.splitlines()[1:]] == names
    assert [m["name"] for m in json.loads(geoseg_command("models", "list", "--json").out)] == names
    for name in names:
        card = load_model(name)
        assert f"# digest: {card.digest}" in geoseg_command("models", "show", name).out
        shown = json.loads(geoseg_command("models", "show", name, "--json").out)
        assert (shown["name"], shown["digest"]) == (name, card.digest)
    ended = geoseg_command("models", "show", "spektral")
    assert ended.code == 2
    assert "did you mean spectral?" in ended.err


def test_the_card_that_is_shown_is_a_card(random_unet: Path, geoseg_command: Command) -> None:
    again = random_unet.parent / "again.yaml"
    again.write_text(geoseg_command("models", "show", random_unet).out, encoding="utf-8")
    assert load_model(again).digest == load_model(random_unet).digest


def test_doctor_finds_what_a_run_needs(geoseg_command: Command) -> None:
    ended = geoseg_command("doctor", "--json")
    told = json.loads(ended.out)
    assert set(told) == {"versions", "drivers", "machine", "problems"}
    assert ended.code == (1 if told["problems"] else 0)
    assert told["versions"]["numpy"] == np.__version__
    assert told["drivers"]["GTiff"] == "yes"
    text = geoseg_command("doctor")
    assert "GPKG" in text.out
    assert ("no problems found" in text.out) is not bool(told["problems"])


def test_doctor_names_a_stale_proj_database(
    geoseg_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    ended = geoseg_command("doctor")
    assert ended.code == 1
    assert "problem: OMP_WAIT_POLICY is not PASSIVE" in ended.err


def test_names_from_files_are_no_formulas_and_no_markup(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(descriptions=("=cmd|' /C calc'!A0", "[red]\\[bold]", "\x1b[2J"))
    ended = geoseg_command("info", path)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert ",=cmd" not in ended.out
    assert "'=cmd" in ended.out


def test_a_framed_table_shows_names_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from geoseg.cli.show import show_table

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_table(("name", "n"), [("[red]a\\[bold]b", 12)])
    assert "[red]a\\[bold]b" in capsys.readouterr().out
