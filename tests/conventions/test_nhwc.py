"""A detector whose input became NHWC is prepared as before: its outputs tell more than how it was converted."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from boxcam.errors import SourceError
from boxcam.export.preprocessing.guess import guess
from boxcam.export.source import Request
from boxcam.export.sources.onnx import detections as detecting
from boxcam.export.sources.onnx import opened as opening
from boxcam.export.sources.onnx import source
from tests.conventions.belief import against
from tests.conventions.files import HEIGHT, WIDTH, model_of
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import PLAIN


def converted(name: str, path: Path, last: bool) -> Path:
    """A layout's file, with a Transpose behind its input."""
    proto = model_of(LAYOUTS[name])
    if last:
        (image,) = proto.graph.input
        for place, size in enumerate((1, HEIGHT, WIDTH, 3)):
            image.type.tensor_type.shape.dim[place].dim_value = size
        first = next(node for node in proto.graph.node if image.name in node.input)
        first.input[0] = "channels first"
        turned = helper.make_node("Transpose", [image.name], ["channels first"], perm=[0, 3, 1, 2])
        proto.graph.node.insert(0, turned)
    onnx.save(proto, str(path))
    return path


@pytest.mark.parametrize("producer", ["", "tf2onnx 1.16", "tensorflow"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", ["ultralytics", "yolov5", "yolox", "end to end"])
def test_the_preset_is_that_of_the_outputs(name: str, last: bool, producer: str, tmp_path: Path) -> None:
    path = converted(name, tmp_path / "m.onnx", last)
    request = Request((str(path),), preprocess=PLAIN)
    opened = opening.read(request)
    convention = detecting.detections(opened, request).convention
    found = guess(opened.image, opened.preprocess, convention, producer)
    assert found is not None
    assert found.specs[:1] == LAYOUTS[name].preset
    assert "its outputs are" in found.why


def test_the_preset_that_is_advised_can_be_passed(tmp_path: Path) -> None:
    path = converted("yolov5", tmp_path / "m.onnx", last=True)
    with pytest.raises(SourceError, match='Probably preprocess="yolo" is right'):
        source.load(Request((str(path),)), lambda step: None)
    assert set(against(path, preprocess="yolo")) <= {"boxes"}  # of random weights
