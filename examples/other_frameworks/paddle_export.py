"""The ONNX file of a detector of PaddleDetection."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import onnx
import paddle
import paddle2onnx
from paddle.static import InputSpec
from paddle_models import Model, suppression
from paddle_operators import standard_operators
from ppdet.engine.trainer import _prune_input_spec


def before_pooling(file: Path) -> list[str]:
    """Tensors of a two-stage detector before RoIAlign: the neck's maps, and the last one of the backbone."""
    graph = onnx.load(file).graph
    maker = {name: node for node in graph.node for name in node.output}
    pooled = [node.input[0] for node in graph.node if node.op_type == "RoiAlign"]
    backbone, todo, seen = "", [pooled[-1]], set()
    while todo:  # the first map upwards that a ReLU gives: the neck has none
        name = todo.pop()
        node = maker.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Relu":
            backbone = backbone or name
        else:
            todo += reversed(node.input)
    return [*dict.fromkeys(pooled), backbone]


def left_out(nms: Any, about: Model) -> dict[str, Any]:
    """The options of `boxcam.export` that say what PaddleDetection's suppression would have done."""
    found = {"nms_threshold": nms.nms_threshold, "score_threshold": nms.score_threshold}
    return {**found, "background": "last"} if about.softmax else found


def export(model: Any, about: Model, file: Path, raw: bool) -> None:
    """Write a model as ONNX: by Paddle a static graph, and by paddle2onnx of that an ONNX file.

    Args:
        model: the live one; it stays as it is.
        about: what it is.
        file: to write.
        raw: whether to leave out the suppression: the outputs are boxes [1, N, 4] and scores [1, C, N].
    """
    deployed = copy.deepcopy(model)
    if raw:
        suppression(deployed, about).nms = lambda boxes, scores, *background: (boxes, scores, None)
    for layer in deployed.sublayers():
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    shapes = {"image": [1, 3, about.size, about.size], "im_shape": [1, 2], "scale_factor": [1, 2]}
    with tempfile.TemporaryDirectory() as folder, standard_operators(deployed, about):
        described = [{name: InputSpec(shape, "float32", name) for name, shape in shapes.items()}]
        static = paddle.jit.to_static(deployed, input_spec=described, full_graph=True)
        read = _prune_input_spec(described, static.forward.main_program, static.forward.outputs)
        paddle.jit.save(static, f"{folder}/model", input_spec=read)
        paths = [f"{folder}/model.{ending}" for ending in ("json", "pdiparams")]
        paddle2onnx.export(*paths, str(file), opset_version=16, optimize_tool="none")
    written = onnx.load(file)
    for node in written.graph.node:
        if node.op_type == "RoiAlign":  # which is half a pixel aside if nothing is said, and paddle2onnx says nothing
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "output_half_pixel"))
    onnx.save(written, file)
