"""Scenes of one place, by date: which follow one another, and which are kept."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

__all__ = ["Dated", "by_place", "older_than_kept", "pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A scene somewhere at some time."""

    id: str
    """Of the scene."""
    place: str
    """Of its pixel grid."""
    acquired: str
    """When it was taken, in ISO 8601; empty where not known."""

    @property
    def time(self) -> datetime | None:
        """When it was taken; without a time zone it is taken as UTC."""
        try:
            stated = datetime.fromisoformat(self.acquired)
        except ValueError:
            return None
        return stated if stated.tzinfo else stated.replace(tzinfo=UTC)


def by_place(scenes: Iterable[Dated]) -> dict[str, list[Dated]]:
    """Scenes that have a date, from old to new, for each place; on the same instant in order of their ids."""
    places: defaultdict[str, list[tuple[datetime, str, Dated]]] = defaultdict(list)
    for scene in scenes:
        if scene.place and (time := scene.time) is not None:
            places[scene.place].append((time, scene.id, scene))
    return {place: [scene for *_, scene in sorted(found, key=lambda f: f[:2])] for place, found in places.items()}


def pairs(scenes: Iterable[Dated]) -> list[tuple[Dated, Dated]]:
    """Each scene with the one of the previous date of the same place, from old to new.

    Two scenes of one day are two dates only if their times differ; of those of the same instant the first by id counts.

    Example:
        >>> a, b = (Dated(id=i, place="p", acquired=f"202{i}-01-01") for i in "34")
        >>> [(before.id, after.id) for before, after in pairs([b, a])]
        [('3', '4')]
    """
    found: list[tuple[Dated, Dated]] = []
    for place in by_place(scenes).values():
        once = list({scene.time: scene for scene in reversed(place)}.values())[::-1]
        found += pairwise(once)
    return found


def older_than_kept(scenes: Sequence[Dated], *, keep_dates: int | None, keep_days: int | None) -> list[Dated]:
    """Scenes that are older than what is kept of their place.

    Days are counted back from the newest date of the place, not from today: a clock that is wrong removes nothing,
    and a place that is seen no more keeps what it has.

    Args:
        scenes: All that count.
        keep_dates: The newest so many dates of each place are kept; a day is one date.
        keep_days: What was taken within so many days before the newest date of the place is kept.
    """
    old = []
    for place in by_place(scenes).values():
        times = {scene.id: scene.time for scene in place}
        days = sorted({time.astimezone(UTC).date() for time in times.values() if time is not None})
        first = days[-keep_dates:][0] if keep_dates is not None else days[0]
        if keep_days is not None:
            first = max(first, days[-1] - timedelta(days=keep_days))
        old += [s for s in place if (t := times[s.id]) is not None and t.astimezone(UTC).date() < first]
    return old
