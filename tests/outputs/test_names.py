import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.outputs.names import safe_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("S2B_MSIL2A_20230615", "S2B_MSIL2A_20230615"),
        ("Zürich 2023+a", "Zürich 2023+a"),
        ("東京 合成", "東京 合成"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\temp\\x", "C__temp_x"),
        ("/etc/passwd", "_etc_passwd"),
        (".hidden", "hidden"),
        ("--overwrite", "overwrite"),
        ("a\x1b[2J\nb\x00", "a_[2J_b_"),
        ("photo\u202egnp", "photo_gnp"),
        ("e\u0301te\u0301", "été"),
        ("CON", "_CON"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("COM\u00b9", "_COM\u00b9"),
        ("console", "console"),
        ("name. . ", "name"),
        ("\udcff", "_"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("x" * 300, "x" * 100),
        ("é" * 300, "é" * 50),
    ],
)
def test_names(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(st.text(st.characters(), max_size=150))
def test_any_text_gives_a_file_name_that_stays_in_its_folder(text: str) -> None:
    name = safe_name(text)
    assert 1 <= len(name.encode()) <= 100
    assert Path("out", name).parent == Path("out")
    assert name not in {".", ".."}
    assert name[0] not in ".- "
    assert name[-1] not in ". "
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in name)
    assert safe_name(name) == name
