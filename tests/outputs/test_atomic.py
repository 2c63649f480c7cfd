"""The write path: whatever happens, a final name is absent, old or complete."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geoseg.errors import OutputError, ParameterError
from geoseg.outputs.atomic import CRASH_POINTS, Aside, clean_leftovers, publish, staging


def accept(path: Path) -> None:
    assert path.read_text()


def visible(folder: Path) -> dict[str, str]:
    """Path to text of every file that is not hidden, nor in a hidden folder."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: p.read_text() for name, p in files.items() if not any(x.startswith(".") for x in Path(name).parts)}


def test_a_published_file_has_its_size_and_checksum(tmp_path: Path) -> None:
    published = publish(tmp_path / "a.csv", lambda tmp: _text(tmp, "abc"), accept)
    assert (published.size, published.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert (published.path.read_text(), list(tmp_path.iterdir())) == ("abc", [tmp_path / "a.csv"])


def test_the_hidden_name_keeps_the_suffix_that_drivers_look_for(tmp_path: Path) -> None:
    aside = Aside(tmp_path / "müll +1.v2.gpkg")
    assert aside.tmp.suffix == ".gpkg"
    assert aside.tmp.name.startswith(".müll +1.v2.")
    assert aside.tmp.parent == tmp_path


def test_side_files_are_published_with_the_file(tmp_path: Path) -> None:
    def write(tmp: Path) -> None:
        _text(tmp, "main")
        _text(tmp.with_name(f"{tmp.name}.aux.xml"), "pam")
        _text(tmp.with_suffix(".qml"), "style")

    published = publish(tmp_path / "x.y.tif", write, accept)
    assert visible(tmp_path) == {"x.y.tif": "main", "x.y.tif.aux.xml": "pam", "x.y.qml": "style"}
    assert [p.name for p in published.sides] == ["x.y.qml", "x.y.tif.aux.xml"]


@pytest.mark.parametrize("stage", ["write", "verify"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, stage: str) -> None:
    (tmp_path / "a.csv").write_text("old")

    def write(tmp: Path) -> None:
        _text(tmp, "new")
        _text(tmp.with_suffix(".qml"), "new")
        if stage == "write":
            raise RuntimeError("driver gave up")

    def verify(_: Path) -> None:
        raise ValueError("driver gave up")

    with pytest.raises(OutputError, match=r"cannot write .*a\.csv: driver gave up"):
        publish(tmp_path / "a.csv", write, verify)
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_a_wrong_parameter_stays_a_wrong_parameter(tmp_path: Path) -> None:
    def write(_: Path) -> None:
        raise ParameterError("no such thing")

    with pytest.raises(ParameterError, match="no such thing"):
        publish(tmp_path / "a.csv", write, accept)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def write(tmp: Path) -> None:
        _text(tmp, "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "a.csv", write, accept)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_and_a_taken_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is a file and no folder; choose another output"):
        publish(tmp_path / "file" / "more" / "a.txt", lambda _: None, lambda _: None)
    with pytest.raises(OutputError, match=r"there is no folder .*gone; create it"):
        publish(tmp_path / "gone" / "a.csv", accept, accept)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OutputError, match="the name is taken by something that is not a file"):
        publish(tmp_path / "a.csv", accept, accept)


def test_a_name_as_long_as_the_disk_takes_leaves_room_for_what_drivers_add(tmp_path: Path) -> None:
    def write(tmp: Path) -> None:
        journal = tmp.with_name(f"{tmp.name}-journal")
        _text(journal, "as SQLite does")
        journal.unlink()
        _text(tmp, "x")

    path = tmp_path / ("ü" * 125 + ".gpkg")
    assert publish(path, write, accept).path == path
    assert visible(tmp_path) == {path.name: "x"}


def test_a_name_too_long_for_the_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*File name too long"):
        publish(tmp_path / ("x" * 300 + ".csv"), lambda _: pytest.fail("too late"), accept)
    with pytest.raises(OutputError, match=r"cannot write into .*File name too long"), staging(tmp_path / ("x" * 300)):
        pass


def test_a_full_disk_is_said_with_numbers(tmp_path: Path) -> None:
    def write(tmp: Path) -> None:
        _text(tmp, "x" * 1024)
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"is nearly full \(0\.0 MiB of this file written, .* MiB free\): free more"):
        publish(tmp_path / "a.csv", write, accept)


def test_what_more_room_would_not_mend_is_not_put_down_to_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"cannot write .*Read-only file system") as caught:
        publish(tmp_path / "a.csv", write, accept)
    assert "nearly full" not in str(caught.value)


def test_an_fsync_error_condemns_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="Input/output error"):
        publish(tmp_path / "a.csv", lambda tmp: _text(tmp, "x"), accept)
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a.csv").symlink_to(tmp_path / "theirs")
    publish(tmp_path / "a.csv", lambda tmp: _text(tmp, "ours"), accept)
    assert visible(tmp_path) == {"theirs": "theirs", "a.csv": "ours"}


