"""Cron expressions against cron's rules, an independent count of minutes, and clocks that are put forward and back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.jobs.cron import parse_cron, time_zone

BERLIN = ZoneInfo("Europe/Berlin")


def times(text: str, after: datetime, n: int, zone: ZoneInfo = BERLIN) -> list[str]:
    cron, found = parse_cron(text), []
    for _ in range(n):
        after = cron.next_after(after, zone)
        found.append(f"{after:%a %Y-%m-%d %H:%M %z}")
    return found


def test_monday_is_1_and_sunday_is_0_and_7() -> None:
    start = datetime(2026, 11, 25, 12, tzinfo=BERLIN)  # a Wednesday
    assert times("0 6 * * 1", start, 2) == ["Mon 2026-11-30 06:00 +0100", "Mon 2026-12-07 06:00 +0100"]
    assert times("0 6 * * mon", start, 1) == ["Mon 2026-11-30 06:00 +0100"]
    assert times("0 6 * * 0", start, 1) == times("0 6 * * 7", start, 1) == ["Sun 2026-11-29 06:00 +0100"]
    assert [t[:3] for t in times("0 6 * * 1-5", start, 5)] == ["Thu", "Fri", "Mon", "Tue", "Wed"]
    # steps of weekdays start at Sunday
    assert parse_cron("0 6 * * */2").weekdays == (0, 2, 4, 6)


def test_a_time_that_does_not_exist_is_moved_on_and_one_that_comes_twice_is_due_once() -> None:
    spring, autumn = datetime(2027, 3, 27, 12, tzinfo=BERLIN), datetime(2026, 10, 24, 12, tzinfo=BERLIN)
    assert times("30 2 * * *", spring, 2) == ["Sun 2027-03-28 03:30 +0200", "Mon 2027-03-29 02:30 +0200"]
    assert times("30 2 * * *", autumn, 2) == ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"]
    # but what is due in every hour is due in each
    hours = times("30 * * * *", autumn.replace(hour=23, minute=45), 5)
    assert [h[-11:] for h in hours] == ["00:30 +0200", "01:30 +0200", "02:30 +0200", "02:30 +0100", "03:30 +0100"]
    assert [h[-11:] for h in times("30 * * * *", spring.replace(hour=23, minute=45), 3)] == [
        "00:30 +0100", "01:30 +0100", "03:30 +0200",
    ]  # fmt: skip


def test_the_29th_of_february_is_found_across_a_century() -> None:
    assert times("0 0 29 2 *", datetime(2097, 1, 1, tzinfo=UTC), 1) == ["Fri 2104-02-29 00:00 +0100"]


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/15", "5,35", "10-20/5", "59"]),
    st.sampled_from(["*", "6", "0", "*/6", "8-10", "23"]),
    st.sampled_from(["*", "1", "31", "1-7", "*/10"]),
    st.sampled_from(["*", "jan", "2-4", "12", "*/5"]),
    st.sampled_from(["*", "1", "sun", "mon-fri", "6,7"]),
).filter(lambda f: f[2] == "*" or f[4] == "*")


@given(FIELDS, st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01")))
def test_the_next_time_is_the_first_minute_that_fits_all_fields(fields: tuple[str, ...], start: datetime) -> None:
    cron = parse_cron(" ".join(fields))
    zone = ZoneInfo("UTC")
    found = cron.next_after(start.replace(tzinfo=zone), zone)

    def fits(moment: datetime) -> bool:
        return (
            moment.minute in cron.minutes
            and moment.hour in cron.hours
            and moment.day in cron.days
            and moment.month in cron.months
            and moment.isoweekday() % 7 in cron.weekdays
        )

    assert fits(found)
    assert found > start.replace(tzinfo=zone)
    minute = start.replace(second=0, microsecond=0, tzinfo=zone) + timedelta(minutes=1)
    for _ in range(3000):  # as far as a test may look
        if minute >= found:
            break
        assert not fits(minute)
        minute += timedelta(minutes=1)


@given(FIELDS)
def test_the_text_of_an_expression_means_the_same(fields: tuple[str, ...]) -> None:
    cron = parse_cron(" ".join(fields))
    assert parse_cron(cron.text) == cron
    assert set(cron.text) <= set("0123456789,* ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 6 * *", "five fields"),
        ("60 6 * * *", "'60' is no minute from 0 to 59"),
        ("0 6 * * 8", "'8' is no weekday from 0 to 7"),
        ("0 6 * * monday", "'monday' is no weekday"),
        ("0 6 0 * *", "'0' is no day of the month from 1 to 31"),
        ("0 6 30 2 *", "never comes"),
        ("0 6 31 4,6 *", "never comes"),
        ("0 6 1 * 1", "either and others as both"),
        ("0 8-6 * * *", "runs backwards"),
        ("*/0 * * * *", "goes nowhere"),
        ("0 6 L * *", "'l' is no day of the month"),
        ("0 6 * * 5#2", "'5#2' is no weekday"),
        ("@noon", "five fields"),
        ("0 6 * * \x1b[2J", r"\\x1b"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        parse_cron(text)


def test_short_words_and_time_zones() -> None:
    assert parse_cron("@weekly").text == "0 0 * * 0"
    assert parse_cron("@daily").text == "0 0 * * *"
    assert time_zone("America/St_Johns").key == "America/St_Johns"
    for wrong in ("Europe/Berlino", "../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ParameterError, match="no time zone"):
            time_zone(wrong)
