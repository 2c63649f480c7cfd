"""Durations as people write them."""

from datetime import timedelta

import pytest

from geoseg.errors import ParameterError
from geoseg.jobs.duration import parse_duration, said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90min", 5400), ("6h", 21600), ("30 d", 2592000), ("0.5s", 0.5), ("0s", 0), ("1.5h", 5400)],
)
def test_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["90", "6 hours", "-1h", "h", "1e3s", "1h30min", "1h\n", "1w"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="one of s, min, h, d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.24, "0.2 s"),
        (42.4, "42 s"),
        (5, "5 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_said_as_people_read_them(seconds: float, text: str) -> None:
    assert said(seconds) == text