def test_staged_files_appear_together(tmp_path: Path) -> None:
    with staging(tmp_path / "s2") as stage:
        publish(stage / "s2_a.csv", lambda tmp: _text(tmp, "a"), accept)
        assert not visible(tmp_path)
    assert visible(tmp_path) == {"s2/s2_a.csv": "a"}
    assert [p.name for p in tmp_path.iterdir()] == ["s2"]


def test_a_failed_stage_vanishes_and_the_old_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "s2").mkdir()
    (tmp_path / "s2" / "s2_a.csv").write_text("old")

    def run() -> None:
        with staging(tmp_path / "s2", overwrite=True) as stage:
            (stage / "s2_a.csv").write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert [p.name for p in tmp_path.iterdir()] == ["s2"]
    assert visible(tmp_path) == {"s2/s2_a.csv": "old"}


def test_an_error_of_the_block_itself_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staging(tmp_path / "s2"):
        (tmp_path / "gone").read_text()
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_refused_unless_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s2").mkdir()
    with pytest.raises(OutputError, match="already there: pass --overwrite"), staging(tmp_path / "s2"):
        pass


def test_overwriting_drops_old_results_and_keeps_what_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "s2").mkdir()
    for name in ("s2_polygons.shp", "s2.json", "notes.txt"):
        (tmp_path / "s2" / name).write_text("old")
    with staging(tmp_path / "s2", overwrite=True) as stage:
        (stage / "s2_polygons.gpkg").write_text("new")
    assert visible(tmp_path) == {"s2/s2_polygons.gpkg": "new", "s2/notes.txt": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["s2"]


_OLD = {"s2/s2_a.csv": "old", "s2/s2_m.tif": "old", "s2/notes.txt": "mine"}
_NEW = {"s2/s2_a.csv": "new", "s2/s2_m.tif": "new", "s2/s2_m.qml": "new", "s2/notes.txt": "mine"}
_RUN = """
import sys
from pathlib import Path
from geoseg.outputs.atomic import publish, staging

def accept(tmp):
    assert tmp.read_text() == "new"

def write(tmp):
    tmp.write_text("new")
    if tmp.suffix == ".tif":
        tmp.with_suffix(".qml").write_text("new")

out = Path(sys.argv[1])
if sys.argv[2] == "staged":
    with staging(out / "s2", overwrite=True) as stage:
        for name in ("s2_a.csv", "s2_m.tif"):
            publish(stage / name, write, accept)
else:
    for name in ("s2/s2_a.csv", "s2/s2_m.tif"):
        publish(out / name, write, accept)
"""


def _killed(out: Path, how: str, at: str) -> bool:
    environment = {**os.environ, "GEOSEG_CRASH_AT": at}
    done = subprocess.run([sys.executable, "-c", _RUN, out, how], env=environment, capture_output=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()
    return done.returncode != 0


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_kill_9_at_any_point_of_a_staged_run_leaves_the_old_or_the_new_results(tmp_path: Path, point: str) -> None:
    for n in range(1, 4):
        out = tmp_path / str(n)
        _fill(out)
        killed = _killed(out, "staged", f"{point}:{n}")
        assert visible(out) in ({}, _OLD, _NEW, {k: v for k, v in _NEW.items() if k != "s2/notes.txt"})
        clean_leftovers(out)
        assert visible(out) in (_OLD, _NEW)
        assert [p.name for p in out.iterdir()] == ["s2"]
        assert not _killed(out, "staged", "")
        assert visible(out) == _NEW
        if not killed:
            assert n > 1, f"{point} is never passed"
            break


@pytest.mark.parametrize("point", CRASH_POINTS[:7])
def test_kill_9_at_any_point_of_a_file_leaves_no_half_file(tmp_path: Path, point: str) -> None:
    for n in (1, 2):
        out = tmp_path / str(n)
        _fill(out)
        if not _killed(out, "plain", f"{point}:{n}"):
            break
        left = visible(out)
        assert set(left.values()) <= {"old", "new", "mine"}
        assert left["s2/s2_a.csv"] in {"old", "new"}
        # never an old map under a new style
        assert not ("s2/s2_m.qml" in left and left.get("s2/s2_m.tif") == "old")
        clean_leftovers(out / "s2")
        assert all(not p.name.startswith(".") for p in (out / "s2").iterdir())


def test_cleaning_leaves_hidden_files_of_others_alone(tmp_path: Path) -> None:
    for name in (".git", ".part", ".x.part.tif", ".x.12345678.part.tif", ".x.12345678.part"):
        (tmp_path / name).write_text("")
    assert clean_leftovers(tmp_path) == [".x.12345678.part", ".x.12345678.part.tif"]


def _fill(out: Path) -> None:
    (out / "s2").mkdir(parents=True)
    for name, text in _OLD.items():
        (out / name).write_text(text)


def _text(path: Path, text: str) -> None:
    path.write_text(text)
