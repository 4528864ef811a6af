"""The size of the picture as an input: boxes are in the scale in which they are read, or the file is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from boxcam.errors import SourceError
from tests.conventions.files import HEIGHT, WIDTH, write
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message

LAYOUT = LAYOUTS["d-fine"]


def d_fine(path: Path, name: str = "orig_target_sizes", turned: bool = False, size: Any = None) -> Path:
    """D-FINE as it is deployed; its input by another name, or height first, or an image of any size."""
    proto = onnx.load(str(write(LAYOUT, path)))
    if turned:
        node = next(node for node in proto.graph.node if "orig_target_sizes" in node.input)
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 0]), "order"))
        at = list(proto.graph.node).index(node)
        proto.graph.node.insert(at, helper.make_node("Gather", ["orig_target_sizes", "order"], ["turned"], axis=1))
        node.input[list(node.input).index("orig_target_sizes")] = "turned"
    for node in proto.graph.node:
        node.input[:] = [name if one == "orig_target_sizes" else one for one in node.input]
    proto.graph.input[1].name = name
    for axis, side in zip((2, 3), size or (), strict=False):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = side
    onnx.save(proto, str(path))
    return path


def truth(tmp_path: Path, image: np.ndarray) -> Any:
    return expected(LAYOUT, LAYOUT.truth(outputs(write(LAYOUT, tmp_path / "truth.onnx"), image), 3))


@pytest.mark.parametrize("given", [{}, {"inputs": [f"orig_target_sizes={WIDTH},{HEIGHT}"]}])
def test_the_size_of_the_input_is_taken(given: dict[str, Any], tmp_path: Path) -> None:
    found = read(d_fine(tmp_path / "m.onnx"), **given)
    same(found.found, truth(tmp_path, found.image))


@pytest.mark.parametrize("name", ["orig_target_sizes", "wh"])
@pytest.mark.parametrize("given", ["800,600", f"{HEIGHT},{WIDTH}"])
def test_another_size_is_refused_and_the_advice_works(name: str, given: str, tmp_path: Path) -> None:
    path = d_fine(tmp_path / "m.onnx", name)
    with pytest.raises(SourceError, match=f'would all lie elsewhere. Pass inputs="{name}={WIDTH},{HEIGHT}"') as caught:
        read(path, inputs=[f"{name}={given}"])
    check_message(str(caught.value))
    found = read(path, inputs=[f"{name}={WIDTH},{HEIGHT}"])
    same(found.found, truth(tmp_path, found.image))


def test_the_size_that_boxcam_fills_in_is_not_taken_for_the_right_order(tmp_path: Path) -> None:
    path = d_fine(tmp_path / "m.onnx", turned=True)
    with pytest.raises(SourceError, match=f'Pass inputs="orig_target_sizes={HEIGHT},{WIDTH}"'):
        read(path)
    found = read(path, inputs=[f"orig_target_sizes={HEIGHT},{WIDTH}"])
    same(found.found, truth(tmp_path, found.image))


def test_shares_of_the_picture_are_asked_for_by_a_size_of_one(tmp_path: Path) -> None:
    path = d_fine(tmp_path / "m.onnx")
    found = read(path, inputs=["orig_target_sizes=1,1"], box_scale="normalized")
    same(found.found, truth(tmp_path, found.image))
    with pytest.raises(SourceError, match=f'Pass inputs="orig_target_sizes={WIDTH},{HEIGHT}"'):
        read(path, inputs=["orig_target_sizes=1,1"])


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_proposed_for_an_input_of_another_name_gives_the_right_boxes(turned: bool, tmp_path: Path) -> None:
    path = d_fine(tmp_path / "m.onnx", "wh", turned)
    with pytest.raises(
        SourceError, match=r"second input, wh \[1, 2\], and boxcam does not know what to feed"
    ) as caught:
        read(path)
    number, file = re.findall(r'inputs="([^"]*)"', check_message(str(caught.value)))
    assert (number, file) == ("wh=1", "wh=FILE.npy")
    found = read(path, inputs=[number])
    assert found.convention.scale == "normalized"
    same(found.found, truth(tmp_path, found.image))
    size = [[HEIGHT, WIDTH] if turned else [WIDTH, HEIGHT]]
    np.save(tmp_path / "FILE.npy", np.array(size))
    found = read(path, inputs=[file.replace("FILE", str(tmp_path / "FILE"))])
    assert found.convention.scale == "pixels"
    same(found.found, truth(tmp_path, found.image))
