import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geoseg.errors import OutputError
from geoseg.outputs.together import together


def write(paths: list[Path]) -> None:
    for path in paths:
        path.write_text(path.name)


def test_files_appear_at_the_end_with_their_sides(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    finals = [tmp_path / "a.shp", tmp_path / "other" / "b.gpkg"]
    with together(finals) as paths:
        write([*paths, paths[0].with_suffix(".dbf")])
        assert not any(f.exists() for f in finals)
    assert [f.read_text() for f in finals] == ["a.shp", "b.gpkg"]
    assert {p.name for p in tmp_path.rglob("*")} == {"a.shp", "a.dbf", "other", "b.gpkg"}


def test_a_file_that_came_meanwhile_is_not_replaced_unless_it_may_be(tmp_path: Path) -> None:
    final = tmp_path / "a.gpkg"

    def meanwhile() -> None:
        with together([tmp_path / "b.gpkg", final], overwrite=False) as paths:
            write(paths)
            final.write_text("theirs")

    with pytest.raises(OutputError, match=r"a\.gpkg was written by something else meanwhile: name another output"):
        meanwhile()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.gpkg": "theirs"}


def test_files_of_one_stem_share_side_files_and_none_loses_its_own(tmp_path: Path) -> None:
    for name in ("p.shp", "p.dbf", "p.qix"):
        (tmp_path / name).write_text("old")
    names = ["p.gpkg", "p.shp", "p.fgb"]
    with together([tmp_path / name for name in names]) as paths:
        write([*paths, *(paths[1].with_suffix(end) for end in (".dbf", ".shx", ".qml"))])
    written = [*names, "p.dbf", "p.shx", "p.qml"]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: name for name in written}


def test_what_readers_would_take_for_parts_of_new_files_goes_and_the_rest_stays(tmp_path: Path) -> None:
    parts = ["c.tif.ovr", "c.tif.msk", "a.gpkg-wal", "a.gpkg-shm", "b.qix", "b.dbf"]
    others = ["b.c.dbf", "b.txt", "a.gpkg.txt"]
    for name in ("a.gpkg", *parts, *others):
        (tmp_path / name).write_text("old")
    with together([tmp_path / "a.gpkg", tmp_path / "b.shp", tmp_path / "c.tif"]) as paths:
        write(paths)
    kept = dict.fromkeys(others, "old") | {name: name for name in ("a.gpkg", "b.shp", "c.tif")}
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == kept


def test_nothing_appears_after_an_error_and_old_files_stay(tmp_path: Path) -> None:
    finals = [tmp_path / "a.gpkg", tmp_path / "b.gpkg"]
    finals[0].write_text("old")

    def fail() -> None:
        with together(finals) as paths:
            write(paths[:1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]
    assert finals[0].read_text() == "old"


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write into .*none.*create it"),
        together([tmp_path / "none" / "a.gpkg"]),
    ):
        pass


def test_what_a_killed_program_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from geoseg.outputs.together import together\n"
        "with together([pathlib.Path(sys.argv[1]) / 'a.gpkg']) as paths:\n"
        "    paths[0].write_text('half')\n"
        "    print('there', flush=True)\n"
        "    time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "there\n"
    with together([tmp_path / "b.gpkg"]) as paths:
        write(paths)
    assert len(list(tmp_path.rglob("a.gpkg"))) == 1  # in use
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    running.stdout.close()
    assert len(list(tmp_path.rglob("a.gpkg"))) == 1
    with together([tmp_path / "c.gpkg"]) as paths:
        write(paths)
    assert {p.name for p in tmp_path.rglob("*")} == {"b.gpkg", "c.gpkg"}


def test_many_that_begin_at_once_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    def begin(i: int) -> None:
        for k in range(50):
            with together([tmp_path / f"{i}-{k}.gpkg"]) as paths:
                write(paths)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert len(list(tmp_path.rglob("*"))) == 8 * 50


def test_an_error_names_the_file_and_not_where_it_is_written_meanwhile(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=rf"^cannot write {tmp_path}/a.gpkg: full$"),
        together([tmp_path / "a.gpkg"]) as paths,
    ):
        raise OutputError(f"cannot write {paths[0]}: full")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.gpkg")
    before = (tmp_path / "a.gpkg").stat().st_mode
    with pytest.raises(OutputError, match="taken by something that is not a file"), together([tmp_path / "a.gpkg"]):
        pytest.fail("it began")
    assert (tmp_path / "a.gpkg").stat().st_mode == before
