"""Suppression by plugins of TensorRT: what boxcam finds is what their documentation says, in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import boxcam
from boxcam.errors import BoxcamError
from boxcam.export.passes.tensorrt_nms import WITH_ROWS
from tests.export.export_graphs import Net
from tests.messages import check_message

SIZE, CLASSES, CELLS = 64, 3, 64
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
TENSOR = (IMAGE[..., ::-1] / np.float32(255)).transpose(2, 0, 1)[None].astype(np.float32)
PRE = ("resize=stretch", "scale=0-1", "color=RGB")


@dataclass(frozen=True)
class Case:
    """A plugin as a model has it.

    Attributes:
        op: the operator.
        attributes: of it.
        domain: of it.
        own: whether there is a box for each class.
        logits: whether the scores have no sigmoid.
        centred: whether boxes are centre and size.
        anchors: whether the boxes are offsets.
        normalized: whether boxes are 0 to 1.
        shared: whether boxes that the classes share have an axis for them.
        opset, batch, options: of the file, and of the export.
    """

    op: str = "EfficientNMS_TRT"
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = "TRT"
    own: bool = False
    logits: bool = False
    centred: bool = False
    anchors: bool = False
    normalized: bool = False
    shared: bool = False
    opset: int = 13
    batch: int = 1
    options: dict[str, Any] = field(default_factory=dict)


EFFICIENT = {"score_threshold": 0.3, "iou_threshold": 0.4, "max_output_boxes": 20, "background_class": -1}
BATCHED = {
    "shareLocation": 1, "backgroundLabelId": -1, "numClasses": CLASSES, "topK": 1000, "keepTopK": 20,
    "scoreThreshold": 0.3, "iouThreshold": 0.4, "isNormalized": 0, "clipBoxes": 0,
}  # fmt: skip
CASES: dict[str, Case] = {
    "efficient": Case(attributes={**EFFICIENT, "box_coding": 0}),
    "of trt.plugins": Case(attributes=EFFICIENT, domain="trt.plugins"),
    "of the standard's domain": Case(attributes=EFFICIENT, domain=""),
    "of mmdeploy": Case(attributes=EFFICIENT, domain="mmdeploy"),
    "of opset 11": Case(attributes=EFFICIENT, domain="", opset=11),
    "of opset 17": Case(attributes=EFFICIENT, opset=17),
    "centre and size": Case(attributes={**EFFICIENT, "box_coding": 1}, centred=True),
    "logits": Case(attributes={**EFFICIENT, "score_activation": 1}, logits=True),
    "with a background": Case(attributes={**EFFICIENT, "background_class": 0}),
    "few": Case(attributes={**EFFICIENT, "max_output_boxes": 3}),
    "classes suppress each other": Case(attributes={**EFFICIENT, "class_agnostic": 1}),
    "classes suppress each other but the background": Case(
        attributes={**EFFICIENT, "class_agnostic": 1, "background_class": 1}
    ),
    "a box for each class": Case(attributes=EFFICIENT, own=True),
    "a box for each class, all suppress": Case(attributes={**EFFICIENT, "class_agnostic": 1}, own=True),
    "offsets from anchors": Case(attributes={**EFFICIENT, "box_coding": 1}, centred=True, anchors=True),
    "offsets of corners": Case(attributes={**EFFICIENT, "box_coding": 0}, anchors=True),
    "batch of two": Case(attributes=EFFICIENT, batch=2),
    "batched": Case("BatchedNMS_TRT", BATCHED, shared=True),
    "with the rows of what is kept": Case("EfficientNMSX_TRT", EFFICIENT),
    "with rows, of YOLO": Case("YoloNMS_TRT", EFFICIENT),
    "batched, dynamic": Case("BatchedNMSDynamic_TRT", BATCHED, "", shared=True),
    "batched, a box for each class": Case("BatchedNMSDynamic_TRT", {**BATCHED, "shareLocation": 0}, own=True),
    "batched, few of each class": Case("BatchedNMS_TRT", {**BATCHED, "topK": 5}, shared=True),
    "batched, with a background": Case("BatchedNMS_TRT", {**BATCHED, "backgroundLabelId": 2}, shared=True),
    "batched, normalized": Case(
        "BatchedNMS_TRT",
        {**BATCHED, "isNormalized": 1, "clipBoxes": 1},
        shared=True,
        normalized=True,
        options={"box_scale": "normalized"},
    ),
    "mmdeploy's": Case(
        "TRTBatchedNMS",
        {"num_classes": CLASSES, "background_label_id": -1, "topk": -1, "keep_topk": 20, "iou_threshold": 0.4,
         "score_threshold": 0.3, "is_normalized": 0, "clip_boxes": 0},
        "mmdeploy",
        shared=True,
    ),
}  # fmt: skip


def build(path: Path, case: Case) -> Path:
    """A detector that ends in the plugin; ``raw_boxes`` and ``raw_scores`` are what it reads."""
    net, rng, depth = Net(case.opset), np.random.default_rng(3), CLASSES if case.own else 1
    net.input("image", (case.batch, 3, SIZE, SIZE))
    conv = {"strides": [8, 8], "pads": [1] * 4, "kernel_shape": [3, 3]}
    seen = net.node("Relu", [net.Conv("image", rng.normal(0, 1, (8, 3, 3, 3)), **conv)], name="seen")[0]
    pad = {"pads": [1] * 4, "kernel_shape": [3, 3]}
    logits = net.Conv(seen, rng.normal(0, 0.15, (CLASSES, 8, 3, 3)), rng.normal(-0.5, 0.3, CLASSES), **pad)
    rows = net.Transpose(net.Reshape(logits, np.array([case.batch, CLASSES, -1])), perm=[0, 2, 1])
    net.node("Identity" if case.logits else "Sigmoid", [rows], name="raw_scores")
    places = net.Conv(seen, rng.normal(0, 0.2, (4 * depth, 8, 3, 3)), **pad)
    places = net.Transpose(net.Reshape(places, np.array([case.batch, 4 * depth, -1])), perm=[0, 2, 1])
    places = net.Reshape(net.Sigmoid(places), np.array([case.batch, CELLS, depth, 4]))
    y, x = np.mgrid[:8, :8].reshape(2, 1, CELLS, 1, 1) * 8 + 4.0
    centre, size = np.concatenate([x, y], -1), np.full((1, CELLS, 1, 2), 20.0)
    anchors = np.concatenate([centre, size] if case.centred else [centre - 10, centre + 10], -1)
    if case.anchors:
        net.node("Mul", [places, np.float32(1 if case.centred else 12)], name="placed")
    elif case.centred:
        net.node("Add", [net.Mul(places, np.float32(10)), anchors], name="placed")
    else:
        scale = np.array([-10, -10, 10, 10], np.float32)
        placed = net.Add(net.Mul(places, scale), np.concatenate([centre - 8, centre + 8], -1))
        net.node("Div", [placed, np.float32(SIZE if case.normalized else 1)], name="placed")
    whole = [case.batch, CELLS, depth, 4] if case.own or case.shared else [case.batch, CELLS, 4]
    net.node("Reshape", ["placed", np.array(whole)], name="raw_boxes")
    given = ["raw_boxes", "raw_scores", *([net.constant(anchors[:, :, 0])] if case.anchors else [])]
    single = case.op == "TRTBatchedNMS"
    made = ["dets", "labels"] if single else ["num_dets", "det_boxes", "det_scores", "det_classes"]
    extra = ["det_indices"] if case.op in WITH_ROWS else []
    net.nodes.append(helper.make_node(case.op, given, made + extra, name="nms", domain=case.domain, **case.attributes))
    whole_numbers = TensorProto.FLOAT if case.op.startswith("Batched") else TensorProto.INT32
    types = dict.fromkeys(made, TensorProto.FLOAT) | {"num_dets": TensorProto.INT32, made[-1]: whole_numbers}
    graph = net.graph({name: types[name] for name in made} | dict.fromkeys(extra, TensorProto.INT32))
    domains = {"", case.domain}
    imports = [helper.make_opsetid(domain, 1 if domain else case.opset) for domain in sorted(domains)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), str(path))
    return path


def raw(path: Path, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """What the plugin reads: boxes [N, 1 or C, 4] and scores [N, C], by ONNX Runtime."""
    model = onnx.load(str(path))
    kept = [node for node in model.graph.node if node.name != "nms"]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    for name in ("raw_boxes", "raw_scores"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {"image": np.repeat(TENSOR, batch, axis=0)})
    return boxes[0].reshape(CELLS, -1, 4), scores[0]


def expected(case: Case, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[float, int, list[float]]]:
    """Score, class and box of each detection, by the plugin's documentation."""
    given = {name.replace("_", "").lower(): value for name, value in case.attributes.items()}
    scores = 1 / (1 + np.exp(-scores)) if given.get("scoreactivation") else scores
    if case.anchors:
        y, x = np.mgrid[:8, :8].reshape(2, CELLS, 1) * 8 + 4.0
        if case.centred:
            centre = boxes[..., :2] * 20 + np.concatenate([x, y], -1)[:, None]
            boxes = np.concatenate([centre, np.exp(boxes[..., 2:]) * 20], -1)
        else:
            boxes = boxes + np.concatenate([x - 10, y - 10, x + 10, y + 10], -1)[:, None]
    if case.centred:
        boxes = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)
    one = 0 if given.get("isnormalized", 1) else 1
    background = given.get("backgroundclass", given.get("backgroundlabelid", -1))
    found: list[tuple[float, int, np.ndarray]] = []
    candidates = [(scores[n, c], c, boxes[n, c if case.own else 0]) for n in range(CELLS) for c in range(CLASSES)]
    first = given.get("topk", -1)
    if first > 0:
        least = np.sort(scores, axis=0)[::-1][min(first, CELLS) - 1]
        candidates = [one for one in candidates if one[0] >= least[one[1]]]
    kept = [one for one in candidates if one[0] > given["scorethreshold"] and one[1] != background]
    for score, label, box in sorted(kept, key=lambda one: -one[0]):
        rivals = [other for _, at, other in found if given.get("classagnostic") or at == label]
        if all(overlap(box, other, one) <= given["iouthreshold"] for other in rivals):
            found.append((score, label, box))
    most = given.get("maxoutputboxes", given.get("keeptopk"))
    clipped = given.get("isnormalized") and given.get("clipboxes")
    scale = SIZE if case.normalized else 1
    return [(s, c, ((np.clip(b, 0, 1) if clipped else b) * scale).tolist()) for s, c, b in found[:most]]


