"""Models of two dates: one network sees both scenes of a pair, through the engine that runs every other model."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from safetensors.torch import save_file

import geoseg
from geoseg.errors import ModelError, ParameterError
from geoseg.models.card import Architecture
from geoseg.models.load import build_network
from geoseg.models.network import build_architecture
from geoseg.models.siamese import SiameseUnet
from tests.conftest import UTM, Command, WriteScene, read

BANDS = ("red", "nir")
OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
CLASSES = [{"value": 0, "name": "no change", "color": "#e8e8e4"}, {"value": 1, "name": "built", "color": "#c8413a"},
           {"value": 2, "name": "cut", "color": "#a79a8e"}]  # fmt: skip


def write_card(folder: Path, network: torch.nn.Module, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({k: v.clone().contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    card = {
        "name": "two", "version": "1", "kind": "smp", "dates": 2, "weights": "weights.safetensors", "units": "any",
        "architecture": {"name": "SiameseUnet", "encoder": "resnet18", "options": OPTIONS},
        "bands": [{"name": f"{d}:{b}", "mean": 1800.0, "std": 900.0} for d in ("before", "after") for b in BANDS],
        "window": 64, "output_stride": 8, "classes": CLASSES,
    } | changes  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return folder / "card.yaml"


@pytest.fixture(scope="module")
def siamese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Siamese network with random weights that says "no change" where nothing differs."""
    torch.manual_seed(1)
    architecture = Architecture.model_validate({"name": "SiameseUnet", "encoder": "resnet18", "options": OPTIONS})
    network = build_architecture(architecture, in_channels=4, n_classes=3, source="test")
    head: Any = dict(network.named_modules())["segmentation_head.0"]
    with torch.no_grad():
        head.weight.mul_(40)
        head.bias.copy_(torch.tensor([0.5, 0.0, 0.0]))
    return write_card(tmp_path_factory.mktemp("siamese"), network)


@pytest.fixture
def pair(write_scene: WriteScene) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    one = rng.integers(100, 4000, (2, 100, 150), dtype=np.uint16)
    two = one.copy()
    two[:, 40:70, 60:100] = rng.integers(100, 4000, (2, 30, 40))
    one[:, :5], two[:, :, 145:] = 0, 0
    kept: dict[str, Any] = {"descriptions": BANDS, "nodata": 0}
    return write_scene("p_20190617.tif", pixels=one, **kept), write_scene("p_20230908.tif", pixels=two, **kept)


def scenes(paths: Any) -> list[Any]:
    return [geoseg.open_scene(p) for p in paths]


def test_a_pair_is_read_as_one_scene_with_the_bands_and_the_gaps_of_both(pair: Any) -> None:
    both = geoseg.pair_scenes(*scenes(pair))
    assert [b.name for b in both.bands] == ["before:red", "before:nir", "after:red", "after:nir"]
    pixels, valid = both.reader([both.bands[i] for i in (3, 0)]).read(0, 0, 100, 150)
    with rasterio.open(pair[0]) as one, rasterio.open(pair[1]) as two:
        np.testing.assert_array_equal(pixels, [two.read(2), one.read(1)])
    expected = np.ones((100, 150), bool)
    expected[:5], expected[:, 145:] = False, False
    np.testing.assert_array_equal(valid, expected)


def test_on_another_grid_the_second_date_is_linear_and_reads_alike_in_pieces(
    pair: Any, write_scene: WriteScene
) -> None:
    rows, cols = np.indices((100, 150))
    plane = np.stack([3 * rows + 5 * cols + 100] * 2).astype(np.uint16)
    moved = write_scene("q.tif", pixels=plane, descriptions=BANDS, transform=UTM @ Affine.translation(3.25, 2.5))
    both = geoseg.pair_scenes(geoseg.open_scene(pair[0]), geoseg.open_scene(moved))
    assert (both.height, both.width) == (98, 147)
    reader = both.reader(both.bands[2:])
    pixels, valid = reader.read(0, 0, 98, 147)
    inner = valid[2:-1, 2:-1]
    assert inner.all()
    exact = 3 * (rows - 0.5) + 5 * (cols - 0.25) + 100
    np.testing.assert_allclose(pixels[0][2:-1, 2:-1], exact[2:97, 2:146], atol=0.2)
    part, _ = reader.read(17, 60, 30, 40)
    np.testing.assert_array_equal(part, pixels[:, 17:47, 60:100])


def test_a_scene_twice_is_no_change_and_dates_swapped_are_the_same_to_a_symmetric_network(
    siamese: Path, pair: Any
) -> None:
    model = geoseg.load_model(siamese)
    one, two = scenes(pair)
    same = geoseg.segment(geoseg.pair_scenes(one, one), model).classes.to_numpy()
    assert set(np.unique(same)) == {0, 255}
    there, back = (geoseg.segment(geoseg.pair_scenes(*p), model).compute() for p in ((one, two), (two, one)))
    assert len(np.unique(there.classes)) > 2
    np.testing.assert_array_equal(there.classes, back.classes)
    np.testing.assert_array_equal(there.confidence, back.confidence)


def test_a_signed_difference_knows_which_date_came_first() -> None:
    torch.manual_seed(0)
    signed = SiameseUnet("resnet18", 3, None, (16, 8, 8), in_channels=4, difference="signed").eval()
    pixels = torch.randn(1, 4, 64, 64)
    assert not torch.allclose(signed(pixels), signed(torch.cat([pixels[:, 2:], pixels[:, :2]], dim=1)))


