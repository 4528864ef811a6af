"""Outputs of other types than a bundle's graphs have: one sentence when it is loaded, or when its gradient is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import boxcam
from boxcam import bundle as bundles
from boxcam.bundle import MANIFEST, check_preprocess
from boxcam.errors import BundleError, EngineError
from boxcam.runtime.engines import Group
from tests.hostile.made import BUNDLE, PICTURE, bundle
from tests.messages import check_message

FEATURE = "/neck/fpn_convs.0/activate/Relu_output_0"
TYPES = {
    "double": TensorProto.DOUBLE,
    "half": TensorProto.FLOAT16,
    "int": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "text": TensorProto.STRING,
}


def retyped(name: str, kind: str) -> Callable[[onnx.ModelProto], None]:
    """Let an output be of another type: a number by a Cast, a sequence or an optional of it by their own operators."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for index, one in enumerate(names):
                    names[index] = f"{name}.before" if one == name else one
        output = next(one for one in model.graph.output if one.name == name)
        if kind in TYPES:
            model.graph.node.append(helper.make_node("Cast", [f"{name}.before"], [name], to=TYPES[kind]))
            output.type.tensor_type.elem_type = TYPES[kind]
        else:
            operator, field = {
                "sequence": ("SequenceConstruct", "sequence_type"),
                "optional": ("Optional", "optional_type"),
            }[kind]
            model.graph.node.append(helper.make_node(operator, [f"{name}.before"], [name]))
            inner = onnx.TypeProto()
            inner.CopyFrom(output.type)
            output.ClearField("type")
            getattr(output.type, field).elem_type.CopyFrom(inner)

    return change


def forged(folder: Path, file: str, change: Callable[[onnx.ModelProto], object]) -> Path:
    path = bundle(folder)
    model = onnx.load(str(path / file), load_external_data=False)
    change(model)
    (path / file).write_bytes(model.SerializeToString())
    return bundle(folder)


MANY = [(FEATURE, kind) for kind in (*TYPES, "sequence", "optional")]
MANY += [(name, kind) for name in ("dets", "labels", "logit", "origin") for kind in ("text", "sequence", "optional")]
MANY += [("logit", "int"), ("logit", "bool"), ("origin", "double"), ("origin", "bool")]


@pytest.mark.parametrize(("name", "kind"), MANY)
def test_an_output_of_the_model(name: str, kind: str, tmp_path: Path) -> None:
    path = forged(tmp_path, "forward.onnx", retyped(name, kind))
    with pytest.raises(BundleError, match=r"(is|cannot be loaded by) .*(tensor|ONNX Runtime)") as caught:
        boxcam.load(path, threads=1)
    check_message(str(caught.value))


@pytest.mark.parametrize(
    ("name", "kind"), [("dets", "double"), ("dets", "half"), ("logit", "double"), ("logit", "half")]
)
def test_an_output_of_another_precision_is_read(name: str, kind: str, tmp_path: Path) -> None:
    path = forged(tmp_path, "forward.onnx", retyped(name, kind))
    made, expected = (boxcam.load(one, threads=1).explain(PICTURE, top=2) for one in (path, BUNDLE))
    assert made.detections.boxes == pytest.approx(expected.detections.boxes, abs=0.5)


@pytest.mark.parametrize("name", ["patches.0", "place.0", "box.0", "uniform.0"])
@pytest.mark.parametrize("kind", [*TYPES, "sequence", "optional"])
def test_an_output_of_a_gradient(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "int" and name in ("place.0", "box.0"):
        return  # as they are
    file = "gradient.neck.means.onnx" if name == "uniform.0" else "gradient.neck.onnx"
    path = forged(tmp_path, file, retyped(name, kind))
    method = "gradcam" if name == "uniform.0" else "hirescam"
    with pytest.raises((BundleError, EngineError)) as caught:
        boxcam.load(path, threads=1).explain(PICTURE, top=2, method=method)
    check_message(str(caught.value))


@pytest.mark.parametrize("name", ["x." + "9" * 5000, "patches." + "9" * 5000, "patches.٣", "x.1", "1", "patches.-1"])
def test_an_output_of_another_name(name: str, tmp_path: Path) -> None:
    def add(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Identity", ["box.0"], [name]))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, [None]))

    path = forged(tmp_path, "gradient.neck.onnx", add)
    with pytest.raises(BundleError, match=r"is not a gradient of boxcam's\. Export the model again") as caught:
        boxcam.load(path, threads=1).explain(PICTURE, top=2, method="hirescam")
    assert len(str(caught.value)) < 1000


def test_a_group_of_outputs_by_its_types() -> None:
    good: dict[str, Any] = {
        "gradients": np.zeros((2, 3, 4, 4), np.float32),
        "places": np.zeros((2, 4), np.int64),
        "boxes": np.zeros(2, np.int64),
        "uniform": np.zeros((2, 3), np.float32),
    }
    assert Group(**good).problem([(1, 3, 8, 8)], 1) == ""
    for name, array in good.items():
        for kind in ("float64", "float16", "uint8", "bool", "object", "U1"):
            assert Group(**{**good, name: array.astype(kind)}).problem([(1, 3, 8, 8)], 1)


@pytest.mark.parametrize("std", [1e-320, 1e-45, 1e-9, 1e9, 1e300])
def test_a_std_that_float32_takes_for_none_or_nearly(std: float, tmp_path: Path) -> None:
    path = bundle(tmp_path, lambda data: data["preprocess"].update(std=[std] * 3))
    with pytest.raises(BundleError, match=r"preprocess: std: .* is not 1e-06 to 1e\+06"):
        boxcam.load(path)


@pytest.mark.parametrize("key", ["mean", "pad_value"])
def test_a_mean_beyond_what_pixels_can_have(key: str, tmp_path: Path) -> None:
    path = bundle(tmp_path, lambda data: data["preprocess"].update({key: [1e300] * 3}))
    with pytest.raises(BundleError, match=r"is not -1e\+06 to 1e\+06"):
        boxcam.load(path)


def test_what_is_normalised_has_room_in_float16() -> None:
    spec = dataclasses.replace(bundles.read(BUNDLE).preprocess, dtype="float16", mean=(0.0,) * 3, std=(1.0,) * 3)
    assert (BUNDLE / MANIFEST).exists()
    check_preprocess(spec)
    check_preprocess(dataclasses.replace(spec, std=(255 / 65504,) * 3, pad_value=(0.0,) * 3))
    for changes in ({"std": (255 / 65505,) * 3}, {"mean": (-65504.0,) * 3}, {"pad_value": (65505.0,) * 3}):
        with pytest.raises(ValueError, match=r"float16 holds 65504 at most"):
            check_preprocess(dataclasses.replace(spec, **changes))  # type: ignore[arg-type]
