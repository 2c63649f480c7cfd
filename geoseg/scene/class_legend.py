"""Which legend a categorical raster gets: from the caller, the file, a well-known palette, or the values alone.

In here values are those of the file, whatever they are. Where some that occur are outside 0 to 255, the classes get
values of their own, counted from 0, and keep the file's as `LegendClass.file_value`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.errors import ParameterError, SceneError, printable
from geoseg.legend import NODATA, Legend, LegendClass, default_color
from geoseg.legends import other_numbers, recognised, well_known
from geoseg.scene.class_names import RGB, StatedClasses

__all__ = ["LegendDraft", "draft_legend", "extended_legend", "finished_legend"]

_LIKE_AN_IMAGE = 64
_BLACK = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendDraft:
    """What is known of the legend before any pixel is."""

    names: Mapping[int, str]
    colors: Mapping[int, RGB]
    unobserved: frozenset[int]
    """Values that the legend, not the file, calls nodata."""
    given: Legend | None
    """As the caller gave it."""
    check: bool
    """Whether the caller chose the legend, so that it is held against the values that occur."""
    called: str
    """Name of the well-known legend; empty where it is none."""
    notes: tuple[str, ...]


def draft_legend(stated: StatedClasses, *, legend: Legend | str | None, declared: int | None, name: str) -> LegendDraft:
    """What can be said of the legend before any pixel is read.

    Raises:
        ParameterError: If ``legend`` is not known, or has a class at the file's nodata value.
    """
    called, notes = "", []
    given = legend if isinstance(legend, Legend) else None
    if isinstance(legend, str):
        known: Legend | None = well_known(legend)
        called = legend
    elif given is not None:
        known = given
    elif stated.names:
        known = None
        notes.append(f"class names from {stated.origin}")
    else:
        called = recognised({v: rgb for v, rgb in stated.colors.items() if v != declared}) or ""
        known = well_known(called) if called else None
        if called:
            notes.append(f"class names of the legend {called!r}, whose colours the file has")
    if known is None:
        return LegendDraft(
            names=stated.names, colors=stated.colors, unobserved=frozenset(), given=None, check=False, called="",
            notes=tuple(notes),
        )  # fmt: skip
    if declared in known.class_ids:
        lost = next(c for c in known if c.class_id == declared)
        if given is not None:
            raise ParameterError(
                f"{name}: its nodata value {declared} is the class {printable(lost.name)!r} of the legend: take the "
                "class out of the legend, or the nodata value out of the file with gdal_edit.py -unsetnodata"
            )
        notes.append(f"the file's nodata value {declared} goes before the class {lost.name!r} of the legend {called!r}")
    colors = {c.class_id: c.rgb for c in known}
    if given is None:
        numbers = other_numbers(called)
        colors |= _shown(stated.colors, known.values)
        # of the other numbering too: values tell later which it is
        colors |= {numbers[v]: rgb for v, rgb in colors.items() if v in numbers and numbers[v] not in colors}
        colors |= _shown(stated.colors, tuple(numbers.values()))
    return LegendDraft(
        names={c.class_id: c.name for c in known}, colors=colors, unobserved=frozenset({known.nodata_id}), given=given,
        check=legend is not None, called=called, notes=tuple(notes),
    )  # fmt: skip


def finished_legend(
    draft: LegendDraft,
    *,
    values: tuple[int, ...] | None,
    declared: int | None,
    unobserved: Sequence[int],
    masked: bool,
    name: str,
) -> tuple[Legend, tuple[str, ...]]:
    """The legend and what a user wants to know about it.

    Args:
        draft: What was known before any pixel was.
        values: Class values that occur; None where nobody looked.
        declared: The file's nodata value, where a class map of uint8 can keep it.
        unobserved: Stored values that mean "no observation".
        masked: Whether a mask or alpha band says so too.
        name: Of the file, for messages.

    Raises:
        SceneError: If there is no class, or no value is left for nodata.
        ParameterError: If the caller's legend does not fit.
    """
    if values is not None:
        draft = _in_its_numbers(draft, values)
    if draft.check and values is not None:
        _check_fit(draft, values, name)
    if draft.given is not None:
        return draft.given, draft.notes
    coded = any(not 0 <= v <= NODATA for v in values or ())
    nodata = NODATA if coded else _nodata(draft, declared, values or (), name)
    notes = list(draft.notes)
    if not unobserved and not masked:
        notes.append("no nodata value and no mask: every pixel is an observation")
    elif coded or masked or tuple(unobserved) != (nodata,):
        sources = [*map(str, unobserved), *(["what its mask or alpha band hides"] if masked else [])]
        notes.append(f"no observation: {', '.join(sources)}" + ("" if coded else f"; becomes {nodata}"))
    named = sorted(v for v in draft.names if v not in unobserved and (coded or (v != nodata and 0 <= v <= NODATA)))
    if coded and len({*named, *(values or ())}) > NODATA:  # more names than values: those that occur will do
        named = [v for v in named if v in (values or ())]
    extra = [v for v in values or () if v not in draft.names]
    if not named and not extra:
        raise SceneError(f"{name}: holds no class: every pixel is nodata; check its nodata value with gdalinfo")
    if draft.names and extra:
        notes.append(f"values without a name, called 'class {extra[0]}' and so on: {_listed(extra)}")
    if len(extra) > _LIKE_AN_IMAGE and not draft.names and not draft.colors:
        notes.append(f"{len(extra)} values without names or colours: check that it is a class map, not an image")
    places = {v: i for i, v in enumerate(sorted({*named, *extra}))} if coded else {}
    base = tuple(_classes(named, draft.names, draft.colors, places=places))
    classes = [*base, *_classes(extra, {}, draft.colors, first=len(base), places=places)]
    # the file's own nodata value goes before a legend's
    own = [v for v in unobserved if v not in draft.unobserved] or list(unobserved)
    return _legend(classes, nodata, file_nodata=own[0] if coded and own else None), tuple(notes)


def _in_its_numbers(draft: LegendDraft, values: Sequence[int]) -> LegendDraft:
    """A well-known legend in the other numbering of its product, where more of the values have a name in that."""
    numbers = other_numbers(draft.called)
    if sum(v in numbers.values() for v in values) <= sum(v in draft.names for v in values):
        return draft
    return replace(draft, names={numbers[v]: name for v, name in draft.names.items()})


def _check_fit(draft: LegendDraft, values: Sequence[int], name: str) -> None:
    missing = [v for v in values if v not in draft.names]
    if draft.given is not None and missing:
        raise ParameterError(
            f"{name}: has the values {_listed(missing)}, which the legend lacks: add them to the legend"
        )
    if missing and len(missing) == len(values):
        raise ParameterError(
            f"{name}: none of its values ({_listed(missing)}) is in the legend {draft.called!r}: choose another legend"
        )


def _nodata(draft: LegendDraft, declared: int | None, values: Sequence[int], name: str) -> int:
    """The value for "no observation": 1. the file's, 2. the well-known legend's, 3. one that is free."""
    if declared is not None:
        return declared
    for value in draft.unobserved:
        return value
    free = [v for v in range(NODATA, -1, -1) if v not in values]
    if not free:
        raise SceneError(
            f"{name}: too many classes: it has {len(values)} values, from {min(values)} to {max(values)}, and none is "
            f"left for nodata; is it an image? Reclassify it to at most {NODATA} classes, or declare its nodata value"
        )
    return next((v for v in free if v not in draft.names), free[0])


def extended_legend(legend: Legend, values: Iterable[int]) -> Legend:
    """The legend with ``class 7`` and the like added for those of these values that it lacks."""
    missing = sorted({int(v) for v in values} - {*legend.values, legend.nodata})
    return _legend([*legend, *_classes(missing, {}, {}, first=len(legend))], legend.nodata) if missing else legend


def _classes(
    values: Iterable[int],
    names: Mapping[int, str],
    colors: Mapping[int, RGB],
    *,
    first: int = 0,
    places: Mapping[int, int] | None = None,
) -> Iterator[LegendClass]:
    """Classes with names and colours, for those after the ``first``; ``places`` has other values for them."""
    values = tuple(values)
    shown = _shown(colors, values)
    for index, value in enumerate(values, first):
        rgb = shown.get(value)
        color = default_color(index) if rgb is None else "#{:02x}{:02x}{:02x}".format(*rgb)
        name = names.get(value, f"class {value}")
        if places:
            yield LegendClass(value=places[value], name=name, color=color, file_value=value)
        else:
            yield LegendClass(value=value, name=name, color=color)


def _shown(colors: Mapping[int, RGB], values: Iterable[int]) -> dict[int, RGB]:
    """The colours that were chosen: formats fill tables up with black, so several black classes have none."""
    chosen = {v: colors[v] for v in values if v in colors}
    if list(chosen.values()).count(_BLACK) > 1:
        chosen = {v: rgb for v, rgb in chosen.items() if rgb != _BLACK}
    return chosen


def _legend(classes: list[LegendClass], nodata: int, *, file_nodata: int | None = None) -> Legend:
    """A legend in the order of values; a name that several values have is followed by the value."""
    ordered = sorted(classes, key=lambda c: c.value)
    names = [c.name for c in ordered]
    names = [n if names.count(n) == 1 else f"{n} ({c.class_id})" for n, c in zip(names, ordered, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{c.class_id} {c.name}" for c in ordered]
    return Legend(
        classes=tuple(replace(c, name=n) for n, c in zip(names, ordered, strict=True)),
        nodata=nodata,
        file_nodata=file_nodata,
    )


def _listed(values: Iterable[int]) -> str:
    texts = [str(v) for v in values]
    return ", ".join(texts[:10]) + (f" and {len(texts) - 10} more" if len(texts) > 10 else "")
