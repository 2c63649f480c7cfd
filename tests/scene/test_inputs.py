"""Folders, globs and files become one sorted list of rasters."""

import os
from pathlib import Path

import pytest

from geoseg.errors import InputError
from geoseg.scene.inputs import find_rasters


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.tif", "a.TIF", "c/z.tiff", "c/d/y.jp2", "out/map.tif", "readme.txt", "a.TIF.ovr", "a.TIF.msk",
        "b.tif.aux.xml", ".hidden.tif", ".cache/x.tif", "x.tif/inner.tif", "odd [1].tif",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(folder: Path, *named: str | Path, exclude: Path | None = None) -> list[str]:
    return [os.path.relpath(p, folder) for p in find_rasters(named, exclude=exclude)]


def test_a_folder_is_searched_through_all_levels_and_sorted(folder: Path) -> None:
    rasters = ["a.TIF", "b.tif", "odd [1].tif", "c/z.tiff", "c/d/y.jp2", "out/map.tif", "x.tif/inner.tif"]
    assert found(folder, folder) == rasters


def test_the_output_folder_inside_the_input_is_not_searched(folder: Path) -> None:
    for named in (folder, folder / "**", folder / "*", folder / "**" / "*.tif"):
        rasters = found(folder, named, exclude=folder / "out")
        assert "b.tif" in rasters
        assert "out/map.tif" not in rasters


def test_a_glob_takes_rasters_only(folder: Path) -> None:
    assert found(folder, folder / "[ab].*") == ["a.TIF", "b.tif"]
    assert found(folder, folder / "**" / "*.tif*") == [
        "b.tif",
        "c/z.tiff",
        "odd [1].tif",
        "out/map.tif",
        "x.tif/inner.tif",
    ]


def test_a_file_with_a_globs_characters_in_its_name_is_itself(folder: Path) -> None:
    assert found(folder, folder / "odd [1].tif") == ["odd [1].tif"]


def test_a_file_that_is_named_is_taken_whatever_it_is(folder: Path) -> None:
    named = [folder / "readme.txt", folder / "missing.tif"]
    assert found(folder, *named) == ["readme.txt", "missing.tif"]


def test_each_raster_comes_once_in_the_order_named(folder: Path) -> None:
    assert found(folder, folder / "c", folder / "b.tif", folder / "c" / "z.tiff") == ["c/z.tiff", "c/d/y.jp2", "b.tif"]


def test_names_on_a_network_are_kept_as_they_are() -> None:
    assert find_rasters(["https://example.org/a.tif?x=[1]", "s3://bucket/*.tif"]) == [
        "https://example.org/a.tif?x=[1]",
        "s3://bucket/*.tif",
    ]


def test_links_that_loop_end(folder: Path) -> None:
    (folder / "c" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self.tif").symlink_to(folder / "self.tif")
    rasters = found(folder, folder)
    assert rasters.count("b.tif") == 1
    assert "self.tif" in rasters
    assert not any("up" in r for r in rasters)


def test_a_link_to_a_folder_is_searched_when_it_is_named(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "c", target_is_directory=True)
    assert found(folder, folder / "link") == ["link/z.tiff", "link/d/y.jp2"]


@pytest.mark.parametrize("named", [[], ["empty"], ["*.nothing"]])
def test_nothing_found_is_an_error_that_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no rasters found in .*: name files or folders with \.tif"):
        find_rasters(named)