def overlap(a: np.ndarray, b: np.ndarray, one: int) -> float:
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + one, 0)
    areas = [np.prod(box[2:] - box[:2] + one) for box in (a, b)]
    return float(np.prod(sides) / (sum(areas) - np.prod(sides)))


NOISE = ["boxes", "place"]
"""What is not asked of boxes that are noise."""


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_is_what_the_plugin_says(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = build(tmp_path / "m.onnx", case)
    names = ["a", "b", "c"]
    boxcam.export(
        path,
        output=tmp_path / "m.boxcam",
        preprocess=PRE,
        class_names=names,
        engine="onnx",
        accept=NOISE,
        **case.options,
    )
    found = boxcam.load(tmp_path / "m.boxcam").detect(IMAGE)
    wanted = expected(case, *raw(path, case.batch))
    assert len(found) == len(wanted) >= 3
    assert np.allclose(found.scores, [score for score, _, _ in wanted], atol=1e-5)
    assert found.labels.tolist() == [label for _, label, _ in wanted]
    inside = np.clip([box for _, _, box in wanted], 0, SIZE)
    assert np.abs(found.boxes - inside).max() < 0.1


def test_the_gradient_is_that_of_the_boxs_logit(tmp_path: Path) -> None:
    """By hand: the logit of a cell is a 3x3 window of the map times weights, plus a bias."""
    path = build(tmp_path / "m.onnx", CASES["efficient"])
    boxcam.export(path, output=tmp_path / "m.boxcam", preprocess=PRE, engine="onnx")
    model = boxcam.load(tmp_path / "m.boxcam")
    assert [tensor.name for tensor in model.runtime.layer().tensors] == ["seen"]
    explanation = model.explain(IMAGE, method="hirescam", top=1)
    score, label, _ = expected(CASES["efficient"], *raw(path, 1))[0]
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}
    weight = next(array for array in weights.values() if array.shape == (CLASSES, 8, 3, 3))[label]
    bias = next(array for array in weights.values() if array.shape == (CLASSES,))[label]
    (part,) = explanation.parts[0]
    logit = float(explanation.detections.logits[0])
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(score, abs=1e-5)
    assert part.cells.values.shape == (3, 3)
    y, x = part.cells.corner
    first = next(array for array in weights.values() if array.shape == (8, 3, 3, 3))
    padded = np.pad(TENSOR[0], ((0, 0), (1, 1), (1, 1)))
    full = np.stack(
        [
            [np.maximum((first * padded[:, 8 * i : 8 * i + 3, 8 * j : 8 * j + 3]).sum((1, 2, 3)), 0) for j in range(8)]
            for i in range(8)
        ]
    ).transpose(2, 0, 1)
    window = np.pad(full, ((0, 0), (1, 1), (1, 1)))[:, y + 1 : y + 4, x + 1 : x + 4]
    assert (weight * window).sum() + bias == pytest.approx(logit, abs=1e-4)
    assert np.allclose(part.cells.values, (weight * window).sum(0), atol=1e-5)


