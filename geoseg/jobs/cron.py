"""Cron expressions: what they say, and when they come next in a time zone with summer time."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from geoseg.errors import ParameterError, printable

__all__ = ["Cron", "parse_cron", "time_zone"]

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""By their number in cron; 7 is Sunday, too."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)
_SEARCHED_DAYS = 366 * 9  # 29 February is eight years away around 2100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The minutes at which something is due, as cron understands them."""

    minutes: tuple[int, ...]
    """0 to 59."""
    hours: tuple[int, ...]
    """0 to 23."""
    days: tuple[int, ...]
    """Of the month, 1 to 31."""
    months: tuple[int, ...]
    """1 to 12."""
    weekdays: tuple[int, ...]
    """0 is Sunday, 1 is Monday."""

    @property
    def text(self) -> str:
        """The five fields with numbers only, which every cron reads alike."""
        return " ".join(
            _field(values, every)
            for values, every in (
                (self.minutes, range(60)),
                (self.hours, range(24)),
                (self.days, range(1, 32)),
                (self.months, range(1, 13)),
                (self.weekdays, range(7)),
            )
        )

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The first time after a moment at which it is due.

        Where clocks are put forward, a time that does not exist is moved on by the hour that is missing. Where they
        are put back, a time that comes twice is due the first time only; but what is due in every hour is due in each.

        Args:
            moment: With a time zone.
            zone: Of the expression.

        Returns:
            A time in ``zone``, later than ``moment``.
        """
        # a day earlier than where it starts: times that a gap moves on may belong to the evening before
        first = (moment.astimezone(zone) - timedelta(days=1)).date()
        for n in range(_SEARCHED_DAYS):
            day = first + timedelta(days=n)
            # cron's weeks begin on Sundays
            fits = day.month in self.months and day.day in self.days and (day.weekday() + 1) % 7 in self.weekdays
            due = [t for t in self._times(day.year, day.month, day.day, zone) if t > moment] if fits else []
            if due:
                return min(due).astimezone(zone)
        raise AssertionError("parse_cron refuses what never comes")

    def _times(self, year: int, month: int, day: int, zone: ZoneInfo) -> list[datetime]:
        """All that is due on a day, in UTC: there earlier and later mean what they say."""
        found = []
        every_hour = len(self.hours) == 24
        for hour in self.hours:
            for minute in self.minutes:
                local = datetime(year, month, day, hour, minute, tzinfo=zone)
                at = local.astimezone(UTC)
                missing = at.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
                if missing and every_hour:
                    continue
                found.append(at)
                if every_hour:
                    found.append(local.replace(fold=1).astimezone(UTC))
        return found


def parse_cron(text: str) -> Cron:
    """A cron expression of five fields: minute, hour, day of the month, month, weekday.

    Fields are ``*``, numbers, names of months and weekdays, ranges, lists and steps; also ``@daily`` and the like.

    Raises:
        ParameterError: If it is none, never comes, or limits both the day of the month and the weekday, which some
            programs read as "either" and others as "both".

    Example:
        >>> parse_cron("30 6 * * mon-fri").text
        '30 6 * * 1,2,3,4,5'
    """
    shown = printable(text)
    fields = _SHORT.get(text.strip().lower(), text).lower().split()
    if len(fields) != 5:
        raise ParameterError(
            f"{shown!r} is not a cron expression: give five fields, minute hour day month weekday, such as '0 6 * * 1' "
            "for Mondays at 6:00, or @daily"
        )
    minutes = _values(fields[0], 0, 59, "minute", shown)
    hours = _values(fields[1], 0, 23, "hour", shown)
    days = _values(fields[2], 1, 31, "day of the month", shown)
    months = _values(fields[3], 1, 12, "month", shown, names=_MONTHS)
    weekdays = tuple(sorted({d % 7 for d in _values(fields[4], 0, 7, "weekday", shown, names=WEEKDAYS)}))
    if len(days) < 31 and len(weekdays) < 7:
        raise ParameterError(
            f"cron expression {shown!r} limits both the day of the month and the weekday, which cron reads as either "
            "and others as both: limit one of them"
        )
    if not any(day <= calendar.monthrange(2000, month)[1] for month in months for day in days):
        raise ParameterError(f"cron expression {shown!r} names days that no month has: it never comes")
    return Cron(minutes=minutes, hours=hours, days=days, months=months, weekdays=weekdays)


def time_zone(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database, such as ``Europe/Berlin``.

    Raises:
        ParameterError: If there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ParameterError(
            f"there is no time zone {printable(name)!r}: give a name such as Europe/Berlin, or UTC"
        ) from error


def _values(field: str, low: int, high: int, what: str, shown: str, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    found: set[int] = set()
    for item in field.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ParameterError(f"cron expression {shown!r}: {item!r} is no {what}")
        star, start, end, step = match.groups()
        if star:
            first, last = low, min(high, 6) if what == "weekday" else high
        else:
            first = _number(start, low, high, what, shown, names)
            last = _number(end, low, high, what, shown, names) if end else (high if step else first)
        if first > last:
            raise ParameterError(f"cron expression {shown!r}: the range {item!r} of the {what} runs backwards")
        if step is not None and int(step) < 1:
            raise ParameterError(f"cron expression {shown!r}: a step of {step} in the {what} goes nowhere")
        found.update(range(first, last + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(word: str, low: int, high: int, what: str, shown: str, names: tuple[str, ...]) -> int:
    if word in names:
        return names.index(word) + low
    if not word.isdigit() or not low <= int(word) <= high:
        raise ParameterError(f"cron expression {shown!r}: {word!r} is no {what} from {low} to {high}")
    return int(word)


def _field(values: tuple[int, ...], every: range) -> str:
    return "*" if len(values) == len(every) else ",".join(map(str, values))
