"""Plain ONNX files that cannot be exported, or do not say enough: one clear sentence each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import boxcam
from boxcam.errors import BoxcamError
from tests.export.export_graphs import Net
from tests.export.sources.onnx.small import SIZE, Small, dense, segmentation, selected, two_classifiers
from tests.messages import check_message


def export(path: Path, **options: Any) -> Any:
    options.setdefault("preprocess", ("imagenet", "resize=stretch"))
    return boxcam.export(path, output=path.with_suffix(".boxcam"), engine="onnx", **options)


def classifier(path: Path, **outputs: int) -> Path:
    net = Small()
    net.classes()
    return net.save(path, **(outputs or {"logits": TensorProto.FLOAT}))


def no_file(path: Path) -> Path:
    return path.with_name("none.onnx")


def no_onnx(path: Path) -> Path:
    path.write_bytes(b"PK\x03\x04 this is something else" * 20)
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def data_missing(path: Path) -> Path:
    classifier(path)
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    path.with_name("weights.bin").unlink()
    return path


def data_cut_off(path: Path) -> Path:
    data_missing(path)
    path.with_name("weights.bin").write_bytes(b"short")
    return path


def opset_too_new(path: Path) -> Path:
    classifier(path)
    model = onnx.load(str(path))
    model.opset_import[0].version = 99
    onnx.save(model, str(path))
    return path


def training(path: Path) -> Path:
    net = Small()
    one = np.ones(4, np.float32)
    normal = net.node("BatchNormalization", [net.map(), one, one, one, one], 3, training_mode=1, name="normal")[0]
    net.classes(read=normal)
    return net.save(path, logits=TensorProto.FLOAT)


def dropout(path: Path) -> Path:
    net = Small()
    net.classes(read=net.Dropout(net.map(), np.float32(0.5), np.array(True)))
    return net.save(path, logits=TensorProto.FLOAT)


def text(path: Path) -> Path:
    net = Net()
    net.input("input_ids", (1, 16), TensorProto.INT64)
    table = np.random.default_rng(0).normal(0, 1, (50, 3))
    net.node("ReduceMean", [net.Gather(table, "input_ids"), np.array([1])], keepdims=0, name="logits")
    return Small.save(net, path, logits=TensorProto.FLOAT)  # type: ignore[arg-type]


def second_input(path: Path) -> Path:
    net = Small()
    net.input("prompt", (1, 7))
    net.Add(net.classes(7, name="sum"), "prompt", name="logits")
    return net.save(path, logits=TensorProto.FLOAT)


def batch_of_four(path: Path) -> Path:
    """Scores that mix the images: less their mean over all of them."""
    net = Small(image=(4, 3, SIZE, SIZE))
    scale = np.arange(1.0, 5).reshape(4, 1, 1, 1)
    pooled = net.Flatten(net.GlobalAveragePool(net.Mul(net.map(), scale)))
    scores = net.Gemm(pooled, np.random.default_rng(0).normal(0, 1, (4, 3)))
    net.node("Sub", [scores, net.ReduceMean(scores, np.array([0]))], name="logits")
    return net.save(path, logits=TensorProto.FLOAT)


def open_size(path: Path) -> Path:
    net = Small(image=("n", 3, "h", "w"))
    net.classes()
    return net.save(path, logits=TensorProto.FLOAT)


def grey(path: Path) -> Path:
    net = Net()
    net.input("image", (1, 1, SIZE, SIZE))
    pooled = net.Flatten(net.GlobalAveragePool("image"))
    net.node("Gemm", [pooled, np.ones((1, 3))], name="logits")
    return Small.save(net, path, logits=TensorProto.FLOAT)  # type: ignore[arg-type]


def foreign(path: Path) -> Path:
    net = Small()
    found = net.map()
    net.nodes.append(helper.make_node("TRTBatchedNMS", [found], ["dets"], domain="mmdeploy", name="nms"))
    return net.save(path, dets=TensorProto.FLOAT)


def foreign_on_path(path: Path) -> Path:
    net = Small()
    net.nodes.append(helper.make_node("FastGelu", [net.map()], ["fast"], domain="com.microsoft", name="gelu"))
    net.classes(read=net.Relu("fast"))
    return net.save(path, logits=TensorProto.FLOAT)


def chosen(path: Path) -> Path:
    """The eight best of 16 boxes, by a TopK of the model's own."""
    net = Small()
    rows = net.Transpose(net.Reshape(net.map(6), np.array([6, -1])), perm=[1, 0])
    places, logits = net.node("Split", [rows, np.array([4, 2])], 2, axis=1)
    scores, best = net.node("TopK", [net.ReduceMax(net.Sigmoid(logits), np.array([1]), keepdims=0), np.array([8])], 2)
    net.node("Gather", [net.Mul(places, np.float32(30)), best], axis=0, name="boxes")
    net.node("Gather", [net.ArgMax(logits, axis=1, keepdims=0), best], axis=0, name="labels")
    net.node("Identity", [scores], name="scores")
    return net.save(path, boxes=TensorProto.FLOAT, scores=TensorProto.FLOAT, labels=TensorProto.INT64)


