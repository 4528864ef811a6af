"""Files that are read as what they are not: refused, asked about or warned of, all of them; and no false alarm.

What the boxes of a transformer's queries are, a centre or a corner with a size, no graph tells: that is not tried here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.errors import BoxcamError, BoxcamWarning, SourceError
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.recognise import recognise
from boxcam.export.heads.conventions.table import CONVENTIONS
from boxcam.export.source import Request
from boxcam.export.sources.onnx import opened as opening
from boxcam.export.sources.onnx.detections import question
from boxcam.export.sources.onnx.opened import OnnxFile
from tests.conventions.files import Layout, write
from tests.conventions.further import FURTHER
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import PLAIN, Detections, copied, expected, outputs, read

FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")


def wrong_ways(layout: Layout) -> Iterator[dict[str, Any]]:
    """Options that name the layout as another one."""
    for name in CONVENTIONS:
        if name != layout.entry:
            yield {"convention": name}
    for form in FORMATS:
        yield {"box_format": form}
    for scale in ("pixels", "normalized"):
        yield {"box_scale": scale}
    for activation in ("none", "sigmoid", "softmax"):
        yield {"score_activation": activation}


def differs(found: Detections, wanted: Detections) -> bool:
    """Whether boxes, scores or classes are not those that are meant."""
    if len(found[1]) != len(wanted[1]):
        return True
    a, b = (np.lexsort((*d[0].T.round(1), -d[1].round(4))) for d in (found, wanted))
    return not (
        np.allclose(found[0][a], wanted[0][b], atol=0.1)
        and np.allclose(found[1][a], wanted[1][b], atol=1e-5)
        and np.array_equal(found[2][a], wanted[2][b])
    )


def refusal(asked: Question, options: dict[str, Any]) -> str:
    """What is said where a convention is named that does not fit at all; the file need not be read again for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoxcamWarning)
        try:
            recognise(replace(asked, **options))
        except BoxcamError as error:
            return str(error)
    return ""


def attempt(path: Path, options: dict[str, Any], file: OnnxFile | None = None) -> tuple[str, Any]:
    """What is said: an error or a warning; and what is read, of a file that may have been opened already."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BoxcamWarning)
        try:
            found = read(path, file, **options)
        except BoxcamError as error:
            return str(error), None
    said = [str(one.message) for one in caught if issubclass(one.category, BoxcamWarning)]
    return " ".join(said), found


def test_wrong_readings_are_said_and_right_ones_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent, said, alarms, right = [], 0, [], 0
    for name, layout in LAYOUTS.items():
        for classes in {3, layout.counts[0] if name in ("yolox", "yolov5", "end to end", "rf-detr") else 3}:
            path = write(layout, tmp_path / "model.onnx", classes)
            plain = dict(layout.options)
            image = read(path, **plain).image
            wanted = expected(layout, layout.truth(outputs(path, image), classes))
            request = Request((str(path),), preprocess=PLAIN, **plain)
            file = opening.read(request)
            asked = question(copied(file), request)
            for options in wrong_ways(layout):
                words, found = refusal(asked, options), None
                if not words:
                    words, found = attempt(path, {**plain, **options}, file)
                wrong = found is None or differs(found.found, wanted)
                queries = layout.kind == "queries" or layout.entry == "torchvision"
                if found is not None and options.get("box_format") in ("xywh", "cxcywh") and queries and not words:
                    continue
                if wrong and not words:
                    silent.append((name, classes, options))
                said += bool(wrong and words)
                if not wrong:
                    right += 1
                    if words and "convention" not in options:
                        alarms.append((name, classes, options, words))
            for metadata in (False, True):
                words, found = attempt(write(layout, tmp_path / "model.onnx", classes, names=metadata), plain)
                right += 1
                if words or differs(found.found, wanted):
                    alarms.append((name, classes, {}, words))
    with capsys.disabled():
        print(f"\n{said} wrong readings said, {len(silent)} not; {right} right ones, {len(alarms)} false alarms")  # noqa: T201
    assert silent == [], "\n".join(map(str, silent))
    assert alarms == [], "\n".join(map(str, alarms))
    assert said >= 60
    assert right >= 100


@pytest.mark.parametrize("name", [*LAYOUTS, *FURTHER])
def test_class_names_that_are_too_few_or_too_many_are_refused(name: str, tmp_path: Path) -> None:
    """With both numbers. Of what the model selects itself only the classes of the run are known: one name is few."""
    layout = {**LAYOUTS, **FURTHER}[name]
    classes = 3 if 3 in layout.counts else layout.counts[-1]
    path = write(layout, tmp_path / "model.onnx", classes)
    selected = CONVENTIONS[layout.entry].kind == "selected"
    counts = {1} if selected else {classes - 1, classes + 1} - {0}
    if layout.entry == "rf-detr":
        counts.remove(classes - 1)  # a class more than names stands for nothing
    for count in counts:
        names = [f"class {index}" for index in range(count)]
        with pytest.raises(SourceError, match=r"class_names=|is ambiguous") as caught:
            read(path, **{**layout.options, "class_names": names})
        numbers = set(re.findall(r"\d+", str(caught.value)))
        columns = classes + (layout.options.get("background", "none") != "none")
        assert str(count) in numbers
        assert str(columns) in numbers or (selected and numbers & {"1", "2"})
