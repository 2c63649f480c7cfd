"""Cards: what is accepted, and that every refusal names file, key and mend."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard, card_from_yaml, card_schema
from geoseg.models.plain_yaml import MAX_BYTES

GOOD: dict[str, Any] = {
    "name": "fields",
    "version": "1",
    "kind": "smp",
    "architecture": {"name": "Unet", "encoder": "resnet18", "options": {"encoder_depth": 3}},
    "weights": "fields.safetensors",
    "bands": [{"name": "red", "mean": 0.1, "std": 0.05}, {"name": "nir", "mean": 0.3, "std": 0.1}],
    "units": "reflectance",
    "gsd_m": 10,
    "classes": [
        {"value": 0, "name": "other", "color": "#999999"},
        {"value": 1, "name": "field", "color": "#e69f00"},
    ],
}

THREE = [{"value": i, "name": f"class {i}", "color": "#999999"} for i in range(3)]


def written(folder: Path, text: str) -> Path:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def card_with(folder: Path, **changes: Any) -> ModelCard:
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return card_from_yaml(written(folder, yaml.safe_dump(content)))


def test_a_card_keeps_bands_and_classes_in_order(tmp_path: Path) -> None:
    card = card_with(tmp_path)
    assert [band.name for band in card.bands] == ["red", "nir"]
    assert card.legend.names == ("other", "field")
    assert card.legend.values == (0, 1)
    assert card.temperature == 1.0


def test_a_card_written_and_read_is_the_same_card(tmp_path: Path) -> None:
    quantiles = {"red": {"0.01": 0.01, "0.5": 0.1, "0.99": 0.4}}
    card = card_with(tmp_path, quantiles=quantiles, description="Felder: grün & 'quoted'\n- no", blend="hann")
    assert card_from_yaml(written(tmp_path, card.to_yaml())) == card


@given(
    name=st.text(min_size=1, max_size=20),
    text=st.text(max_size=200),
    mean=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_number_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str, mean: float
) -> None:
    try:
        card = ModelCard.model_validate(
            {**GOOD, "bands": [{"name": "red", "mean": mean}], "name": name, "description": text}
        )
    except ValueError:
        return  # blank names, control characters and lone surrogates are refused
    assert card_from_yaml(written(tmp_path_factory.mktemp("card"), card.to_yaml())) == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour: unknown key; known keys: name, version"),
        ({"bands": [{"name": "red", "sd": 1.0}]}, r"bands\[0\].sd: unknown key; known keys: name, required, mean, std"),
        ({"bands": [{"name": "red", "std": 0}]}, r"bands\[0\].std: .*greater than 0 \(got 0\)"),
        ({"bands": [{"name": "red", "mean": float("nan")}]}, r"bands\[0\].mean: .*finite"),
        ({"bands": [{"name": "red"}, {"name": "red"}]}, "bands red are listed twice"),
        ({"bands": []}, "kind smp needs bands"),
        ({"kind": "unet"}, "kind: there is no kind of model 'unet'; known: smp, spectral, kmeans, onnx"),
        ({"kind": None}, "kind: missing"),
        ({"kind": "kmeans"}, "architecture is given, but kind kmeans has none: remove it"),
        ({"weights": "../../secret.safetensors"}, "weights: is not a plain file name"),
        ({"weights": "sub/fields.safetensors"}, "weights: is not a plain file name"),
        ({"weights": "..\\fields.safetensors"}, "weights: is not a plain file name"),
        ({"weights": "fields\x1b[2J.safetensors"}, "weights: is not a plain file name"),
        ({"weights": "fields.pkl"}, "weights fields.pkl end in none of .safetensors.*: convert the weights"),
        ({"kind": "mlm"}, "kind: only describes models of other kinds"),
        ({"kind": "onnx"}, "architecture is given, but kind onnx has none"),
        ({"output": "probability"}, "output: .*'binary_logit'"),
        ({"output": "binary_logit", "classes": THREE}, "output binary_logit is one channel .* not 3"),
        ({"weights": None}, "kind smp needs weights"),
        ({"weights_sha256": "abc"}, "weights_sha256: "),
        ({"window": 500}, "window 500 is not a multiple of output_stride 32"),
        ({"overlap": 1.0}, "overlap: .*less than 1"),
        ({"place": [10, 50, -10, 60]}, r"place: is no box of degrees: write \[west, south, east, north\]"),
        ({"place": [10, 50, 20, 91]}, "place: is no box of degrees"),
        ({"place": [10, 50, 20]}, "place"),
        ({"temperature": 0}, "temperature: .*greater than 0"),
        ({"quantiles": {"blue": {"0.01": 0, "0.5": 1, "0.99": 2}}}, "quantiles are given for blue"),
        ({"quantiles": {"red": {"0.01": 3, "0.5": 1, "0.99": 2}}}, "do not ascend: 0.01: 3, 0.5: 1, 0.99: 2"),
        ({"quantiles": {"red": {"1": 3}}}, "a probability is between 0 and 1"),
        ({"quantiles": {"red": {"p50": 3}}}, r"quantiles\.red\."),
        (
            {"scores": {"data": "", "pixels": 9, "accuracy": 1, "miou": 1, "iou": {"sea": 1}}},
            "which no class is called",
        ),
        ({"scores": {"data": "", "pixels": 9, "accuracy": 1, "miou": 2, "iou": {}}}, "scores.miou"),
        ({"scores": {"points": 9}}, "known keys: data, pixels, accuracy, miou, iou"),
        ({"classes": [{"value": 0, "name": "a", "color": "#000000"}]}, "needs two or more"),
        ({"classes": [{"value": 0, "name": n, "color": "#000000"} for n in "ab"]}, "value 0 twice"),
        ({"classes": [{"value": 255, "name": "a", "color": "#000000"}]}, r"classes\[0\].value: .*254"),
        ({"classes": [{"value": 1, "name": "a", "color": "red"}]}, r"classes\[0\].color: "),
        ({"classes": [{"value": 1, "name": " ", "color": "#000000"}]}, r"classes\[0\].name: is blank"),
        ({"name": "a\x1b[2Jb"}, "name: is blank or holds control characters"),
        ({"description": "a\u2028b"}, "description: holds control characters"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        card_with(tmp_path, **change)
    assert "card.yaml" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_all_broken_rules_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        card_with(tmp_path, overlap=2, colour="red", gsd_m=-1)
    assert all(key in str(caught.value) for key in ("overlap", "colour", "gsd_m"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: &a x\nversion: *a\n", "line 1: anchors"),
        ("name: !!python/object/apply:os.system ['touch canary']\n", "line 1: tags"),
        ("name: !!str x\n", "line 1: tags"),
        ("kind: smp\nname: no\n", "line 2: YAML reads no as true or false: put text in quotes"),
        ("window: 010\n", "line 1: YAML reads 010 as an octal number"),
        ("version: 12:30\n", "line 1: YAML reads 12:30 as a number in base 60"),
        ("version: 2024-01-02\n", "line 1: YAML reads 2024-01-02 as a date"),
        ("name: a\nname: b\n", "line 2: key name is given twice"),
        ("<<: {name: a}\n", "line 1: a key is not a word"),
        ("1: a\n", "line 1: a key is not a word"),
        ("[" * 100 + "]" * 100, "nested more than 20 deep"),
        ("name: [a\n", "line"),
        ("--- \na: b\n---\na: b\n", "line 3"),
        ("", "is not a model card"),
        ("- a\n", "is not a model card"),
        ("a: \x07\n", "not YAML"),
    ],
)
def test_a_trap_of_yaml_is_named_with_its_line(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        card_from_yaml(written(tmp_path, text))
    assert "card.yaml" in str(caught.value)
    assert not (tmp_path / "canary").exists()


def test_words_in_quotes_are_words(tmp_path: Path) -> None:
    assert card_with(tmp_path, name="no", version="010").name == "no"


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than the 1048576"):
        card_from_yaml(written(tmp_path, "# " + "x" * MAX_BYTES))


def test_a_pipe_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, message in (
        ("pipe.yaml", "not a regular file"),
        (".", "not a regular file"),
        ("none.yaml", "No such file"),
    ):
        with pytest.raises(ModelError, match=message):
            card_from_yaml(tmp_path / name)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ModelError, match="byte 9 is not UTF-8"):
        card_from_yaml(tmp_path / "card.yaml")


def test_the_schema_names_every_key_and_refuses_others() -> None:
    schema = card_schema()
    assert set(schema["properties"]) == set(ModelCard.model_fields)
    assert schema["additionalProperties"] is False