def no_path(path: Path) -> Path:
    net = Small()
    net.Sigmoid(net.map(6, 4), name="beside")
    net.classes()
    return net.save(path, logits=TensorProto.FLOAT, beside=TensorProto.FLOAT)


def dense_of_coco(path: Path) -> Path:
    return dense(path, 95)


def nothing_found(path: Path) -> Path:
    return selected(path, 0)


def decoded(op: Any, outputs: Any) -> Any:
    raise AssertionError("not called")


CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "no file": (no_file, {}, "does not exist"),
    "no ONNX": (no_onnx, {}, "is not a valid ONNX file"),
    "empty": (empty, {}, "is not a valid ONNX file: its graph has no node"),
    "data missing": (data_missing, {}, "keeps its weights in 'weights.bin', which is not next to it. Copy"),
    "data cut off": (data_cut_off, {}, "is truncated: it has 5 bytes"),
    "opset too new": (opset_too_new, {}, r"has opset 99, and the onnx package .* up to \d+. Update"),
    "training mode": (training, {}, r"in training mode: BatchNormalization \(node_normal\) .*evaluation mode"),
    "dropout in training": (dropout, {}, "in training mode: Dropout"),
    "text": (text, {}, r"takes token IDs or similar \(input_ids \[1, 16\]\)"),
    "segmentation": (segmentation, {}, "maps, and neither boxes nor classes .* mask float32 .1, 4, 32, 32."),
    "two classifiers": (two_classifiers, {}, "the scores may be colour or kind. Pass the right one with scores="),
    "second input": (second_input, {}, "second input, prompt .1, 7., and boxcam does not know what to feed it"),
    "batch": (batch_of_four, {}, "takes 4 images at once, and the output .* of one image is not that of the first"),
    "open size": (open_size, {}, "no fixed height and width. Fix them with shape="),
    "another size": (classifier, {"shape": (64, 64)}, "shape=64x64 contradicts the model's input .1, 3, 32, 32."),
    "grey": (grey, {}, "mean 0.485,0.456,0.406 of the preset imagenet: one number was expected"),
    "no preprocessing": (classifier, {"preprocess": ()}, "with preprocess=. The presets are: imagenet"),
    "wrong preprocessing": (classifier, {"preprocess": ("imagenet", "layout=NHWC")}, "layout NHWC contradicts"),
    "mmdeploy operators": (
        foreign,
        {},
        r"outside the ONNX standard, mmdeploy::TRTBatchedNMS \(nms\).* the tensors that it reads \(Relu_3\)",
    ),
    "com.microsoft on the path": (
        foreign_on_path,
        {"layers": ["Relu_3"]},
        r"com.microsoft::FastGelu \(gelu\).* lies between the layer and the scores.*Choose a layer after it",
    ),
    "no path from the layer": (no_path, {"layers": ["beside"], "scores": "logits"}, "no score depends on beside"),
    "no such scores": (classifier, {"scores": "logit"}, "no tensor 'logit' in the graph. Did you mean logits"),
    "scores that are none": (classifier, {"scores": "image"}, "image"),
    "columns": (
        dense,
        {},
        r"can be read in 3 ways: .*Ultralytics, transposed \(a box and 5 classes\), or .*YOLOv5 \(a box, objectness"
        r" and 4 classes\), or .* Pass convention=.ultralytics-transposed. or convention=.yolov5. or convention=",
    ),
    "columns of 90 or 91": (
        dense_of_coco,
        {},
        r"can be read in 3 ways: .*\(a box and 91 classes\), or .*\(a box, objectness and 90 classes\)",
    ),
    "columns and names": (
        dense,
        {"class_names": ["a", "b"]},
        r"there are 2 class names, but out .* has 5 classes if .*, and .* 4 classes if",
    ),
    "names missing": (classifier, {"class_names": "none.txt"}, "class names none.txt cannot be read"),
    "decode is no file": (classifier, {"decode": "decode"}, "is not of the form FILE.py:FUNCTION"),
    "decode is missing": (classifier, {"decode": "none.py:decode"}, "none.py, the file of decode=, does not exist"),
    "decode and scores": (
        classifier,
        {"decode": lambda op, o: o, "scores": "logits"},
        "so scores= has no meaning. Leave it out",
    ),
    "decode and background": (
        classifier,
        {"decode": decoded, "background": "first"},
        "so background= has no meaning. Leave it out",
    ),
    "decode and scale": (
        classifier,
        {"decode": decoded, "box_scale": "pixels"},
        "so box_scale= has no meaning. Leave it out",
    ),
    "suppression again": (chosen, {"nms_threshold": 0.5}, "nms_threshold= has no meaning here: the model selects"),
    "activation again": (chosen, {"score_activation": "sigmoid"}, "score_activation= has no meaning here"),
    "background of labels": (chosen, {"background": "first"}, "background= has no meaning here: the model selects"),
    "suppression of classes": (
        classifier,
        {"nms_threshold": 0.5},
        "nms_threshold= has no meaning here: a classifier's box is",
    ),
    "boxes of a classifier": (classifier, {"box_format": "xyxy"}, "box_format= has no meaning here: a classifier's"),
    "scale of a classifier": (classifier, {"box_scale": "pixels"}, "box_scale= has no meaning here: a classifier's"),
    "sides of a classifier": (
        classifier,
        {"targets": ["logit", "y2"]},
        "targets=.y2. has no meaning here: a classifier's box is the whole image. Leave it out",
    ),
    "no box to see": (
        nothing_found,
        {},
        "found no box .* Pass box_scale=.pixels. or box_scale=.normalized., or .*sample=",
    ),
    "no box at all": (
        dense,
        {"class_names": list("abcde"), "score_activation": "sigmoid", "score_threshold": 1.0, "layers": ["image"]}
        | {"accept": ["decoded", "place", "scores"]},
        r"no box in the synthetic images \(its highest score there is \d.*\).*sample=, or a score_threshold= below",
    ),
    "decode fails": (
        classifier,
        {"decode": lambda op, o: o["x"]},
        "KeyError: 'x'. Correct it; the outputs are: logits",
    ),
    "decode returns one": (classifier, {"decode": lambda op, o: o["logits"]}, "does not return two values"),
    "decode of another shape": (
        classifier,
        {"decode": lambda op, o: (op.Relu(o["logits"]), op.Relu(o["logits"]))},
        r"boxes \[1, 3\] and scores \[1, 3\]. Return \[1, N, 4\] and",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, options, message = CASES[name]
    path = make(tmp_path / "model.onnx")
    with pytest.raises(BoxcamError, match=message) as caught:
        export(path, **options)
    assert "\n" not in check_message(str(caught.value))
    assert not path.with_suffix(".boxcam").exists()


def test_operators_of_onnx_runtime_may_be_in_front_of_the_layer(tmp_path: Path) -> None:
    path = foreign_on_path(tmp_path / "model.onnx")
    manifest = export(path, layers=["Relu_4"])
    assert [layer.name for layer in manifest.layers] == ["Relu_4"]
    forward = onnx.load(str(path.with_suffix(".boxcam") / "forward.onnx"))
    assert "FastGelu" in [node.op_type for node in forward.graph.node]
    model = boxcam.load(path.with_suffix(".boxcam"), threads=1)
    assert len(model.detect(np.zeros((SIZE, SIZE, 3), np.uint8))) == 3


def test_outputs_of_plugins_are_left_out_if_there_are_others(tmp_path: Path) -> None:
    net = Small()
    found = net.map()
    net.nodes.append(helper.make_node("TRTBatchedNMS", [found], ["dets"], domain="mmdeploy", name="nms"))
    net.classes(read=found)
    path = net.save(tmp_path / "model.onnx", dets=TensorProto.FLOAT, logits=TensorProto.FLOAT)
    with pytest.warns(boxcam.BoxcamWarning, match=r"dets is left out: mmdeploy::TRTBatchedNMS \(nms\), which ONNX"):
        manifest = export(path)
    assert manifest.source["scores"] == "logits, softmax"


def test_options_of_files_are_refused_for_other_kinds(tmp_path: Path, signs: Path) -> None:
    with pytest.raises(BoxcamError, match="box_format= has no meaning for a model of the kind 'mmdet'"):
        boxcam.export(signs / "config.py", signs / "signs.pth", output=tmp_path / "b", box_format="xyxy")
