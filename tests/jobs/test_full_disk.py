"""A disk that is too small: an error that names it, or everything complete; never half of it, never silence."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geoseg.jobs.cluster import connect
from geoseg.jobs.outcome import Options
from geoseg.jobs.run import run
from geoseg.models.load import load_model
from tests.conftest import WriteScene, read


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that gives an empty disk of so many kilobytes; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")

    def sized(kilobytes: int) -> Path:
        subprocess.run(["umount", folder], check=True)
        subprocess.run([*mount[:4], f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
        return folder

    yield sized
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_disk_of_any_size_holds_all_results_or_is_named(
    write_scene: WriteScene, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    path = write_scene(shape=(150, 200))
    model, options = load_model("kmeans:3"), Options(formats=("gpkg", "fgb"))
    with connect() as pool:
        calm = tmp_path / "calm"
        run([str(path)], calm, model, options, pool=pool)
        expected = {p.name for p in (calm / "scene").iterdir()}
        needed = sum(p.stat().st_size for p in calm.rglob("*")) // 1024
        endings = []
        for kilobytes in [4, 16, *range(32, 3 * needed, max(8, needed // 12)), 8 * needed + 2048]:
            out = disk(kilobytes)
            try:
                summary = run([str(path)], out, model, options, pool=pool)
            except OSError as error:
                # scenes may be done; the records are not
                said, done = str(error), (out / "scene").exists()
            else:
                (outcome,) = summary.outcomes
                said, done = outcome.error or "", outcome.status == "done"
            endings.append((kilobytes, done, said))
            assert [p.name for p in out.rglob("*") if p.name.startswith(".") and p.name != ".geoseg"] == []
            # what was finished by then is kept for the next run, and whole
            kept = {p.name for p in (out / ".geoseg").rglob("*") if p.is_file()}
            assert kept <= {"journal.sqlite", "0_0.tif"}
            assert not (done and kept)
            if not done:
                assert not (out / "scene").exists()
            else:
                assert {p.name for p in (out / "scene").iterdir()} == expected
                assert (read(out / "scene" / "scene_classes.tif") == read(calm / "scene" / "scene_classes.tif")).all()
            if said:
                assert str(out) in said, said
                assert "full" in said or "space" in said, said
    print("\n".join(f"{k} kB: {'done' if d else 'failed'} {s[:100]}" for k, d, s in endings))  # noqa: T201
    assert endings[0][1] is False
    assert endings[-1][1:] == (True, "")