def test_the_map_does_not_depend_on_blocks(siamese: Path, pair: Any) -> None:
    model = geoseg.load_model(siamese)
    both = geoseg.pair_scenes(*scenes(pair))
    whole, cut = (geoseg.segment(both, model, block_size=n).classes.to_numpy() for n in (2048, 37))
    np.testing.assert_array_equal(whole, cut)


def test_a_network_that_returns_its_input_gives_both_dates_back_exactly(pair: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["x", "order"], ["y"], axis=1)],
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 4, 64, 64])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2, 64, 64])],
        [onnx.numpy_helper.from_array(np.array([2, 1]), "order")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, tmp_path / "swap.onnx")
    card = {
        "name": "swap", "version": "1", "kind": "onnx", "dates": 2, "weights": "swap.onnx", "units": "any",
        "bands": [{"name": f"{d}:{b}"} for d in ("before", "after") for b in BANDS], "window": 64,
        "fixed_window": True, "classes": CLASSES[:2],
    }  # fmt: skip
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    both = geoseg.pair_scenes(*scenes(pair))
    found = geoseg.segment(both, geoseg.load_model(tmp_path / "card.yaml")).classes.to_numpy()
    pixels, valid = both.reader().read(0, 0, 100, 150)
    # class 0 has the red of the second date as its logit, class 1 the infrared of the first
    expected = np.where(valid, pixels[1] > pixels[2], 255)
    ties = valid & (pixels[1] == pixels[2])
    np.testing.assert_array_equal(found[~ties], expected[~ties])


def test_the_command_leaves_map_polygons_and_areas_of_change(
    siamese: Path, pair: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    out, name = tmp_path / "out", "p_20190617_20230908"
    ended = geoseg_command("change", *pair, "-o", out, "--model", siamese)
    assert ended.code == 0, ended.err
    folder = out / name
    expected = geoseg.segment(geoseg.pair_scenes(*scenes(pair)), geoseg.load_model(siamese)).classes.to_numpy()
    codes = read(folder / f"{name}_change.tif")
    np.testing.assert_array_equal(codes, expected)
    found = gpd.read_file(folder / f"{name}_polygons.gpkg", layer="change")
    assert set(found.class_name) == {"built", "cut"}
    assert found.area_m2.sum() == pytest.approx(100 * ((codes == 1) | (codes == 2)).sum(), rel=2e-3)
    item = json.loads((folder / f"{name}.json").read_text())
    assert item["properties"]["start_datetime"] == "2019-06-17T00:00:00Z"
    assert {"change", "confidence", "polygons", "areas"} <= set(item["assets"])
    again = geoseg_command("change", *pair, "-o", out, "--model", siamese)
    assert "unchanged since it was finished, skipped" in again.err
    dry = geoseg_command("change", *pair, "-o", tmp_path / "dry", "--model", siamese, "--dry-run")
    assert dry.out.splitlines()[1].startswith(f"{name},new,150 x 100")
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["{0}", "{1}", "--tolerance", "1"], "--tolerance compares class maps", 2),
        (["{0}", "{map}"], "is a class map or a finished run", 2),
        (["{0}", "nothing.tif"], "there is no such file or folder", 2),
        (["{0}", "{three}"], "lacks after:nir", 1),
        (["{0}", "{far}"], "do not overlap", 1),
    ],
)
def test_the_contract_of_the_card_is_enforced(
    words: list[str], said: str, code: int, siamese: Path, pair: Any, write_scene: WriteScene, geoseg_command: Command
) -> None:
    places = {
        "map": write_scene("map.tif", pixels=np.ones((1, 100, 150), np.uint8)),
        "three": write_scene("three.tif", pixels=np.ones((1, 100, 150), np.float32), descriptions=("red",)),
        "far": write_scene("far.tif", descriptions=("red", "nir", "x"), transform=UTM @ Affine.translation(9000, 0)),
    }
    given = [w.format(*pair, **places) for w in words]
    ended = geoseg_command("change", *given, "-o", pair[0].parent / "out", "--model", siamese)
    assert ended.code == code
    lines = [line for line in ended.err.splitlines() if "rror" in line]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_model_of_two_dates_refuses_one_and_a_model_of_one_refuses_two(siamese: Path, pair: Any) -> None:
    one, two = scenes(pair)
    with pytest.raises(ModelError, match=r"takes 2 dates, and this is 1.*pair_scenes"):
        geoseg.segment(one, geoseg.load_model(siamese))
    with pytest.raises(ModelError, match="takes 1 date, and this is 2"):
        geoseg.segment(geoseg.pair_scenes(one, two), geoseg.load_model("spectral"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bands": [{"name": "red"}, {"name": "after:red"}]}, "needs bands of both"),
        ({"bands": [{"name": "before:red"}, {"name": "before:nir"}]}, "needs bands of both"),
        ({"dates": 1}, "write dates: 2"),
        ({"classes": CLASSES[1:]}, "value 0 is no change"),
    ],
)
def test_a_card_of_two_dates_names_the_bands_of_both(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write_card(tmp_path / "card", torch.nn.Conv2d(1, 1, 1), **changes)
    with pytest.raises(ModelError, match=said):
        geoseg.load_model(path)


def test_odd_bands_are_not_those_of_two_dates() -> None:
    with pytest.raises(ParameterError, match="5 bands are not those of two dates"):
        SiameseUnet("resnet18", 3, None, (16, 8, 8), in_channels=5)


def test_the_encoder_is_that_of_a_unet_on_one_date(siamese: Path) -> None:
    network = build_network(geoseg.load_model(siamese))
    plain = build_architecture(
        Architecture.model_validate({"name": "Unet", "encoder": "resnet18", "options": OPTIONS}),
        in_channels=2, n_classes=3, source="test",
    )  # fmt: skip
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
