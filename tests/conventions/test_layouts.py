"""Every row of the table: its file is read as the layout's published decoding reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.page import PATH
from boxcam.export.heads.conventions.page import written as updated
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.across import ACROSS
from tests.conventions.apart import APART
from tests.conventions.files import write
from tests.conventions.further import FURTHER
from tests.conventions.in_graph import IN_GRAPH
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import expected, outputs, read, same

ALL = {**LAYOUTS, **IN_GRAPH}
CASES = [(name, classes) for name, layout in ALL.items() for classes in layout.counts]


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("written", ["with metadata", "without metadata", "stripped", "open batch"])
def test_it_is_read_as_published(name: str, classes: int, written: str, tmp_path: Path) -> None:
    layout = ALL[name]
    names, strip = written == "with metadata", written == "stripped"
    path = write(layout, tmp_path / "model.onnx", classes, names=names, strip=strip, batch=written == "open batch")
    options = {**({} if names else layout.options), **(layout.stripped if strip else {})}
    entry = options.pop("entry", layout.entry)
    found = read(path, **options)
    assert found.convention.name == CONVENTIONS[entry].title
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))


def test_every_entry_of_detectors_has_a_layout() -> None:
    """Those of the first version are tried in tests/export/sources/onnx, by detectors that torch exports."""
    older = {
        "mmdeploy",
        "tensorflow",
        "paddle",
        "ultralytics-rtdetr",
        "detr",
        "queries",
        "classifier",
    }
    older |= {"boxes-and-scores", "boxes-and-scores-across"}
    classifiers = {name for name in CONVENTIONS if name.startswith("classifier")}  # in test_further.py
    groups = (ALL, FURTHER, APART, ACROSS)
    tried = {layout.entry for group in groups for layout in group.values()}
    assert tried == set(CONVENTIONS) - older - classifiers


def test_the_page_is_up_to_date() -> None:
    page = (Path(__file__).parents[2] / PATH).read_text(encoding="utf-8")
    assert page == updated(page), f"{PATH} is out of date; run: python -m boxcam.export.heads.conventions.page"


def test_a_class_more_than_names_stands_for_nothing(tmp_path: Path) -> None:
    """RF-DETR's: a sigmoid over all, the last class is none."""
    layout = LAYOUTS["rf-detr"]
    for strip in (False, True):
        path = write(layout, tmp_path / "model.onnx", 4, strip=strip)
        options = {"score_activation": "sigmoid", "scores": "tensor_1"} if strip else {}
        if strip:
            with pytest.raises(SourceError, match=r"the scores may be tensor_1 or tensor_0\. Pass the right one with"):
                read(path, class_names=["a", "b", "c"])
            with pytest.raises(SourceError, match="are they meant for a sigmoid or a softmax"):
                read(path, class_names=["a", "b", "c"], scores="tensor_1")
        found = read(path, class_names=["a", "b", "c"], **options)
        assert (found.convention.background, found.convention.activation) == ("last", "sigmoid")
        truth = layout.truth(outputs(path, found.image), 4)
        same(found.found, expected(layout, replace(truth, scores=truth.scores[:, :3])))


def test_a_transformer_without_names_asks_for_the_activation(tmp_path: Path) -> None:
    path = write(LAYOUTS["rf-detr"], tmp_path / "model.onnx", 3, strip=True)
    with pytest.raises(SourceError, match=r"sigmoid or a softmax\? Pass score_activation=.sigmoid. or"):
        read(path)
