"""A two-stage detector written by hand, whose file is weights for the most part, as of those that are deployed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import TensorProto

from boxcam.bundle import Outputs, Preprocess
from boxcam.export.source import LayerTensors, Source, SourceModel
from tests.export.detectors import conv
from tests.export.export_graphs import Net
from tests.export.heads import weights

SIZE, CHANNELS, PROPOSALS, CLASSES, FOUND = 64, 32, 12, 3, 6
SPEC = Preprocess(SIZE, SIZE, SIZE, SIZE, "fit", "top-left", (0, 0, 0), False, (128,) * 3, (64,) * 3, "RGB")


def model() -> ir.Model:
    """Convolutions (one depthwise, one in groups), proposals where the map is strongest, RoIAlign, linear layers."""
    net = Net(18)
    image = net.input("image", (1, 3, SIZE, SIZE))
    early = net.node("Relu", [conv(net, image, "two.a", (CHANNELS, 3, 3, 3), 2)], name="early")[0]
    x = net.Relu(conv(net, early, "two.b", (CHANNELS, 1, 3, 3), group=CHANNELS))
    x = net.Relu(conv(net, x, "two.c", (2 * CHANNELS, CHANNELS // 2, 3, 3), 2, group=2))
    neck = net.node("Relu", [conv(net, x, "two.d", (2 * CHANNELS, 2 * CHANNELS, 3, 3))], name="neck")[0]
    objectness = net.Reshape(
        conv(net, net.Relu(conv(net, neck, "two.e", (64, 64, 3, 3))), "two.f", (1, 64, 1, 1)), [-1]
    )
    _, best = net.node("TopK", [objectness, np.array([PROPOSALS])], 2)
    across = SIZE // 4
    corners = np.stack(np.meshgrid(np.arange(across), np.arange(across)), -1).reshape(-1, 2) * 4 - 8
    anchors = np.concatenate([corners, corners + 24], 1).clip(0, SIZE).astype(np.float32)
    rois = net.node("Gather", [anchors, best], name="proposals")[0]
    pooled = net.node(
        "RoiAlign",
        [neck, rois, np.zeros(PROPOSALS, np.int64)],
        name="pooled",
        output_height=7,
        output_width=7,
        sampling_ratio=2,
        spatial_scale=0.25,
    )[0]
    flat = net.Flatten(pooled)
    hidden = net.Relu(net.Gemm(flat, 2 * weights("two.g", 128, 64 * 49), weights("two.h", 128), transB=1))
    hidden = net.Relu(net.MatMul(hidden, 2 * weights("two.i", 128, 128).T))
    logits = net.node("Gemm", [hidden, 2 * weights("two.j", CLASSES, 128)], name="logits", transB=1)[0]
    scores, index = net.node("TopK", [net.Sigmoid(net.Reshape(logits, [-1])), np.array([FOUND])], 2, name="scores")
    boxes = net.node("Gather", [rois, net.Div(index, np.array(CLASSES))], name="boxes")[0]
    labels = net.node("Mod", [index, np.array(CLASSES)], name="labels")[0]
    return net.model({boxes: TensorProto.FLOAT, scores: TensorProto.FLOAT, labels: TensorProto.INT64})


def source(of: ir.Model | None = None) -> SourceModel:
    """The detector as a source delivers it."""
    layers = {
        "roi": LayerTensors(("pooled",), "roi", ("proposals",)),
        "neck": LayerTensors(("neck",)),
        "early": LayerTensors(("early",)),
    }
    outputs = Outputs("boxes", "scores", "labels")
    names = ("cat", "dog", "bird")
    return SourceModel(of or model(), "image", outputs, SPEC, names, layers, tuple(layers), {"source": "two stages"})


def way(of: SourceModel) -> Source:
    """A way in that takes any ``MODEL.two`` for it."""
    return Source("MODEL.two", lambda given: given[0].endswith(".two"), lambda request, progress: of, prefix="x.")
