"""What cannot be used is refused in a line that names it and the mend; exit codes tell how much was done."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rasterio
import yaml

from tests.conftest import Command, WriteScene, blobs


def only_results_and_records(out: Path) -> set[str]:
    """What is in an output folder; anything hidden or half-named fails."""
    if not out.exists():
        return set()
    names = {str(p.relative_to(out)) for p in out.rglob("*")}
    assert not [n for n in names if any(part.startswith(".") for part in Path(n).parts) or ".part" in n], names
    return {n.split("/")[0] for n in names}


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SCENES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (Path.unlink, "cannot be read: no such file", "check the path"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file of 0 bytes", "copy or download it again"),
    "truncated": (truncated, "cannot be read at row", "damaged or truncated: copy or download it again"),
    "no raster": (lambda path: path.write_text("hello"), "cannot be opened as GTiff", "check with gdalinfo"),
    "a pipe": (replaced_by_a_pipe, "not a regular file but", "name a raster file"),
}


@pytest.mark.parametrize("kind", SCENES)
def test_a_bad_scene_fails_by_name_and_the_other_is_done(
    kind: str, write_scene: WriteScene, geoseg_command: Command
) -> None:
    damage, reason, mend = SCENES[kind]
    bad = write_scene("in/bad.tif", shape=(600, 200))
    good = write_scene("in/good.tif")
    damage(bad)
    out = good.parents[1] / "out"
    ended = geoseg_command("run", bad, good, "-o", out, "-m", "kmeans:2", "--no-polygons")
    assert ended.code == 1
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert str(bad) in line
    assert reason in line
    assert mend in line
    assert ".;" not in line
    assert "Traceback" not in ended.err
    assert only_results_and_records(out) == {"good", "areas.csv", "report.html", "run.json"}


def test_a_file_damaged_in_the_middle_publishes_nothing(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(shape=(1200, 600), tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_3", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(200))
    out = path.parents[1] / "out"
    words = ["run", path, "-o", out, "-m", "kmeans:2", "--block-size", 512, "--no-polygons"]
    ended = geoseg_command(*words)
    assert ended.code == 1
    assert f"{path}: cannot be read at row" in ended.err
    assert only_results_and_records(out) == {"report.html", "run.json"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-m", "spektral"], "no model 'spektral' (did you mean spectral?)"),
        (["-m", "kmeans:99"], "choose from 2 to 32"),
        (["--format", "dwg"], "'dwg' is not one of 'gpkg', 'shp', 'fgb', 'parquet'"),
        (["--workers", "1", "--scheduler", "tcp://127.0.0.1:1"], "exclude one another: give one of them"),
        (["--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers at tcp://127.0.0.1:1: check the address"),
        (["--scheduler", "nonsense"], "no Dask scheduler answers at nonsense"),
        (["--block-size", "500"], "block size 500 px: choose a multiple of 512"),
        (["--overlap", "1"], "is not in the range"),
        (["--bands", "red,,nir"], "names separated by commas"),
        (["--scale", "nan"], "scale nan gives no physical values"),
        (["--scale", "0"], "scale 0.0 gives no physical values"),
        (["--device", "abacus"], "abacus"),
        (["--wurst"], "No such option"),
        (["--config", "nowhere.yaml"], "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_nothing_can_start_with_ends_with_2_before_anything_is_written(
    words: list[str], reason: str, write_scene: WriteScene, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    path = write_scene()
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, *([] if "-m" in words else ["-m", "kmeans:2"]), *words)
    assert ended.code == 2, ended.err
    assert reason in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert not list(out.rglob("*"))


def test_no_input_at_all_is_said(tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("run", tmp_path, "-o", tmp_path / "out")
    assert ended.code == 2
    assert f"no rasters found in {tmp_path}: name files or folders with .tif" in ended.err


def test_the_input_folder_is_refused_as_the_output_folder(write_scene: WriteScene, geoseg_command: Command) -> None:
    folder = write_scene().parent
    ended = geoseg_command("run", folder, "-o", folder, "-m", "kmeans:2")
    assert ended.code == 2
    assert "is the input folder and the output folder" in ended.err
    assert "choose another --output" in ended.err
    assert [p.name for p in folder.iterdir()] == ["scene.tif"]


def test_a_model_for_other_bands_is_refused_with_the_bands(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(pixels=blobs(40, 40, n_bands=2))
    ended = geoseg_command("run", path, "-o", path.parents[1] / "out", "-m", "spectral")
    assert ended.code == 1
    assert f"{path}: model spectral needs the bands" in ended.err
    assert "pass --bands with a name for each band" in ended.err


def test_the_wrong_number_of_band_names_is_refused_with_both_numbers(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    ended = geoseg_command("run", path, "-o", path.parents[1] / "out", "-m", "kmeans:2", "--bands", "red,nir")
    assert ended.code == 1
    assert f"{path}: 2 band names for 3 bands (red, nir); name each band once" in ended.err


class Canary:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_pickle_that_poses_as_weights_is_refused_and_never_run(
    suffix: str, write_scene: WriteScene, geoseg_command: Command, random_unet: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    (random_unet.parent / f"evil{suffix}").write_bytes(pickle.dumps(Canary(canary)))
    card = yaml.safe_load(random_unet.read_text("utf-8")) | {"weights": f"evil{suffix}"}
    random_unet.write_text(yaml.safe_dump(card), encoding="utf-8")
    path = write_scene()
    out = tmp_path / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", random_unet)
    assert ended.code in (1, 2)
    assert f"evil{suffix}" in ended.err
    assert "Traceback" not in ended.err
    assert not canary.exists()
    assert only_results_and_records(out) <= {"report.html", "run.json"}
    pickle.loads((random_unet.parent / f"evil{suffix}").read_bytes())
    assert canary.exists(), "the canary would have sung"


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read only"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_an_output_folder_that_cannot_be_written_is_refused_at_once(
    write_scene: WriteScene, geoseg_command: Command, read_only_folder: Path
) -> None:
    for out in (read_only_folder, read_only_folder / "new"):
        ended = geoseg_command("run", write_scene(), "-o", out, "-m", "kmeans:2")
        assert ended.code == 2
        assert f"cannot write into {out}: read-only file system; choose another --output" in ended.err
        looked = geoseg_command("run", write_scene(), "-o", out, "-m", "kmeans:2", "--dry-run")
        assert (looked.code, looked.err.splitlines()[-1]) == (2, ended.err.splitlines()[-1])


def test_a_file_in_the_place_of_the_output_folder_is_refused(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        ended = geoseg_command("run", write_scene(), "-o", out, "-m", "kmeans:2")
        assert ended.code == 2
        assert str(tmp_path / "file") in ended.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_that_geoseg_did_not_write_is_never_replaced(
    overwrite: list[str], write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene("out/scene/scene.tif")
    before = path.read_bytes()
    ended = geoseg_command("run", path, "-o", path.parents[1], "-m", "kmeans:2", *overwrite)
    assert ended.code == 1
    assert "holds no results of geoseg; move it away, or choose another --output" in ended.err
    assert path.read_bytes() == before


def test_an_unexpected_error_is_one_line_unless_asked(
    geoseg_command: Command, monkeypatch: pytest.MonkeyPatch, write_scene: WriteScene
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a fault of geoseg")

    monkeypatch.setattr("geoseg.models.load.load_model", fail)
    monkeypatch.setattr("geoseg.cli.main._leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    path = write_scene()
    for more, shown in (([], False), (["-vv"], True)):
        ended = geoseg_command("run", path, "-o", path.parents[1] / "out", *more)
        assert ended.code == 2
        assert "unexpected KeyError: 'a fault of geoseg'; run with -vv" in ended.err
        assert ("Traceback" in ended.err) is shown


def test_one_input_that_fails_unexpectedly_does_not_stop_the_others(
    geoseg_command: Command, monkeypatch: pytest.MonkeyPatch, write_scene: WriteScene
) -> None:
    from geoseg.scene.open import open_scene

    def sometimes(href: str, **options: object) -> object:
        if "bad" in href:
            raise RuntimeError("boom")
        return open_scene(href, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("geoseg.jobs.run.open_scene", sometimes)
    bad, good = write_scene("in/bad.tif"), write_scene("in/good.tif")
    ended = geoseg_command("run", bad, good, "-o", good.parents[1] / "out", "-m", "kmeans:2", "--no-polygons")
    assert ended.code == 1
    assert f"error: {bad}: unexpected RuntimeError: boom" in ended.err
    assert "1 of 2 scenes done" in ended.err


def test_a_stopped_reader_of_stdout_is_no_error_message() -> None:
    geoseg = Path(sys.executable).with_name("geoseg")
    shell = f"{geoseg} models list | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() in ("0", "1")
    assert "Traceback" not in ended.stderr


def test_each_mistake_in_a_file_stands_in_a_line_of_its_own(tmp_path: Path, geoseg_command: Command) -> None:
    pipeline = tmp_path / "nightly.yaml"
    pipeline.write_text('version: 1\nname: nightly\nscenes: ["a\\n\\e[31mb"]\nmodel: "m\\e[31m\\nb"\nsteps: 3\n')
    ended = geoseg_command("batch", "run", pipeline)
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) > 3
    assert all(f"{pipeline}, line " in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if "\\n" in line] == [line for line in lines if "model" in line and "(got" in line]


def test_what_is_no_yaml_is_said_in_one_line(tmp_path: Path, geoseg_command: Command) -> None:
    pipeline = tmp_path / "nightly.yaml"
    pipeline.write_text("name: a\x1b[31mb\n")
    ended = geoseg_command("batch", "run", pipeline)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert "not YAML" in line
    assert "\\n" not in line


def test_a_band_named_twice_is_refused_before_anything_is_done(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    ended = geoseg_command("run", write_scene(), "--bands", "blue,red,blue", "-o", tmp_path / "out")
    assert ended.code == 2
    assert "'blue' is named twice: name each once" in ended.err
    assert not (tmp_path / "out").exists()


def test_of_models_nothing_is_said_that_was_not_looked_at(geoseg_command: Command, tmp_path: Path) -> None:
    ended = geoseg_command("run", tmp_path / "missing.tif", "-o", tmp_path / "out")
    assert ended.code == 1
    assert "nothing could be opened to see which model fits" in ended.err
    assert "no shipped model" not in ended.err
