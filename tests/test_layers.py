"""The order of the house: a module imports only from its own room or from rooms above it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import geoseg

PACKAGE = Path(geoseg.__file__).parent
ROOMS = (
    "errors", "kernels", "scratch", "legend", "legends", "scene", "models", "inference", "area", "vector", "change",
    "evaluate", "train", "outputs", "jobs", "cli",
)  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))
DASK_ROOMS = {"jobs": True, "inference": False, "area": False}
"""Rooms that may import Dask, and whether they may where the module is imported."""
TORCH_ROOMS = {"models", "inference", "train", "evaluate"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module of a file, and whether it is imported when the file is."""
    tree = ast.parse(path.read_text("utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_type_checking(node)
        for inner in ast.walk(node)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [(f"{node.module}.{alias.name}", id(node) not in late) for alias in node.names]
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [m for m in MODULES if room_of(m) not in ("__init__", "__main__")], ids=shown)
def test_a_module_imports_only_from_its_own_room_and_rooms_above(path: Path) -> None:
    own = ROOMS.index(room_of(path))
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] == "geoseg" and parts[1] != "__version__":
            assert ROOMS.index(parts[1]) <= own, f"{shown(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_click_stays_in_cli_dask_in_jobs_and_torch_with_the_networks(path: Path) -> None:
    room = room_of(path)
    for name, at_once in imports(path):
        top = name.split(".")[0]
        if top in ("click", "rich"):
            assert room == "cli", f"{shown(path)} imports {name}"
        if top in ("dask", "distributed"):
            assert room in DASK_ROOMS, f"{shown(path)} imports {name}"
            assert DASK_ROOMS[room] or not at_once, f"{shown(path)} imports {name} where it is imported itself"
        if top in ("torch", "segmentation_models_pytorch") and at_once:
            assert room in TORCH_ROOMS, f"{shown(path)} imports {name} where it is imported itself"


def test_every_room_is_in_the_order() -> None:
    assert {room_of(m) for m in MODULES} - {"__init__", "__main__"} <= set(ROOMS)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["models", "--help"],
        ["check", "--help"],
        ["vectorize", "--help"],
        ["areas", "--help"],
        ["train", "--help"],
        ["batch", "--help"],
        ["batch", "run", "--help"],
        ["batch", "serve", "--help"],
        ["batch", "schema"],
        ["change", "--help"],
        ["series", "--help"],
        ["evaluate", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from geoseg.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'rasterio', 'dask', 'distributed', 'pandas', 'xarray', 'numba', 'scipy', 'pyproj'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_the_package_imports_nothing_heavy_and_keeps_threads_from_spinning() -> None:
    code = (
        "import sys, os, geoseg\n"
        "assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'\n"
        "assert set(geoseg.__all__) <= set(dir(geoseg))\n"
        "sys.exit(', '.join({'torch', 'rasterio', 'numpy', 'dask'} & set(sys.modules)) or 0)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr


def test_what_the_user_set_about_waiting_threads_is_kept() -> None:
    code = "import os, geoseg, sys\nsys.exit(os.environ['OMP_WAIT_POLICY'])\n"
    environment = os.environ | {"OMP_WAIT_POLICY": "ACTIVE"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.stderr.strip() == "ACTIVE"
