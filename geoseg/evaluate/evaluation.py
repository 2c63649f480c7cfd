"""Scenes together: one legend, counts added, scores with intervals, and the tables of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, printable
from geoseg.evaluate.bootstrap import Interval, intervals, intervals_of_sums
from geoseg.evaluate.border_sums import N_BORDER_SUMS
from geoseg.evaluate.boundary import BorderScores, border_scores
from geoseg.evaluate.calibration import Reliability, reliability
from geoseg.evaluate.instances import Matches
from geoseg.evaluate.object_scores import object_intervals, object_scores
from geoseg.evaluate.probabilities import ShareCounts
from geoseg.evaluate.scene_scores import SceneScores
from geoseg.evaluate.scores import MEASURES, ClassScores, Margins, Scores, class_scores, scores
from geoseg.evaluate.tables import (
    ALL,
    border_means,
    calibration_table_of,
    class_table_of,
    extent_of,
    matrix_table_of,
    reliability_of,
    zone_table_of,
)
from geoseg.legend import Legend, LegendClass

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALL", "Evaluation", "united_legend"]

_HA_M2: Final = 10_000
_FEW: Final = 10


def united_legend(legends: Iterable[Legend]) -> tuple[Legend, tuple[NDArray[np.int64], ...]]:
    """One legend for several scenes, classes being one where their names are, and the place of each scene's in it.

    Names that differ only in case or blanks are one, but for two of one scene.

    Raises:
        ParameterError: If there are too many classes.
    """
    classes: dict[str, LegendClass] = {}
    places = []
    for legend in legends:
        alike = Counter(keys := [" ".join(c.name.casefold().split()) for c in legend])
        keys = [key if alike[key] == 1 else c.name for key, c in zip(keys, legend, strict=True)]
        for key, c in zip(keys, legend, strict=True):
            classes.setdefault(key, c)
        order = list(classes)
        places.append(np.array([order.index(key) for key in keys], dtype=np.int64))
    if len(classes) > 254:
        raise ParameterError(f"the scenes have {len(classes)} classes together: unite some with a crosswalk")
    stated = {c.value for c in classes.values()}
    free, taken, made = iter(sorted(set(range(256)) - stated)), set[int](), []
    for c in classes.values():
        made.append(c if c.value not in taken else replace(c, value=next(free), file_value=None))
        taken.add(made[-1].value)
    nodata = next(v for v in range(255, -1, -1) if v not in taken)
    return Legend(classes=tuple(made), nodata=nodata), tuple(places)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """How good a prediction is: per scene, per class, per zone and overall."""

    scenes: tuple[SceneScores, ...]
    """At least one."""
    legend: Legend
    """Classes of all of them."""
    places: tuple[NDArray[np.int64], ...]
    """For each scene the place of its classes in the legend."""
    level: float
    """Of the intervals, a share."""
    zone_ids: tuple[Any, ...] = ()
    """What zones are called, where there are any."""

    @classmethod
    def of(cls, scenes: Sequence[SceneScores], *, level: float = 0.95, zone_ids: Iterable[Any] = ()) -> Self:
        """Scenes together.

        Raises:
            ParameterError: If there is no scene, or too many classes.
        """
        if not scenes:
            raise ParameterError("no scene was scored: there is nothing to put together")
        legend, places = united_legend(s.legend for s in scenes)
        return cls(scenes=tuple(scenes), legend=legend, places=places, level=level, zone_ids=tuple(zone_ids))

    def _wide(self, index: int, matrix: NDArray[Any], ends: bool = True) -> NDArray[Any]:
        """A matrix of a scene's classes as one of all classes, with or without a last row and column."""
        k = len(self.legend) + ends
        place = np.append(self.places[index], k - 1) if ends else self.places[index]
        out = np.zeros((k, k, *matrix.shape[2:]), dtype=matrix.dtype)
        out[np.ix_(place, place)] = matrix
        return out

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(K + 1, K + 1) of all scenes: rows are the reference, columns the prediction, the last without a class."""
        return np.asarray(sum(self._wide(i, s.counts.pixels) for i, s in enumerate(self.scenes)), dtype=np.int64)

    @property
    def area_m2(self) -> NDArray[np.float64]:
        """(K + 1, K + 1) true area, likewise."""
        wide = [self._wide(i, s.counts.units) * s.unit_m2 for i, s in enumerate(self.scenes)]
        return np.asarray(sum(wide), dtype=np.float64)

    @property
    def margins(self) -> Margins:
        """Of all scenes."""
        return Margins.of(self.pixels[:-1, :-1])

    @property
    def scores(self) -> Scores:
        """Of all scenes together, counts added and divided once."""
        return scores(self.margins)

    @property
    def class_scores(self) -> ClassScores:
        """Of each class, in all scenes together."""
        return class_scores(self.margins)

    def _border_sums(self) -> NDArray[np.float64] | None:
        """(n, K, 13) of the scenes; None where they were not asked for."""
        sums = np.zeros((len(self.scenes), len(self.legend), N_BORDER_SUMS))
        for own, place, s in zip(sums, self.places, self.scenes, strict=True):
            if s.borders is None:
                return None
            own[place] = s.borders
        return sums

    @property
    def borders(self) -> BorderScores | None:
        """Of the borders of each class, in all scenes together; None where they were not asked for."""
        sums = self._border_sums()
        return None if sums is None else border_scores(sums.sum(axis=0))

    @property
    def shares(self) -> ShareCounts | None:
        """Of class probabilities, in all scenes together; None where a scene comes without."""
        total = ShareCounts.zero()
        for s in self.scenes:
            if s.shares is None:
                return None
            total = total + s.shares
        return total

    def _units(self) -> Margins:
        """What intervals are drawn from: scenes, or the parts of the only one."""
        if len(self.scenes) == 1:
            return self.scenes[0].counts.parts
        each = [Margins.of(self._wide(i, s.counts.compared, ends=False)) for i, s in enumerate(self.scenes)]
        return Margins(
            agreed=np.stack([m.agreed for m in each]),
            reference=np.stack([m.reference for m in each]),
            predicted=np.stack([m.predicted for m in each]),
        )

    def interval(self, scores_of: Callable[[Margins], NDArray[np.float64]]) -> Interval:
        """Interval of a score, from scenes drawn again, or parts of the only one; see `intervals`."""
        return intervals(self._units(), scores_of, level=self.level)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of the intervals, and of zones."""
        bare = np.flatnonzero(self._by_zone()[..., 0].sum(axis=(1, 2)) == 0)
        if not len(bare):
            return self._of_intervals
        names = ", ".join(printable(str(self.zone_ids[i])) for i in bare[:_FEW])
        more = f" and {len(bare) - _FEW} more" if len(bare) > _FEW else ""
        return (
            *self._of_intervals,
            f"no pixel of the maps lies in {len(bare)} of {len(self.zone_ids)} zones: {names}{more}",
        )

    @property
    def _of_intervals(self) -> tuple[str, ...]:
        n, percent = len(self._units().agreed), f"{100 * self.level:g} %"
        if len(self.scenes) == 1:
            side = self.scenes[0].plan.unit_px
            if n < 2:
                return ("the scene is too small for intervals",)
            parts = f"{n} parts of {side} x {side} px of one scene"
            return (f"{percent} intervals are from {parts}, drawn again: they say nothing of other scenes",)
        rough = "; so few scenes make them rough, mostly too narrow" if n < _FEW else ""
        return (f"{percent} intervals are from {n} scenes, drawn again{rough}",)

    @property
    def reliability(self) -> Reliability | None:
        """Confidence against accuracy, all scenes that come with confidence together; None where none does."""
        found = [s.counts.by_percent.sum(axis=0) for s in self.scenes if s.counts.by_percent is not None]
        if not found or not np.any(found):
            return None
        total = np.sum(found, axis=0)
        return reliability(np.arange(len(total)) / 100, total[:, 0], total[:, 1])

    def summary_table(self, *, with_kappa: bool = False) -> "pd.DataFrame":
        """``measure``, ``value``, ``low`` and ``high``, one row for each score of all scenes together.

        Then ``unmapped``, the share of the reference without a class in the prediction, of which scores say nothing.
        Where there are probabilities, also their Brier score and negative log-likelihood; where borders were asked for,
        the means of their scores over the classes that have them, with intervals from scenes only.
        """
        import pandas as pd

        names = [m for m in MEASURES if with_kappa or m != "kappa"]
        found = self.scores

        def stacked(margins: Margins) -> NDArray[np.float64]:
            each = scores(margins)
            return np.stack([getattr(each, m) for m in names], axis=-1)

        between = self.interval(stacked)
        rows = [
            (m, float(getattr(found, m)), float(low), float(high))
            for m, low, high in zip(names, between.low, between.high, strict=True)
        ]
        nan, known = float("nan"), self.reliability
        rows.append(("unmapped", extent_of(self.pixels, nan)[2], nan, nan))
        if known is not None:
            rows += [(m, getattr(known, m), nan, nan) for m in ("ece", "overconfidence")]
        if self.shares is not None:
            rows += [(m, getattr(self.shares, m), nan, nan) for m in ("brier", "nll")]
        sums = self._border_sums()
        if sums is not None:
            means = border_means(border_scores(sums.sum(axis=0)))
            drawn = intervals_of_sums(
                sums, lambda s: np.stack(list(border_means(border_scores(s)).values()), axis=-1), level=self.level
            )
            rows += [
                (m, float(value), float(low), float(high))
                for (m, value), low, high in zip(means.items(), drawn.low, drawn.high, strict=True)
            ]
        return pd.DataFrame(rows, columns=["measure", "value", "low", "high"]).astype({"measure": "str"})

    def class_table(self) -> "pd.DataFrame":
        """One row per class of the legend.

        ``class_id``, ``class_name``, ``iou`` with ``iou_low`` and ``iou_high``, ``f1``, ``precision``, ``recall``;
        ``reference_px`` and ``mapped_px``; ``reference_ha`` and ``mapped_ha``, true areas of the pixels where both have
        a class; ``bias_ha``, mapped less reference, and ``bias_pct``, of the reference; where borders were asked for,
        the fields of `BorderScores` with ``boundary_`` before the first four.
        """
        between = self.interval(lambda m: class_scores(m).iou)
        return class_table_of(self.legend, self.margins, self.area_m2[:-1, :-1], between, self.borders)

    def scene_table(self, *, with_kappa: bool = False) -> "pd.DataFrame":
        """One row per scene, and one for all together where there are several.

        ``scene``, ``pixels`` (compared), ``area_ha``, ``unmapped`` (share of the reference without a class in the
        prediction), the scores of the whole, and ``ece`` where there is confidence.
        """
        import pandas as pd

        names = [m for m in MEASURES if with_kappa or m != "kappa"]
        rows = []
        for s in self.scenes:
            found, by = scores(Margins.of(s.counts.compared)), s.counts.by_percent
            ece = None if by is None else reliability_of(by).ece
            area = int(s.counts.units[:-1, :-1].sum()) * s.unit_m2
            rows.append([s.name, *extent_of(s.counts.pixels, area), *(float(getattr(found, m)) for m in names), ece])
        if len(self.scenes) > 1:
            found, known = self.scores, self.reliability
            whole = extent_of(self.pixels, float(self.area_m2[:-1, :-1].sum()))
            ece = None if known is None else known.ece
            rows.append([ALL, *whole, *(float(getattr(found, m)) for m in names), ece])
        table = pd.DataFrame(rows, columns=["scene", "pixels", "area_ha", "unmapped", *names, "ece"])
        return (table if table["ece"].notna().any() else table.drop(columns="ece")).astype({"scene": "str"})

    def scene_class_table(self) -> "pd.DataFrame":
        """As `class_table` without intervals, one below the other with a ``scene`` column first."""
        import pandas as pd

        tables = []
        for s in self.scenes:
            areas = s.counts.units[:-1, :-1] * s.unit_m2
            drawn = None if s.borders is None else border_scores(s.borders)
            table = class_table_of(s.legend, Margins.of(s.counts.compared), areas, None, drawn)
            table.insert(0, "scene", pd.Series([s.name] * len(table), dtype="str"))
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def matrix_table(self) -> "pd.DataFrame":
        """The confusion matrix in pixels and hectares, one below the other: rows are the reference.

        ``measure`` (``pixels`` or ``area_ha``), ``reference_id``, ``reference``, a column for each class of the
        prediction, and ``no_class`` (the prediction has none). The last row of each measure is what the reference says
        nothing of.
        """
        return matrix_table_of(self.legend, self.pixels, self.area_m2)

    def calibration_table(self) -> "pd.DataFrame | None":
        """``low``, ``high``, ``pixels``, ``confidence`` and ``accuracy`` of each bin; None without confidence."""
        known = self.reliability
        if known is None:
            return None
        return calibration_table_of(known)

    def object_table(self) -> "pd.DataFrame | None":
        """One row per class whose objects were asked for; None where there is none.

        ``class_id``, ``class_name`` and the fields of `ObjectScores`, all scenes together; after ``pq`` and each
        average precision the ends of its interval, such as ``pq_low`` and ``pq_high``, from scenes drawn again.
        """
        import pandas as pd

        found: dict[int, list[Matches | None]] = {}
        for i, (place, s) in enumerate(zip(self.places, self.scenes, strict=True)):
            for k, matches in s.objects.items():
                found.setdefault(int(place[k]), [None] * len(self.scenes))[i] = matches
        if not found:
            return None
        rows = []
        for k in sorted(found):
            c, between = self.legend.classes[k], object_intervals(found[k], level=self.level)
            row: dict[str, Any] = {"class_id": c.class_id, "class_name": c.name}
            for name, value in asdict(object_scores(found[k])).items():
                row[name] = value
                if name in between:
                    row |= {f"{name}_low": float(between[name].low), f"{name}_high": float(between[name].high)}
            rows.append(row)
        return pd.DataFrame(rows).astype({"class_name": "str"})

    def zone_table(self) -> "pd.DataFrame | None":
        """One row per zone and class that is in it, after one of the zone as a whole; None without zones.

        ``zone``, ``class_id`` (empty for the whole), ``class_name`` (``all`` for the whole), ``pixels`` (of the
        reference, those on the zone's border by the part inside), ``accuracy`` and ``miou`` of the whole, and the
        columns of `class_table` from ``iou`` to ``bias_pct`` of the class.
        """
        return zone_table_of(self.legend, self.zone_ids, self._by_zone()) if self.zone_ids else None

    def _by_zone(self) -> NDArray[np.float64]:
        """(zones, K, K, 2) pixels and square metres of all scenes."""
        total = np.zeros((len(self.zone_ids), len(self.legend), len(self.legend), 2))
        for i, s in enumerate(self.scenes):
            if s.by_zone is not None:
                total[:, self.places[i][:, None], self.places[i]] += s.by_zone
        return total