def test_names_win_over_the_plugin(tmp_path: Path) -> None:
    path = build(tmp_path / "m.onnx", Case(attributes=EFFICIENT))
    options = {"boxes": "raw_boxes", "scores": "raw_scores", "score_threshold": 0.4, "nms_threshold": 0.3}
    boxcam.export(
        path, output=tmp_path / "m.boxcam", preprocess=PRE, class_names=["a", "b", "c"], engine="onnx", **options
    )
    found = boxcam.load(tmp_path / "m.boxcam").detect(IMAGE)
    other = Case(attributes={**EFFICIENT, "score_threshold": 0.4, "iou_threshold": 0.3, "max_output_boxes": 300})
    wanted = expected(other, *raw(path, 1))
    assert np.allclose(found.scores, [score for score, _, _ in wanted], atol=1e-5)


@pytest.mark.parametrize("op", ["EfficientNMS_TRT", "SomeOtherNMS_TRT"])
def test_a_function_starts_from_what_a_plugin_reads(op: str, tmp_path: Path) -> None:
    case = Case(op, EFFICIENT)
    path = build(tmp_path / "m.onnx", case)
    seen = []

    def decode(op: Any, outputs: Any) -> Any:
        seen.extend(outputs)
        return outputs["raw_boxes"], outputs["raw_scores"]

    boxcam.export(
        path, output=tmp_path / "m.boxcam", preprocess=PRE, engine="onnx", decode=decode, nms_threshold=0.4,
        score_threshold=0.3,
    )  # fmt: skip
    assert sorted(seen) == ["raw_boxes", "raw_scores"]
    found = boxcam.load(tmp_path / "m.boxcam").detect(IMAGE)
    wanted = expected(Case(attributes={**EFFICIENT, "max_output_boxes": 300}), *raw(path, 1))
    assert np.allclose(found.scores, [score for score, _, _ in wanted], atol=1e-5)


@pytest.mark.parametrize("domain", ["TRT", ""])
def test_another_plugin_is_refused_unless_tensors_are_named(domain: str, tmp_path: Path) -> None:
    path = build(tmp_path / "m.onnx", Case("SomeOtherNMS_TRT", EFFICIENT, domain))
    with pytest.raises(BoxcamError, match=r"outside the ONNX standard, .*SomeOtherNMS_TRT \(nms\)") as caught:
        boxcam.export(path, output=tmp_path / "m.boxcam", preprocess=PRE)
    check_message(str(caught.value))
    boxcam.export(
        path, output=tmp_path / "m.boxcam", preprocess=PRE, boxes="raw_boxes", scores="raw_scores", engine="onnx"
    )
