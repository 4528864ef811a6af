"""Which entry of the table a model's outputs are of; what is not sure is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from boxcam.errors import BoxcamWarning, NothingToExplainError, SourceError, UnknownNameError
from boxcam.export.heads.convention import Convention
from boxcam.export.heads.conventions import shapes
from boxcam.export.heads.conventions.coarse import lost_in_steps
from boxcam.export.heads.conventions.columns import by_columns
from boxcam.export.heads.conventions.contradictions import check
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.table import CONVENTIONS
from boxcam.export.heads.evidence.makers import is_computed, is_unit_vector
from boxcam.export.heads.observed import ObservedTensor


class UnknownOutputsError(SourceError):
    """The outputs are none that are known, whatever the image was."""


_DECODE = "compute boxes and scores from the outputs with decode="
_EXAMPLE = "image,class,score,x1,y1,x2,y2"


@dataclass(frozen=True, eq=False)
class Reading:
    """Outputs as an entry reads them.

    Attributes:
        name: of the entry in the table.
        fit: how sure it is.
        match: which tensors are which.
    """

    name: str
    fit: Fit
    match: Match

    @property
    def entry(self) -> Entry:
        return self.match.entry

    @property
    def classes(self) -> int | None:
        """How many classes there are, if the outputs tell: the one that stands for nothing included."""
        if self.entry.kind == "selected":
            return None if self.entry.labels else 1
        return self.match.sizes["C"]

    @property
    def fits_names(self) -> bool:
        """Whether as many class names as are known go with it."""
        known = self.match.question.classes
        if known is None or self.classes is None or known == self.classes:
            return True
        return known == self.classes - 1 and self._has_void()

    def _has_void(self) -> bool:
        """Whether a class stands for nothing, and has no name; where that has to be asked for, one may."""
        told = self.match.question.background or self.entry.background
        if isinstance(told, str):
            return told != "none"
        try:
            return told(self.match) != "none"
        except SourceError:
            return True


def recognise(question: Question) -> Convention:
    """How a model reports its detections.

    Raises:
        SourceError: its outputs are of no convention, or may be of several: the message asks for what settles it.
    """
    if question.columns:
        return by_columns(question)
    readings = readings_of(question)
    if not readings:
        raise _nothing(question)
    fitting = [one for one in readings if one.fits_names]
    if not fitting:
        raise _wrong_names(readings, question)
    best = max(one.fit for one in fitting)
    surer = [one for one in readings if one.fit > best and one.fit >= Fit.LIKELY]
    if surer:  # the number of names alone does not decide
        raise _several([*surer, *fitting], question)
    chosen = _by_names([one for one in fitting if one.fit is best])
    if len(chosen) > 1:
        _refuse_all(chosen)
        raise _raw(question) if _is_raw(question) and best <= Fit.POSSIBLE else _several(chosen, question)
    (reading,) = chosen
    if best is Fit.NO:
        raise _contradicted(reading, question)
    if question.convention is not None:
        _warn_of_surer(reading, question)
    if best is Fit.POSSIBLE and not question.settled:
        if _has_boxes_beside(reading):
            raise _not_found(question)
        whole = reading.entry.kind == "classes"
        otherwise = "otherwise, as of an embedding, there is no class to explain" if whole else f"otherwise {_DECODE}"
        raise SourceError(
            f"{_tensors(reading.match)} may be {reading.entry.title}, but nothing in the graph shows that. Pass"
            f' convention="{reading.name}" if so; {otherwise}. {question.listed()}{_table_hint(question)}'
        )
    check(reading.match)
    return reading.entry.convention(reading.match)


def _by_names(chosen: list[Reading]) -> list[Reading]:
    """Those that are of an entry by the names of all of its tensors, if there are any: shapes alone say less."""
    return [one for one in chosen if one.entry.names.keys() == one.entry.tensors.keys()] or chosen


def _refuse_all(chosen: Sequence[Reading]) -> None:
    """What is refused whichever reading is meant need not be asked for.

    Raises:
        SourceError: all readings are refused for the same reason.
    """
    said: dict[str, SourceError] = {}
    for reading in chosen:
        try:
            reading.entry.convention(reading.match)
        except SourceError as error:
            said[str(error)] = error
        else:
            return
    if len(said) == 1:
        raise next(iter(said.values()))


def _surest(question: Question) -> list[Reading]:
    """What the outputs are without the convention that the user names, if that is clear."""
    found = readings_of(replace(question, convention=None))
    best = max((one.fit for one in found), default=Fit.NO)
    return [one for one in found if one.fit is best] if best >= Fit.LIKELY else []


def _contradicted(reading: Reading, question: Question) -> SourceError:
    """The user names a convention that the graph, or the numbers of the run, speak against."""
    lost = lost_in_steps(question)
    if lost:
        return UnknownOutputsError(lost)
    surest = _surest(question)
    better = " or ".join(f'convention="{one.name}"' for one in surest)
    return SourceError(
        f'convention="{reading.name}" does not fit: the graph makes {_tensors(reading.match)} in another way than'
        f" {reading.entry.title}. {f'Pass {better}, or' if better else 'Leave it out, or'} {_DECODE}."
        f" {question.listed()}"
    )


def _warn_of_surer(reading: Reading, question: Question) -> None:
    for one in _surest(question):
        if one.name != reading.name and one.fit > reading.fit:
            warnings.warn(
                f'convention="{reading.name}" is taken, but the graph shows {one.entry.title}. Pass'
                f' convention="{one.name}" if the boxes or classes are wrong.',
                BoxcamWarning,
                stacklevel=3,
            )
            return


def readings_of(question: Question) -> list[Reading]:
    """All ways to read the outputs, in the order of the table.

    Raises:
        UnknownNameError: the user names an entry that is not in the table.
    """
    table = CONVENTIONS.loaded()
    if question.convention is not None:
        if question.convention not in table:
            raise UnknownNameError.of("output convention", question.convention, tuple(table))
        table = {question.convention: table[question.convention]}
    found = []
    for name, entry in table.items():
        for match in entry.matches(question):
            fit = entry.fits(match)
            if fit is not Fit.NO or question.convention is not None:
                found.append(Reading(name, fit, match))
    return found


def _tensors(match: Match) -> str:
    return " and ".join(f"{one.value.name} {list(one.array.shape)}" for one in match.tensors.values())


def _several(chosen: Sequence[Reading], question: Question) -> SourceError:
    """Several readings: of several tensors, or of several conventions."""
    names = list(dict.fromkeys(one.name for one in chosen))
    if len(names) == 1 or not any(_same_tensors(one, other) for one in chosen for other in chosen if one is not other):
        for part in ("scores", "boxes", "labels"):
            rivals = list(dict.fromkeys(name for one in chosen if (name := _name_of(one, part))))
            if len(rivals) > 1:
                what = "scores" if part == "scores" else part
                return SourceError(
                    f"the {what} may be {' or '.join(rivals)}. Pass the right one with {part}=. {question.listed()}"
                )
    said = [f"{one.entry.title} ({_parts(one)})" for one in chosen]
    how = " or ".join(f'convention="{name}"' for name in names)
    classes = {one.classes for one in chosen}
    more = ", or the class names with class_names=" if len(classes) == len(chosen) > 1 and None not in classes else ""
    return SourceError(
        f"{_tensors(chosen[0].match)} is ambiguous: it can be read in {len(said)} ways: {', or '.join(said)}."
        f" Pass {how}{more}."
    )


def _same_tensors(one: Reading, other: Reading) -> bool:
    first, second = ({id(t.value) for t in reading.match.tensors.values()} for reading in (one, other))
    return bool(first & second)


def _name_of(reading: Reading, part: str) -> str | None:
    written: str = getattr(reading.entry, part)
    return str(reading.match.tensors[shapes.slot(written)[0]].value.name) if written else None


def _parts(reading: Reading) -> str:
    """How the columns of a reading are shared out: ``a box and 5 classes``."""
    entry = reading.entry
    parts = [*(["a box"] if entry.boxes else []), *(["objectness"] if entry.objectness else [])]
    if reading.classes is not None:
        parts.append(f"{reading.classes} class" + ("es" if reading.classes != 1 else ""))
    else:
        parts.append("score and class")
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


def _wrong_names(readings: Sequence[Reading], question: Question) -> SourceError:
    """Class names whose number fits no reading."""
    best = max(one.fit for one in readings)
    said = dict.fromkeys(
        f"{_tensors(one.match)} has {one.classes} classes if it is {one.entry.title}"
        for one in readings
        if one.fit is best
    )
    return SourceError(
        f"there are {question.classes} class names, but {', and '.join(said)}. Pass one name for each with"
        f" class_names=, or {_DECODE}."
    )


def _nothing(question: Question) -> SourceError:
    """Nothing fits: what is missing is asked for by its own name."""
    named, lost = question.named, lost_in_steps(question)
    if lost and not _is_raw(question):
        return UnknownOutputsError(lost)
    if question.convention is not None:
        entry = CONVENTIONS[question.convention]
        wanted = ", ".join(f"[{shape}]" for shape in entry.tensors.values())
        return SourceError(
            f'convention="{question.convention}" ({entry.title}) needs {wanted}, which the model does not have.'
            f" Pass another one, or {_DECODE}. {question.listed()}"
        )
    if set(named) == {"labels"}:
        return SourceError("labels= alone does not tell where the detections are. Pass scores= and boxes= too.")
    if _is_raw(question):
        return _raw(question)
    if all(one.array.ndim == 2 and is_unit_vector(one.made) for one in named.values() or question.seen):
        return NothingToExplainError(
            "the graph divides the output by its own norm, so it is an embedding, and no number of it is the score of a"
            " class: there is nothing to explain. Export a model that has classes, or pass the tensor of their scores"
            f" with scores=. {question.listed()}"
        )
    if named:
        return _none_as_named(question, named)
    wide = _tables(question)
    maps = [one for one in _maps(question) if one not in wide]
    whole = any(one.array.shape[2:] == question.size for one in maps)
    if maps and len(maps) == len(question.seen) and (whole or len(maps) == 1):
        return NothingToExplainError(
            "the model outputs maps, and neither boxes nor classes of the whole image (as for segmentation), so"
            f" there is no box to explain. Export a detector or classifier; if the map is a detector's own, {_DECODE}."
            f" {question.listed()}"
        )
    return _not_found(question)


def _not_found(question: Question) -> UnknownOutputsError:
    return UnknownOutputsError(
        f"no scores and boxes were found. {question.listed()} Pass their names with scores= and boxes=, or {_DECODE}."
        f"{_table_hint(question)}"
    )


def _has_boxes_beside(reading: Reading) -> bool:
    """Whether an output that a reading leaves out may be the boxes of its rows, so that its own are hardly any."""
    match = reading.match
    rows, taken = match.sizes.get("N"), list(match.tensors.values())
    others = [one for one in match.question.seen if one not in taken and one.real and is_computed(one.value)]
    return bool(match.entry.boxes) and any(one.array.shape[-2:] == (rows, 4) for one in others)


def _tables(question: Question) -> list[ObservedTensor]:
    """Outputs that may be a table of detections, by their size."""
    tables = [one for one in question.seen if len(one.table) == 2 and one.table[0] <= 1000 and one.real]
    return [one for one in tables if 6 <= one.table[1] <= 12]


def _table_hint(question: Question) -> str:
    found = _tables(question)
    if not found:
        return ""
    return f' If {found[0].value.name} is a table of detections, pass its columns, as columns="{_EXAMPLE}".'


def _raw(question: Question) -> SourceError:
    where = " at each of its levels" if len(_maps(question)) < 2 or _sizes_of_maps(question) > 1 else ""
    return UnknownOutputsError(
        f"the outputs are what a detector's head computes{where}, before boxes and scores are made of it."
        ' Pass a function that makes them with decode="FILE.py:FUNCTION"; docs/onnx.md has an example.'
        f" {question.listed()}"
    )


def _maps(question: Question) -> list[ObservedTensor]:
    return [one for one in question.seen if one.array.ndim == 4 and min(one.array.shape[2:]) > 1]


def _sizes_of_maps(question: Question) -> int:
    return len({one.array.shape[2:] for one in _maps(question)})


def _is_raw(question: Question) -> bool:
    """Whether the outputs are those of a dense head: maps or rows of two sizes at least, or nothing but several maps.

    If one is as large as the image, they are of a segmentation.
    """
    maps = _maps(question)
    rows = [one for one in question.seen if one.array.ndim == 3 and one.array.shape[1] > 1]
    if any(one.array.shape[2:] == question.size for one in maps):
        return False
    several = len(maps) == len(question.seen) > 1
    return several or _sizes_of_maps(question) > 1 or len({one.array.shape[1] for one in rows}) > 1


def _none_as_named(question: Question, named: dict[str, ObservedTensor]) -> SourceError:
    shapes_of = "; ".join(f"{one.value.name} {list(one.array.shape)}" for one in named.values())
    missing = [part for part in ("scores", "boxes") if part not in named]
    what = "these are not scores [1, N, C], [1, C, N] or [1, C] with boxes [1, N, 4]"
    if missing:
        part, given = missing[0], next(iter(named))
        return SourceError(
            f"{shapes_of}: that is given as {given}=, and no {part} that go with it were found. Pass them with"
            f" {part}=, or {_DECODE}. {question.listed()}"
        )
    return SourceError(f"{shapes_of}: {what}. Pass others with scores= and boxes=, or {_DECODE}. {question.listed()}")
